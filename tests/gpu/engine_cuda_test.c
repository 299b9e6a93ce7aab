/* The engine on real GPUs, by ranks that are processes which this program forks: no MPI is needed.
 *
 * engine_cuda_test [RANKS | standin]: one rank and no number: log-probabilities of a small random
 * model against the CPU, for every method, sharded and replicated; decode by graphs. With RANKS (2
 * to 4): the transport's contract with memory of the device, and the same comparisons over NCCL.
 * Ranks that outnumber the GPUs share them (timings are invalid then). With `standin`, one rank on
 * the device that stands in for a GPU: that shows that the program works, and no more.
 *
 * Exit codes: 0, 1 after a failure, 77 where there is no GPU. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "tests/ranks/transport_contract.h"
#include "tests/support/device_messages.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/forked_transport.h"
#include "tests/support/standin.h"
#include "tests/support/tiny_model.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/nccl_share.h"

enum { TOKENS = 700, ANSWER = 24, RANKS_MOST = 4, EXIT_NO_GPU = 77, PATIENCE_S = 240 };

static bool standin;
static char model_path[TINY_MODEL_PATH_BYTES];
static int32_t ids[TOKENS];

static const char *const methods[] = {
    "rope",
    "string:shift=150,local=20",
    "lm_infinite:window=130,sinks=4",
    "lm_infinite:window=64,sinks=70,ceiling=90",
};

enum { METHODS = sizeof methods / sizeof methods[0] };

/* What a case is to be, on the CPU and then on the GPU. */
struct comparison {
    const char *method;
    int64_t stage_tokens;
    int queries, schedule, decode_split;
    enum engine_kind kind;
};

static const struct comparison comparisons[] = {
    {.kind = ENGINE_SCORE},
    {.kind = ENGINE_SCORE, .stage_tokens = 200},
    {.kind = ENGINE_SCORE, .stage_tokens = 40, .queries = CHOICE_REPLICATED + 1},
    {.kind = ENGINE_SCORE, .schedule = CHOICE_RING + 1},
    {.kind = ENGINE_GENERATE, .decode_split = 1},
    {.kind = ENGINE_GENERATE, .decode_split = 1 + DECODE_SPLIT_ALL},
};

enum { COMPARISONS = sizeof comparisons / sizeof comparisons[0], REPLICATED = 2, FIRST_ANSWER = 4 };

static struct engine_case case_of(const struct comparison *what, const char *method)
{
    return (struct engine_case){
        .model_path = model_path,
        .method = method,
        .kind = what->kind,
        .ids = ids,
        .count = what->kind == ENGINE_SCORE ? TOKENS : 300,
        .max_tokens = what->kind == ENGINE_SCORE ? 0 : ANSWER,
        .stage_tokens = what->stage_tokens,
        .queries = what->queries,
        .schedule = what->schedule,
        .decode_split = what->decode_split,
    };
}

/* How far log-probabilities are from those of float32 on the CPU. */
struct distance {
    double worst, rms;
};

static struct distance distance_of(const struct engine_outcome *outcome,
                                   const struct engine_outcome *cpu, int64_t count)
{
    struct distance distance = {0, 0};
    double squares = 0;
    for (int64_t t = 0; t + 1 < count; t++) {
        const double off = fabs((double)outcome->logprobs[t] - (double)cpu->logprobs[t]);
        distance.worst = off <= distance.worst ? distance.worst : off;
        squares += off * off;
    }
    distance.rms = sqrt(squares / (double)count);
    return distance;
}

/* What a method gives on the CPU. */
struct expected {
    struct engine_outcome score, answer;
    /* The same rounding of operands and cache, done by the CPU over the stand-in, shows what bf16
     * moves on this model: with queries sharded, and replicated. */
    struct distance bf16[2];
};

/* A GPU adds in another order, and may be this much worse. */
static const double WORST_FACTOR = 1.5, RMS_FACTOR = 1.2;

static enum status expected_make(struct expected *expected, const char *method)
{
    struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    struct engine_case score = case_of(&comparisons[0], method);
    struct engine_case answer = case_of(&comparisons[FIRST_ANSWER], method);
    score.kernels = answer.kernels = "reference";
    TRY(engine_ranks_run(&expected->score, &score));
    TRY(engine_ranks_run(&expected->answer, &answer));
    for (int replicated = 0; replicated < 2; replicated++) {
        struct engine_case rounded = case_of(&comparisons[replicated ? REPLICATED : 0], method);
        struct engine_outcome outcome = {0};
        rounded.gpus = &gpus;
        TRY(engine_ranks_run(&outcome, &rounded));
        expected->bf16[replicated] = distance_of(&outcome, &expected->score, rounded.count);
        engine_outcome_free(&outcome);
    }
    return STATUS_OK;
}

static void expected_free(struct expected *expected)
{
    engine_outcome_free(&expected->score);
    engine_outcome_free(&expected->answer);
}

static enum status judge_score(const struct engine_outcome *gpu, const struct expected *expected,
                               const struct engine_case *wanted)
{
    const struct distance off = distance_of(gpu, &expected->score, wanted->count);
    const struct distance *bf16 = &expected->bf16[wanted->queries == CHOICE_REPLICATED + 1];
    printf("  %-44s stage %4lld queries %d schedule %d: worst %.3f (bf16 %.3f) rms %.4f (%.4f)\n",
           wanted->method, (long long)wanted->stage_tokens, wanted->queries, wanted->schedule,
           off.worst, bf16->worst, off.rms, bf16->rms);
    if (!(off.worst <= WORST_FACTOR * bf16->worst) || !(off.rms <= RMS_FACTOR * bf16->rms))
        return fail(STATUS_INTERNAL, "%s: log-probabilities are off by %.3f, rms %.4f",
                    wanted->method, off.worst, off.rms);
    return STATUS_OK;
}

static enum status judge(const struct engine_outcome *gpu, const struct expected *expected,
                         const struct engine_case *wanted)
{
    if (wanted->kind == ENGINE_SCORE)
        return judge_score(gpu, expected, wanted);
    if (memcmp(gpu->ids, expected->answer.ids, 3 * sizeof *gpu->ids) != 0)
        return fail(STATUS_INTERNAL, "%s: the answer begins otherwise than on the CPU",
                    wanted->method);
    printf("  %-44s split %d: the answer begins as on the CPU\n", wanted->method,
           wanted->decode_split);
    return STATUS_OK;
}

static enum status compare(struct transport *t, const struct cuda_streams *streams,
                           const struct expected *expected, const struct comparison *what,
                           const char *method)
{
    struct engine_case wanted = case_of(what, method);
    struct engine_outcome gpu;
    engine_outcome_init(&gpu, &wanted);
    enum status status = engine_ranks_play(&gpu, &wanted, t, streams);
    if (status == STATUS_OK && t->rank == 0)
        status = judge(&gpu, expected, &wanted);
    const struct engine_result *result = &gpu.results[t->rank];
    if (status == STATUS_OK && (result->sent_bytes != result->predicted_sent_bytes ||
                                result->memory_bytes != gpu.planned_bytes[t->rank]))
        status = fail(STATUS_INTERNAL, "bytes are not as planned on rank %d", t->rank);
    engine_outcome_free(&gpu);
    return status;
}

static enum status compare_all(struct transport *t, const struct cuda_streams *streams)
{
    for (int m = 0; m < METHODS; m++) {
        struct expected expected = {0};
        enum status status = STATUS_OK;
        if (t->rank == 0)
            status = expected_make(&expected, methods[m]);
        for (int c = 0; c < COMPARISONS && status == STATUS_OK; c++)
            status = compare(t, streams, &expected, &comparisons[c], methods[m]);
        expected_free(&expected);
        TRY(status);
    }
    return STATUS_OK;
}

static enum status keep_contract(struct transport *t)
{
    for (size_t c = 0; c < transport_contract_count; c++) {
        const struct transport_case *one = &transport_contract_cases[c];
        if (one->ends_group || t->size < one->least_ranks)
            continue;
        TRY(one->function(t, NULL));
        if (t->rank == 0)
            printf("  %s\n", one->name);
    }
    return STATUS_OK;
}

static enum status find_gpus(struct engine_gpus *gpus, int rank, int ranks)
{
    char name[32];
    int devices;
    if (standin) {
        *gpus = (struct engine_gpus){standin_runtime(), standin_kernels(), standin_nccl()};
        return STATUS_OK;
    }
    TRY(cuda_find_load_eagerly());
    TRY(cuda_find(&gpus->runtime, &gpus->kernels));
    TRY(gpus->runtime->count(&devices));
    snprintf(name, sizeof name, "longhaul-test-%d", rank);
    if (ranks > devices)
        TRY(nccl_share_device(name));
    return ranks > 1 ? nccl_find(&gpus->nccl) : STATUS_OK;
}

/* One rank's life. The contract's transport takes its way over the device and ends with its
 * part. */
static enum status play(void *memory, int rank, int ranks, bool contract)
{
    const struct transport_options options = {.requests = 512, .silence_ns = 30000000000};
    struct engine_gpus gpus = {0};
    struct transport *t;
    struct cuda_streams streams;
    TRY(find_gpus(&gpus, rank, ranks));
    TRY(forked_transport_create(&t, memory, rank, ranks, &options));
    enum status status = engine_ranks_open(&t, &streams, &gpus);
    if (status == STATUS_OK && contract)
        status = device_messages_create(&t, t, &streams);
    if (status == STATUS_OK)
        status = contract ? keep_contract(t) : compare_all(t, &streams);
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    else
        transport_destroy(t);
    return status;
}

/* ---- processes ---- */

static void sit_out(int rank, enum status status)
{
    if (status != STATUS_OK)
        fprintf(stderr, "rank %d: %s: %s\n", rank, status_name(status), status_message());
    fflush(NULL);
    _exit(status == STATUS_OK ? 0 : status == STATUS_FAILED_PRECONDITION ? EXIT_NO_GPU : 1);
}

/* Waits for all of them; a rank that hangs is a failure. */
static int await(const pid_t *processes, int ranks)
{
    const int64_t end_ns = clock_after_ms(PATIENCE_S * 1000);
    int worst = 0;
    for (int rank = 0; rank < ranks; rank++) {
        int how = 0;
        while (waitpid(processes[rank], &how, WNOHANG) == 0) {
            const struct timespec rest = {0, 10000000};
            nanosleep(&rest, NULL);
            if (clock_now_ns() > end_ns) {
                fprintf(stderr, "rank %d does not end; it is killed\n", rank);
                kill(processes[rank], SIGKILL);
            }
        }
        const int code = WIFEXITED(how) ? WEXITSTATUS(how) : 1;
        if (code == EXIT_NO_GPU && worst != 1)
            worst = EXIT_NO_GPU;
        else if (code != 0)
            worst = 1;
    }
    return worst;
}

static int run(int ranks, bool contract)
{
    pid_t processes[RANKS_MOST];
    void *memory = forked_transport_map(ranks);
    printf("%s, %d ranks\n", contract ? "the transport's contract" : "GPU against CPU", ranks);
    fflush(NULL);
    for (int rank = 0; rank < ranks; rank++) {
        processes[rank] = fork();
        if (processes[rank] == 0)
            sit_out(rank, memory ? play(memory, rank, ranks, contract)
                                 : fail(STATUS_RESOURCE_EXHAUSTED, "no shared memory"));
    }
    return await(processes, ranks);
}

static void make_model(void)
{
    const struct tiny_model_shape shape = {
        .layers = 3, .hidden = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ffn = 512};
    tiny_model_make(model_path, &shape, DTYPE_Q4_1);
    tiny_model_ids(ids, TOKENS);
}

int main(int argc, char **argv)
{
    standin = argc > 1 && strcmp(argv[1], "standin") == 0;
    const int ranks = argc > 1 && !standin ? atoi(argv[1]) : 1;
    if (ranks < 1 || ranks > RANKS_MOST) {
        fprintf(stderr, "usage: engine_cuda_test [RANKS, 1 to %d | standin]\n", RANKS_MOST);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_model();
    log_configure(LOG_WARN, -1);
    int code = ranks > 1 ? run(ranks, true) : 0;
    if (code == 0)
        code = run(ranks, false);
    unlink(model_path);
    return code;
}
