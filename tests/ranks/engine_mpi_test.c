/* The engine on MPI ranks: the bits are those of one loopback rank, for every method. usage, under
 * mpirun: engine_mpi_test MODEL_FILE, where rank 0 writes a small model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/ranks.h"
#include "tests/support/tiny_model.h"
#include "worker/engine/transport/transport_mpi.h"

enum { TOKENS = 333, ANSWER = 12 };

static const char *const methods[] = {"rope", "string:shift=150,local=20",
                                      "lm_infinite:window=130,sinks=4"};

static enum status compare(struct transport *transport, struct engine_case *wanted)
{
    struct engine_outcome outcome;
    struct engine_outcome alone;
    engine_outcome_init(&outcome, wanted);
    enum status status = engine_ranks_play(&outcome, wanted, transport, NULL);
    const struct engine_result *result = &outcome.results[transport->rank];
    bool same = status == STATUS_OK && result->sent_bytes == result->predicted_sent_bytes &&
                result->received_bytes == result->predicted_received_bytes;
    if (same && transport->rank == 0) {
        same = engine_ranks_run(&alone, wanted) == STATUS_OK;
        if (wanted->kind == ENGINE_SCORE)
            same = same && memcmp(outcome.logprobs, alone.logprobs,
                                  (TOKENS - 1) * sizeof *alone.logprobs) == 0;
        else
            same = same && memcmp(outcome.ids, alone.ids, ANSWER * sizeof *alone.ids) == 0;
        engine_outcome_free(&alone);
    }
    engine_outcome_free(&outcome);
    expect_on_all_ranks(transport, same);
    return STATUS_OK;
}

static enum status run(struct transport *transport, const char *path)
{
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = TINY_MODEL_BYTE_0 + (i * 37 + i / 7) % 256;
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        struct engine_case wanted = {
            .model_path = path,
            .kernels = "reference",
            .method = methods[m],
            .kind = ENGINE_SCORE,
            .ids = ids,
            .count = TOKENS,
        };
        TRY(compare(transport, &wanted));
        wanted.kind = ENGINE_GENERATE;
        wanted.max_tokens = ANSWER;
        TRY(compare(transport, &wanted));
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    const struct tiny_model_shape shape = {
        .layers = 3, .hidden = 96, .heads = 6, .kv_heads = 2, .head_dim = 16, .ffn = 160};
    struct transport *transport;
    if (argc != 2)
        return 2;
    log_configure(LOG_ERROR, -1);
    enum status status = transport_mpi_create(&transport, NULL);
    if (status != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        return 1;
    }
    if (transport->rank == 0)
        tiny_model_write(argv[1], &shape, 7, DTYPE_Q4_1);
    status = transport_barrier(transport);
    if (status == STATUS_OK)
        status = run(transport, argv[1]);
    if (status != STATUS_OK) {
        fprintf(stderr, "rank %d: %s\n", transport->rank, status_message());
        transport_abort(transport, status_message());
    }
    if (transport->rank == 0)
        unlink(argv[1]);
    transport_destroy(transport);
    return status == STATUS_OK ? 0 : 1;
}
