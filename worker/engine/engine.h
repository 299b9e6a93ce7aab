/* One rank's engine: a model in memory, ready for one request at a time. What worker/serve.c and
 * the tests call.
 *
 * All ranks of a transport make their engines from the same file and run the same requests in the
 * same order. A call that fails on one rank alone aborts the transport, and the engine is of no
 * more use (engine_usable). A request that is cancelled, late, refused or not finite ends alike on
 * all ranks, and the engine goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/memory_plan.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"
#include "worker/engine/device/device_part.h"
#include "worker/engine/logprobs.h"
#include "worker/engine/sample.h"
#include "worker/engine/transport/transport.h"

struct cuda_streams;
struct engine;
struct model;

struct engine_options {
    const char *kernels;  /* variant; NULL: the best that runs here */
    int threads;          /* 0: the cores of this rank's share of the host */
    int64_t memory_bytes; /* a plan above it is refused; 0: what the host or the GPU has free */
    const struct cuda_streams *streams; /* where to compute; NULL: on the CPU. Borrowed */
};

enum engine_kind { ENGINE_GENERATE, ENGINE_SCORE };

struct engine_request {
    enum engine_kind kind;
    const struct choice *choice;
    const int32_t *ids; /* [count], below the vocabulary; at least one */
    int64_t count;
    int64_t max_tokens; /* to generate; 0 and Score: none */
    struct sampling sampling;
    const int32_t *stop_ids; /* [stop_count]; a stop id ends the answer and is part of it */
    int stop_count;
    int64_t deadline_ns; /* monotonic; 0: none */
    bool logprobs;       /* of the generated tokens; needs their logits on the host */
    int likeliest;       /* tell so many tokens' beside the chosen one's, [0, 20] */
    bool times_parts;    /* of a device too that runs them asynchronously; it is slower then */
};

/* Told on rank 0, on the calling thread. None may be NULL. */
struct engine_observer {
    void *context;
    void (*progress)(void *context, int64_t tokens_done, int64_t tokens);
    /* `logprobs` is NULL unless they were asked for. */
    void (*token)(void *context, int32_t id, const struct logprobs *logprobs);
    /* Natural-log probabilities: logprobs[t] is token first + t + 1's after the tokens 0 .. first +
     * t. */
    void (*scores)(void *context, int64_t first, const float *logprobs, int64_t count);
};

/* Of this rank. Bytes are payload between ranks, without verdicts. */
struct engine_result {
    int64_t completion_tokens;
    bool stopped_by_id;
    bool not_finite;        /* it ended INTERNAL because its numbers are not finite */
    double prefill_seconds; /* until the first id is known */
    double decode_seconds;  /* from there to the last */
    int64_t sent_bytes, received_bytes;
    int64_t predicted_sent_bytes, predicted_received_bytes;
    double compute_seconds;
    double part_seconds[DEVICE_PARTS]; /* as device.h says */
    double exchange_wait_seconds;      /* compute stood still for keys */
    double exchange_seconds;           /* keys wanted to keys there, summed over blocks */
    int64_t memory_bytes;              /* of the arenas */
};

/* `transport` is borrowed; `model` may be closed afterwards. */
MUST_CHECK enum status engine_create(struct engine **engine, const struct model *model,
                                     struct transport *transport,
                                     const struct engine_options *options);

/* Accepts NULL. */
void engine_destroy(struct engine *engine);

/* What planning needs to know of this rank. */
const struct model_shape *engine_shape(const struct engine *engine);
const struct memory_request *engine_needs(const struct engine *engine);
enum choice_cache engine_cache(const struct engine *engine);
/* For tests. */
const char *engine_kernels(const struct engine *engine);

const char *engine_facts(const struct engine *engine);

/* Runs one request. CANCELLED, DEADLINE_EXCEEDED and a refusal end it alike on all ranks, and so
 * does INTERNAL where numbers are not finite (result->not_finite); none of them has an answer that
 * is not finite. *result is set in any case. */
MUST_CHECK enum status engine_run(struct engine *engine, const struct engine_request *request,
                                  const struct engine_observer *observer,
                                  struct engine_result *result);

/* In place of engine_run, by a rank that cannot take the request and whose `status`, with its
 * sentence, is why: the request ends on all ranks, and the engine goes on. */
MUST_CHECK enum status engine_refuse(struct engine *engine, enum status status);

/* Cuts the running request short with this status; rank 0's call counts. From any thread. */
void engine_cancel(struct engine *engine, enum status status);

bool engine_usable(const struct engine *engine);

/* Monotonic ns at which work was last finished, the present when idle; from any thread. */
int64_t engine_last_active_ns(const struct engine *engine);
