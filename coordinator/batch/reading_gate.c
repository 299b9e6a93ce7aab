/* Owns the list of lines that read, and a table of the panels that were read lately: sets of four,
 * the oldest of a set goes first. */
#include "coordinator/batch/reading_gate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 1 << 16, WAYS = 4 }; /* 16 million tokens */

struct reading_gate {
    struct reading_line *first;
    uint64_t held[SETS][WAYS]; /* 0: free */
    uint8_t oldest[SETS];
};

enum status reading_gate_create(struct reading_gate **gate)
{
    *gate = calloc(1, sizeof **gate);
    return *gate ? STATUS_OK
                 : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for what batches have read");
}

void reading_gate_destroy(struct reading_gate *gate)
{
    free(gate);
}

static bool is_held(const struct reading_gate *gate, uint64_t hash)
{
    const uint64_t *set = gate->held[hash % SETS];
    return set[0] == hash || set[1] == hash || set[2] == hash || set[3] == hash;
}

static void hold(struct reading_gate *gate, uint64_t hash)
{
    if (is_held(gate, hash))
        return;
    const uint64_t set = hash % SETS;
    gate->held[set][gate->oldest[set]] = hash;
    gate->oldest[set] = (uint8_t)((gate->oldest[set] + 1) % WAYS);
}

/* How many of its panels, from the first on, were read lately. */
static int64_t held_panels(const struct reading_gate *gate, const struct panel_chain *chain)
{
    int64_t held = chain->panels;
    while (held > 0 && !is_held(gate, chain->hashes[held - 1]))
        held--;
    return held;
}

int64_t reading_gate_awaited(const struct reading_gate *gate, const struct panel_chain *chain)
{
    const int64_t reusable = panel_chain_reusable(chain);
    int64_t wanted = 0; /* panels that somebody is about to have */
    for (const struct reading_line *line = gate->first; line; line = line->next) {
        const int64_t shared = panel_chain_shared(line->chain, chain);
        wanted = shared > wanted ? shared : wanted;
    }
    wanted = wanted < reusable ? wanted : reusable;
    return wanted > 0 && held_panels(gate, chain) < wanted ? wanted : 0;
}

void reading_gate_begin(struct reading_gate *gate, struct reading_line *line,
                        const struct panel_chain *chain)
{
    *line = (struct reading_line){.chain = chain, .next = gate->first, .reading = true};
    if (gate->first)
        gate->first->before = line;
    gate->first = line;
}

void reading_gate_end(struct reading_gate *gate, struct reading_line *line, bool read)
{
    if (!line->reading)
        return;
    line->reading = false;
    if (line->before)
        line->before->next = line->next;
    else
        gate->first = line->next;
    if (line->next)
        line->next->before = line->before;
    for (int64_t p = 0; read && p < line->chain->panels; p++)
        hold(gate, line->chain->hashes[p]);
}

void reading_gate_forget(struct reading_gate *gate)
{
    memset(gate->held, 0, sizeof gate->held);
    memset(gate->oldest, 0, sizeof gate->oldest);
}
