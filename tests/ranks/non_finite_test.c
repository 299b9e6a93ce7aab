/* Weights that hold a NaN: the request ends alike on all ranks, with the token and the layer, for
 * every variant of the kernels, and the engine answers the next one as if nothing had been. On
 * small models with random weights, by loopback; with the argument `standin`, on CUDA devices that
 * stand in, which do not tell the layer. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "proto/log.h"
#include "proto/model/model.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"

enum { TOKENS = 150, MOST_RANKS = 3, SPOILT_ID = 100, SPOILT_AT = 81, ANSWER = 4 };

static int32_t ids[TOKENS];
static const struct engine_gpus *gpus; /* NULL: on the CPU */

struct spoilt_case {
    const char *model_path;
    const char *kernels;
    const char *cause; /* of every request; NULL: of those whose prompt has SPOILT_ID */
    struct cuda_streams streams;
};

static enum status ask(struct engine_outcome *outcome, struct engine *engine, struct transport *t,
                       struct engine_case wanted)
{
    wanted.ids = ids;
    const struct engine_case roomy = {.count = TOKENS, .max_tokens = TOKENS};
    engine_outcome_init(outcome, &roomy);
    return engine_ranks_request(engine, t, &wanted, outcome);
}

/* INTERNAL on this rank, without a number, by the same cause. */
static bool is_refused(struct engine *engine, struct transport *t, struct engine_case wanted,
                       const char *cause)
{
    struct engine_outcome outcome;
    const enum status status = ask(&outcome, engine, t, wanted);
    const struct engine_result *result = &outcome.results[t->rank];
    bool holds = status == STATUS_INTERNAL && result->not_finite && engine_usable(engine) &&
                 outcome.logprob_count == 0 && outcome.id_count == 0 &&
                 strstr(status_message(), cause) != NULL;
    if (!holds)
        printf("rank %d of %d: %s, not \"%s\": %s\n", t->rank, t->size, status_name(status), cause,
               status_message());
    engine_outcome_free(&outcome);
    return holds;
}

static struct engine_case answer_of(int64_t count)
{
    return (struct engine_case){.count = count, .max_tokens = ANSWER, .context_tokens = 200};
}

static struct engine_case score_of(int64_t count)
{
    return (struct engine_case){.kind = ENGINE_SCORE, .count = count, .context_tokens = 200};
}

/* Prefills with sharded and with replicated queries, in one stage and in several. */
static enum status play_spoilt_weights(struct transport *t, struct engine *engine,
                                       const char *cause)
{
    struct engine_case cases[] = {answer_of(TOKENS), score_of(TOKENS), score_of(TOKENS),
                                  answer_of(TOKENS), score_of(TOKENS), answer_of(1)};
    cases[2].stage_tokens = 64;
    cases[3].queries = cases[4].queries = CHOICE_REPLICATED + 1;
    cases[3].stage_tokens = cases[4].stage_tokens = 64;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_on_all_ranks(t, is_refused(engine, t, cases[i], cause));
    return STATUS_OK;
}

static bool scores_are(const struct engine_outcome *a, const struct engine_outcome *b)
{
    return a->logprob_count == b->logprob_count &&
           memcmp(a->logprobs, b->logprobs, (size_t)a->logprob_count * sizeof(float)) == 0;
}

/* A prompt that is not finite leaves nothing to others, not even what comes before its spoilt
 * token: no device has said yet that this is finite. */
static enum status play_a_spoilt_prefix(struct transport *t, struct engine *engine,
                                        const char *cause)
{
    struct engine_case spoilt = answer_of(TOKENS), clean = answer_of(SPOILT_AT);
    struct engine_outcome outcome;
    spoilt.stage_tokens = clean.stage_tokens = 64;
    spoilt.reuse_prefix = clean.reuse_prefix = true;
    expect_on_all_ranks(t, is_refused(engine, t, spoilt, cause));
    for (int64_t cached = 0; cached <= 64; cached += 64) {
        const enum status status = ask(&outcome, engine, t, clean);
        expect_on_all_ranks(t, status == STATUS_OK);
        expect_on_all_ranks(t, outcome.results[t->rank].cached_tokens == cached);
        engine_outcome_free(&outcome);
    }
    return STATUS_OK;
}

/* One token is spoilt: what comes before it is well, and so is every request without it, bit for
 * bit as before. */
static enum status play_a_spoilt_token(struct transport *t, struct engine *engine)
{
    struct engine_outcome before, after;
    const char *cause = gpus ? "in its logits" : "token 82 of the sequence";
    TRY(play_a_spoilt_prefix(t, engine, cause));
    expect_on_all_ranks(t, ask(&before, engine, t, score_of(SPOILT_AT)) == STATUS_OK);
    expect_on_all_ranks(t, t->rank != 0 || before.logprob_count == SPOILT_AT - 1);
    for (int replicated = 0; replicated < 2; replicated++)
        for (int64_t stage = 0; stage < 128; stage += 64) {
            struct engine_case score = score_of(TOKENS), answer = answer_of(SPOILT_AT + 1);
            score.queries = answer.queries = replicated ? CHOICE_REPLICATED + 1 : 0;
            score.stage_tokens = answer.stage_tokens = stage;
            struct engine_outcome outcome;
            const enum status status = ask(&outcome, engine, t, score);
            expect_on_all_ranks(t, status == STATUS_INTERNAL && strstr(status_message(), cause));
            for (int64_t i = 0; t->rank == 0 && i < outcome.logprob_count; i++)
                expect_on_rank(t, isfinite(outcome.logprobs[i]));
            engine_outcome_free(&outcome);
            expect_on_all_ranks(t, is_refused(engine, t, answer, cause));
            expect_on_all_ranks(t, ask(&after, engine, t, score_of(SPOILT_AT)) == STATUS_OK);
            expect_on_all_ranks(t, scores_are(&before, &after));
            engine_outcome_free(&after);
        }
    engine_outcome_free(&before);
    return STATUS_OK;
}

static enum status start(struct transport *t, void *context)
{
    const struct spoilt_case *spoilt = context;
    const struct engine_options options =
        engine_ranks_options(spoilt->kernels, 256, t, gpus ? &spoilt->streams : NULL);
    struct model *model;
    struct engine *engine;
    TRY(model_open(&model, spoilt->model_path));
    enum status status = engine_create(&engine, model, t, &options);
    model_close(model);
    if (status == STATUS_OK)
        status = spoilt->cause ? play_spoilt_weights(t, engine, spoilt->cause)
                               : play_a_spoilt_token(t, engine);
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        engine_destroy(engine);
    return status;
}

static enum status open_streams(struct transport **t, void *context)
{
    if (gpus)
        TRY(engine_ranks_open(t, &((struct spoilt_case *)context)->streams, gpus));
    return STATUS_OK;
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct spoilt_case *)context)->streams);
}

static void on_ranks(const struct spoilt_case *spoilt)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct spoilt_case cases[MOST_RANKS];
    void *contexts[MOST_RANKS];
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
        for (int rank = 0; rank < ranks; rank++) {
            cases[rank] = *spoilt;
            contexts[rank] = &cases[rank];
        }
        assert_int_equal(ranks_run_in(ranks, NULL, &setting, start, contexts), STATUS_OK);
    }
}

static void on_all_kernels(const char *tensor, int row, const char *cause)
{
    struct tiny_model_shape shape = {
        .layers = 3, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96};
    char path[TINY_MODEL_PATH_BYTES];
    shape.spoilt = tensor;
    shape.spoilt_row = row;
    tiny_model_make(path, &shape, DTYPE_F32);
    for (int n = 0; kernels_at(n); n++)
        if (kernels_runs_here(kernels_at(n)) && (!gpus || n == 0))
            on_ranks(&(struct spoilt_case){path, gpus ? NULL : kernels_at(n)->name, cause, {0}});
    unlink(path);
}

static void a_nan_in_any_tensor_names_its_layer(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        const char *cause;
    } cases[] = {
        {"blk.1.attn_norm.weight", "token 1 of the sequence is the first whose numbers are not "
                                   "finite (NaN or infinity), in layer 2 of 3:"},
        {"blk.1.attn_q.weight", "token 1 of the sequence is the first whose numbers are not finite "
                                "(NaN or infinity), in layer 2 of 3:"},
        {"blk.2.attn_k.weight", "in layer 3 of 3:"},
        {"blk.0.attn_v.weight", "in layer 1 of 3:"},
        {"blk.1.attn_output.weight", "in layer 2 of 3:"},
        {"blk.2.ffn_norm.weight", "in layer 3 of 3:"},
        {"blk.0.ffn_gate.weight", "in layer 1 of 3:"},
        {"blk.1.ffn_up.weight", "in layer 2 of 3:"},
        {"blk.2.ffn_down.weight", "in layer 3 of 3:"},
        {"output_norm.weight", "in its logits:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        on_all_kernels(cases[i].tensor, 0, gpus ? "in its logits:" : cases[i].cause);
}

static void a_spoilt_token_leaves_nothing_behind(void **state)
{
    (void)state;
    /* The embedding is the output matrix too, unless there is one: its row is a logit of all. */
    struct tiny_model_shape shape = {
        .layers = 3, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96};
    char path[TINY_MODEL_PATH_BYTES];
    shape.untied = true;
    shape.spoilt = "token_embd.weight";
    shape.spoilt_row = SPOILT_ID;
    tiny_model_make(path, &shape, DTYPE_F32);
    for (int n = 0; kernels_at(n); n++)
        if (kernels_runs_here(kernels_at(n)) && (!gpus || n == 0))
            on_ranks(&(struct spoilt_case){path, gpus ? NULL : kernels_at(n)->name, NULL, {0}});
    unlink(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nan_in_any_tensor_names_its_layer),
        cmocka_unit_test(a_spoilt_token_leaves_nothing_behind),
    };
    const struct engine_gpus standin = {standin_runtime(), standin_kernels(), standin_nccl()};
    if (argc > 1 && strcmp(argv[1], "standin") == 0)
        gpus = &standin;
    log_configure(LOG_ERROR, -1);
    tiny_model_ids(ids, TOKENS);
    for (int i = 0; i < TOKENS; i++)
        if (ids[i] == SPOILT_ID)
            ids[i]++;
    ids[SPOILT_AT] = SPOILT_ID;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
