/* Many requests in a row on one engine: one leaves nothing behind for the next, whatever its
 * method, its length or its end. On a small model with random weights, by loopback; with the
 * argument `standin`, on CUDA devices that stand in. */
#include <math.h>
#include <stdlib.h>

#include "proto/log.h"
#include "proto/model/model.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/model_fixture.h"
#include "tests/support/unit.h"

enum { TOKENS = 420, MOST_RANKS = 3 };

static struct model_fixture fixture = {
    .shape = {.layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96},
    .tokens = TOKENS};
static const struct engine_gpus *gpus; /* NULL: on the CPU */

struct rank_case {
    ranks_function *function;
    struct cuda_streams streams;
};

/* What one request came to, on this rank. */
struct answer {
    enum status status;
    struct engine_outcome outcome;
};

static void ask(struct answer *answer, struct engine *engine, struct transport *t,
                struct engine_case wanted)
{
    wanted.ids = fixture.ids;
    const struct engine_case roomy = {.count = TOKENS, .max_tokens = TOKENS};
    engine_outcome_init(&answer->outcome, &roomy);
    answer->status = engine_ranks_request(engine, t, &wanted, &answer->outcome);
}

static bool ends_as(struct engine *engine, struct transport *t, struct engine_case wanted,
                    enum status status, int64_t results)
{
    struct answer answer;
    ask(&answer, engine, t, wanted);
    int64_t given = answer.outcome.id_count + answer.outcome.logprob_count;
    bool holds = answer.status == status && (t->rank != 0 || given == results);
    engine_outcome_free(&answer.outcome);
    return holds;
}

static bool scores_within(struct engine *engine, struct transport *t, struct engine_case wanted,
                          const float *expected, double allowed)
{
    struct answer answer;
    ask(&answer, engine, t, wanted);
    bool holds = answer.status == STATUS_OK;
    for (int64_t i = 0; holds && t->rank == 0 && i + 1 < wanted.count; i++)
        holds = fabs((double)answer.outcome.logprobs[i] - (double)expected[i]) <= allowed;
    engine_outcome_free(&answer.outcome);
    return holds;
}

static enum status with_engine(struct transport *t, const struct rank_case *rank_case)
{
    const struct engine_options options =
        engine_ranks_options("reference", 2 * TOKENS, t, gpus ? &rank_case->streams : NULL);
    struct model *model;
    struct engine *engine;
    TRY(model_open(&model, fixture.path));
    enum status status = engine_create(&engine, model, t, &options);
    model_close(model);
    if (status == STATUS_OK)
        status = rank_case->function(t, engine);
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        engine_destroy(engine);
    return status;
}

static void cancel_after_the_last_layer(struct engine *engine, struct transport *t,
                                        int64_t tokens_done)
{
    (void)t;
    if (tokens_done == 300)
        engine_ranks_cancel(engine);
}

static void cancel_at_once(struct engine *engine, struct transport *t, int64_t tokens_done)
{
    (void)t;
    (void)tokens_done;
    engine_ranks_cancel(engine);
}

static const struct engine_case plain = {.kind = ENGINE_SCORE, .count = 300};

static enum status play_many(struct transport *t, void *context)
{
    struct engine *engine = context;
    struct answer first;
    ask(&first, engine, t, plain);
    const float *expected = first.outcome.logprobs;
    expect_on_all_ranks(t, first.status == STATUS_OK);

    struct engine_case cut = plain;
    cut.progress = cancel_after_the_last_layer;
    expect_on_all_ranks(t, ends_as(engine, t, cut, STATUS_CANCELLED, 0));
    expect_on_all_ranks(t, scores_within(engine, t, plain, expected, 0));
    cut.progress = cancel_at_once;
    cut.stage_tokens = 70;
    expect_on_all_ranks(t, ends_as(engine, t, cut, STATUS_CANCELLED, 0));
    expect_on_all_ranks(t, scores_within(engine, t, plain, expected, 0));

    struct engine_case other = {.method = "lm_infinite:window=64,sinks=70", .count = 100};
    other.max_tokens = 200; /* the cache gives up panels many times over */
    expect_on_all_ranks(t, ends_as(engine, t, other, STATUS_OK, 200));
    other.stage_tokens = 16; /* sinks of more than a stage, and of more than a panel */
    other.max_tokens = 5;
    expect_on_all_ranks(t, ends_as(engine, t, other, STATUS_OK, 5));

    struct engine_case short_score = {.kind = ENGINE_SCORE, .count = 1};
    expect_on_all_ranks(t, ends_as(engine, t, short_score, STATUS_OK, 0));
    struct engine_case short_answer = {.count = 1, .max_tokens = 3};
    expect_on_all_ranks(t, ends_as(engine, t, short_answer, STATUS_OK, 3));
    short_answer.max_tokens = 0;
    expect_on_all_ranks(t, ends_as(engine, t, short_answer, STATUS_OK, 0));

    struct engine_case rows = plain; /* more than a prefill product takes at a time */
    rows.queries = CHOICE_REPLICATED + 1;
    rows.stage_tokens = 250;
    expect_on_all_ranks(t, scores_within(engine, t, rows, expected, gpus ? 0.45 : 3e-4));
    expect_on_all_ranks(t, scores_within(engine, t, plain, expected, 0));
    engine_outcome_free(&first.outcome);
    return STATUS_OK;
}

static enum status play_refusals(struct transport *t, void *context)
{
    struct engine *engine = context;
    struct engine_case wanted = {.count = 10, .max_tokens = 5, .context_tokens = 14};
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OUT_OF_RANGE, 0));
    wanted.max_tokens = INT64_MAX;
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OUT_OF_RANGE, 0));
    wanted.max_tokens = 5; /* nobody walks through the stages of a context that no group has */
    wanted.context_tokens = INT64_C(1) << 40;
    wanted.stage_tokens = 64;
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OUT_OF_RANGE, 0));
    wanted.context_tokens = 14;
    wanted.stage_tokens = 0;
    wanted.max_tokens = -1;
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_INVALID_ARGUMENT, 0));

    struct answer answer;
    wanted.max_tokens = 4;
    ask(&answer, engine, t, wanted);
    int32_t id = t->rank == 0 ? answer.outcome.ids[0] : 0;
    engine_outcome_free(&answer.outcome);
    TRY(transport_broadcast(t, &id, sizeof id));
    wanted.stop_id = id;
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OK, id ? 1 : 4));
    return STATUS_OK;
}

/* Whatever the sampler does to the logits, and whoever has them. */
static enum status play_logprobs(struct transport *t, void *context)
{
    enum { PROMPT = 100, ANSWER = 40, LIKELIEST = 3 };
    struct engine *engine = context;
    struct engine_case drawn = {
        .count = PROMPT, .max_tokens = ANSWER, .logprobs = true, .likeliest = LIKELIEST};
    drawn.sampling =
        (struct sampling){.temperature = 1.5f, .top_p = 1, .repetition_penalty = 1.3f, .seed = 5};
    struct answer answer, scored;
    ask(&answer, engine, t, drawn);
    expect_on_all_ranks(t, answer.status == STATUS_OK);

    int32_t whole[PROMPT + ANSWER];
    memcpy(whole, fixture.ids, PROMPT * sizeof *fixture.ids);
    memcpy(whole + PROMPT, answer.outcome.ids, ANSWER * sizeof *fixture.ids);
    TRY(transport_broadcast(t, whole, sizeof whole));
    const struct engine_case text = {.kind = ENGINE_SCORE, .count = PROMPT + ANSWER, .ids = whole};
    engine_outcome_init(&scored.outcome, &text);
    scored.status = engine_ranks_request(engine, t, &text, &scored.outcome);
    expect_on_all_ranks(t, scored.status == STATUS_OK);
    const double allowed = gpus ? 0.45 : 3e-4; /* between one row at a time and many */
    int unlikely = 0;
    for (int n = 0; t->rank == 0 && n < ANSWER; n++) {
        const struct logprobs *given = &answer.outcome.token_logprobs[n];
        const double score = (double)scored.outcome.logprobs[PROMPT - 1 + n];
        expect_on_rank(t, fabs((double)given->chosen - score) <= allowed);
        expect_on_rank(t, given->count == LIKELIEST && given->likeliest[0] >= given->chosen);
        expect_on_rank(t, given->likeliest[1] <= given->likeliest[0]);
        unlikely += given->ids[0] != answer.outcome.ids[n];
    }
    expect_on_rank(t, t->rank != 0 || unlikely > 0);
    engine_outcome_free(&scored.outcome);
    engine_outcome_free(&answer.outcome);

    struct engine_case refused = drawn;
    refused.likeliest = SAMPLING_LIKELIEST_MAX + 1;
    expect_on_all_ranks(t, ends_as(engine, t, refused, STATUS_INVALID_ARGUMENT, 0));
    return STATUS_OK;
}

/* One rank cannot take the request and the others could: it ends on all, and nobody waits. */
static enum status play_a_refusal_of_one(struct transport *t, void *context)
{
    struct engine *engine = context;
    const struct engine_case wanted = {.count = 10, .max_tokens = 5};
    for (int refuser = 0; refuser < t->size; refuser++) {
        struct engine_case refused = wanted;
        struct answer answer;
        refused.refused = t->rank == refuser ? STATUS_RESOURCE_EXHAUSTED : STATUS_OK;
        ask(&answer, engine, t, refused);
        const enum status status = answer.status;
        engine_outcome_free(&answer.outcome);
        expect_on_all_ranks(t, status == STATUS_RESOURCE_EXHAUSTED && engine_usable(engine));
        const char *cause = t->rank == refuser ? "no room here" : "its log says why";
        expect_on_all_ranks(t, strstr(status_message(), cause) != NULL);
        expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OK, 5));
    }
    return STATUS_OK;
}

/* What no coordinator sends: a sampling parameter out of its range. */
static enum status play_wrong_sampling(struct transport *t, void *context)
{
    struct engine *engine = context;
    static const struct sampling wrong[] = {
        {.temperature = -1, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = NAN, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = INFINITY, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_k = -1, .top_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1.5f, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = NAN, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .min_p = 1, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .min_p = -0.1f, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .min_p = NAN, .repetition_penalty = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .seed = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = INFINITY, .seed = 1},
        {.temperature = 1, .top_p = 1, .repetition_penalty = NAN, .seed = 1},
        {.temperature = 1, .top_k = INT32_MAX, .top_p = 1, .repetition_penalty = 1, .seed = 1},
    };
    struct engine_case wanted = {.count = 10, .max_tokens = 5};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wanted.sampling = wrong[i];
        expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_INVALID_ARGUMENT, 0));
        expect_on_all_ranks(t, strncmp(status_message(), "sampling.", 9) == 0);
    }
    wanted.sampling = (struct sampling){.temperature = 1,
                                        .top_p = 1e-9f,
                                        .min_p = 0.99f,
                                        .repetition_penalty = 1,
                                        .seed = UINT64_MAX};
    expect_on_all_ranks(t, ends_as(engine, t, wanted, STATUS_OK, 5));
    return STATUS_OK;
}

static void abort_at_once(struct engine *engine, struct transport *t, int64_t tokens_done)
{
    (void)engine;
    (void)tokens_done;
    transport_abort(t, "the coordinator is gone");
}

/* Also where no peer is waited for. */
static enum status play_an_abort(struct transport *t, void *context)
{
    struct engine *engine = context;
    struct engine_case wanted = plain;
    wanted.progress = abort_at_once;
    expect_on_rank(t, ends_as(engine, t, wanted, STATUS_UNAVAILABLE, 0));
    expect_on_rank(t, !engine_usable(engine));
    return STATUS_OK;
}

static enum status play_a_lost_peer(struct transport *t, void *context)
{
    struct engine *engine = context;
    if (t->rank == 1) {
        transport_abort(t, "rank 1 leaves before the request");
        return STATUS_OK;
    }
    expect_on_rank(t, ends_as(engine, t, plain, STATUS_UNAVAILABLE, 0));
    expect_on_rank(t, !engine_usable(engine));
    return STATUS_OK;
}

static enum status start(struct transport *t, void *context)
{
    return with_engine(t, context);
}

static enum status open_streams(struct transport **t, void *context)
{
    if (gpus)
        TRY(engine_ranks_open(t, &((struct rank_case *)context)->streams, gpus));
    return STATUS_OK;
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct rank_case *)context)->streams);
}

static void on_ranks(int first, int last, ranks_function *function)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct rank_case cases[MOST_RANKS];
    void *contexts[MOST_RANKS];
    for (int ranks = first; ranks <= last; ranks++) {
        for (int rank = 0; rank < ranks; rank++) {
            cases[rank] = (struct rank_case){.function = function};
            contexts[rank] = &cases[rank];
        }
        assert_int_equal(ranks_run_in(ranks, NULL, &setting, start, contexts), STATUS_OK);
    }
}

static void a_request_leaves_nothing_behind_for_the_next(void **state)
{
    (void)state;
    on_ranks(1, MOST_RANKS, play_many);
}

static void a_refused_request_is_refused_alike_and_the_engine_goes_on(void **state)
{
    (void)state;
    on_ranks(1, MOST_RANKS, play_refusals);
}

static void an_answers_log_probabilities_are_its_scores(void **state)
{
    (void)state;
    on_ranks(1, MOST_RANKS, play_logprobs);
}

static void a_rank_that_cannot_take_a_request_ends_it_for_all(void **state)
{
    (void)state;
    on_ranks(1, MOST_RANKS, play_a_refusal_of_one);
}

static void sampling_out_of_its_range_ends_the_request_alone(void **state)
{
    (void)state;
    on_ranks(1, 2, play_wrong_sampling);
}

static void an_abort_ends_a_prefill_on_any_number_of_ranks(void **state)
{
    (void)state;
    on_ranks(1, 2, play_an_abort);
}

static void a_peer_lost_before_a_request_makes_the_engine_unusable(void **state)
{
    (void)state;
    on_ranks(2, MOST_RANKS, play_a_lost_peer);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_leaves_nothing_behind_for_the_next),
        cmocka_unit_test(a_refused_request_is_refused_alike_and_the_engine_goes_on),
        cmocka_unit_test(an_answers_log_probabilities_are_its_scores),
        cmocka_unit_test(a_rank_that_cannot_take_a_request_ends_it_for_all),
        cmocka_unit_test(sampling_out_of_its_range_ends_the_request_alone),
        cmocka_unit_test(an_abort_ends_a_prefill_on_any_number_of_ranks),
        cmocka_unit_test(a_peer_lost_before_a_request_makes_the_engine_unusable),
    };
    const struct engine_gpus standin = {standin_runtime(), standin_kernels(), standin_nccl()};
    if (argc > 1 && strcmp(argv[1], "standin") == 0)
        gpus = &standin;
    log_configure(LOG_ERROR, -1);
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
