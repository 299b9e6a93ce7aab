/* How the planner cuts what a group of several workers is asked: alike, so that prompts can share
 * their beginnings. */
#include "tests/support/unit.h"

#include "coordinator/planner.h"
#include "proto/plan/memory_plan.h"

enum { LONGEST = 131072 };

/* Llama-3.1-8B. */
static const struct planner planner = {
    .defaults = {.method = "rope", .context_tokens = LONGEST},
    .shape = {.layers = 32,
              .hidden = 4096,
              .heads = 32,
              .kv_heads = 8,
              .head_dim = 128,
              .ffn = 14336,
              .vocab = 128256,
              .trained_tokens = LONGEST},
};

static struct workers_facts facts_of(int workers)
{
    struct group_choice group = group_choice_usual(workers);
    memory_group_size(&group, 4, LONGEST);
    return (struct workers_facts){
        .size = workers,
        .threads = 64,
        .kernels = "avx512_bf16",
        .cache = CHOICE_CACHE_BF16,
        .shared_memory_bus = true,
        .weights_bytes = INT64_C(16060522496),
        .longest_tokens = LONGEST,
        .stage_rows = group.stage_rows,
        .step_rows = group.step_rows,
        .places = group.sequences,
    };
}

static struct request_choice plan(const struct workers_facts *facts, int64_t prompt_tokens)
{
    const struct planner_request request = {.prompt_tokens = prompt_tokens, .max_tokens = 100};
    struct status_details details = {0};
    struct choice choice;
    if (planner_choose(&planner, &choice, &details, facts, &request) != STATUS_OK)
        fail_msg("%s", status_message());
    return choice.request;
}

/* A document, a question on it, and another that is much longer. */
static void several_workers_cut_all_prompts_alike(void **state)
{
    (void)state;
    for (int workers = 2; workers <= 4; workers++) {
        const struct workers_facts facts = facts_of(workers);
        const struct request_choice first = plan(&facts, 6000);
        assert_true(first.stage_tokens > 0);
        for (int64_t prompt = 500; prompt < LONGEST - 100; prompt += 6007) {
            const struct request_choice other = plan(&facts, prompt);
            assert_int_equal(other.stage_tokens, first.stage_tokens);
            assert_int_equal(other.partition, first.partition);
            assert_int_equal(other.schedule, first.schedule);
            assert_int_equal(other.context_tokens, prompt + 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_workers_cut_all_prompts_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
