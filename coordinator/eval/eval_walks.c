/* graph: which nodes lie two steps from one. Each node of a random directed graph has two different
 * followers, none of them itself; its edges stand in an order that is drawn. The task and its words
 * are our own. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "coordinator/eval/eval_builders.h"

enum {
    FOLLOWERS = 2,
    NAMES = EVAL_WALKS_NODES,
    NAMES_FIRST = 10000,
    ASKED_MOST = FOLLOWERS * FOLLOWERS
};

struct graph {
    uint32_t *names;     /* [nodes]: 10000 to 99999, each once */
    uint32_t *followers; /* [nodes, FOLLOWERS] */
    uint32_t *edges;     /* [nodes * FOLLOWERS], as they stand */
    uint32_t nodes;
};

static void draw_followers(uint32_t *followers, struct eval_random *random, uint32_t node,
                           uint32_t nodes)
{
    const uint32_t first = eval_random_below(random, nodes - 1);
    uint32_t second = eval_random_below(random, nodes - 2);
    followers[0] = first + (first >= node);
    /* The second is one of the rest: numbers at and above each of the two taken move up. */
    const uint32_t low = followers[0] < node ? followers[0] : node;
    const uint32_t high = followers[0] < node ? node : followers[0];
    second += second >= low;
    followers[1] = second + (second >= high);
}

static void draw_graph(struct graph *graph, uint32_t *all_names, const struct eval_case *of)
{
    struct eval_random random;
    eval_random_begin(&random, &of->key, "graph");
    for (uint32_t i = 0; i < NAMES; i++)
        all_names[i] = NAMES_FIRST + i;
    eval_random_shuffle(&random, all_names, NAMES);
    graph->names = all_names;
    for (uint32_t i = 0; i < graph->nodes; i++)
        draw_followers(graph->followers + (size_t)FOLLOWERS * i, &random, i, graph->nodes);
    for (uint32_t i = 0; i < FOLLOWERS * graph->nodes; i++)
        graph->edges[i] = i;
    eval_random_shuffle(&random, graph->edges, (size_t)FOLLOWERS * graph->nodes);
}

/* The nodes two steps from the first one, each once. */
static void tell_answers(struct eval_prompt *prompt, const struct graph *graph)
{
    uint32_t reached[ASKED_MOST];
    size_t count = 0;
    for (size_t i = 0; i < ASKED_MOST; i++) {
        const uint32_t middle = graph->followers[i / FOLLOWERS];
        const uint32_t node = graph->followers[(size_t)FOLLOWERS * middle + i % FOLLOWERS];
        bool there = false;
        for (size_t k = 0; k < count; k++)
            there = there || reached[k] == node;
        if (there)
            continue;
        reached[count++] = node;
        eval_prompt_answer(prompt, -1, "n%" PRIu32, graph->names[node]);
    }
}

static enum status write_graph(struct eval_prompt *prompt, const struct graph *graph)
{
    TRY(eval_prompt_begin(prompt));
    fputs(
        "Below are the edges of a directed graph, one a line: \"a -> b\" leads from node a to node "
        "b.\n\n",
        prompt->file);
    for (size_t i = 0; i < (size_t)FOLLOWERS * graph->nodes; i++)
        fprintf(prompt->file, "n%" PRIu32 " -> n%" PRIu32 "\n",
                graph->names[graph->edges[i] / FOLLOWERS],
                graph->names[graph->followers[graph->edges[i]]]);
    fprintf(prompt->file,
            "\nQuestion: Which nodes does one reach from node n%" PRIu32
            " by following exactly two edges? Answer: The nodes are",
            graph->names[0]);
    tell_answers(prompt, graph);
    return eval_prompt_finish(prompt);
}

enum status eval_walks(struct eval_prompt *prompt, const struct eval_case *of, int64_t units)
{
    assert(units <= NAMES);
    struct graph graph = {.nodes = (uint32_t)units};
    uint32_t *memory = calloc(NAMES + 2 * (size_t)FOLLOWERS * graph.nodes, sizeof *memory);
    if (!memory)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a graph of %" PRIu32 " nodes",
                    graph.nodes);
    graph.followers = memory + NAMES;
    graph.edges = graph.followers + (size_t)FOLLOWERS * graph.nodes;
    draw_graph(&graph, memory, of);
    const enum status status = write_graph(prompt, &graph);
    free(memory);
    return status;
}
