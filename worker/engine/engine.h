/* One rank's engine: a model in memory, and the sequences that it works on. What worker/serve.c and
 * the tests call.
 *
 * All ranks of a transport make their engines from the same file and the same group's choice. Rank
 * 0 alone decides: engine_admit hands it a request, and each engine_step of it is one turn of the
 * whole group: sequences that come, and one stage of a prompt (turn.h) or one step of several
 * answers. The others' engine_step waits for what rank 0 says, and asks engine_source for the
 * requests that it names, of which every rank has been told.
 *
 * A request that stays leaves its tokens when it ends well, with their keys and values: a resident,
 * known by the request's number (resident.h). Any number of requests go on from it, and none of its
 * tokens is passed again. It holds its memory until engine_let_go.
 *
 * A request that is cancelled, late, refused or not finite ends alike on all ranks, alone. A call
 * that fails on one rank aborts the transport, ends every request UNAVAILABLE, and the engine is of
 * no more use (engine_usable).
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
#include "worker/engine/process_usage.h"
#include "worker/engine/sample.h"
#include "worker/engine/transport/transport.h"

struct binding;
struct cuda_streams;
struct engine;
struct trace;
struct model;

enum engine_kind {
    ENGINE_GENERATE,
    ENGINE_SCORE,
    ENGINE_SAVE,    /* hands out the keys of the resident that it goes on from */
    ENGINE_RESTORE, /* stays, and takes in the keys of its prompt; none is computed */
};

/* One panel in one layer: K in each key frame, and V, as plain rows (kernels/attention_rows.h). */
struct engine_block {
    enum bands_store store;
    int64_t panel;
    int layer;
};

/* Where this rank's blocks go to, or come from, in any order. Called on the thread that steps. */
struct engine_port {
    void *context;
    /* Whether there is room for a block that goes; one that comes is there. They wait for it at
     * most `wait_ms`. */
    bool (*has_room)(void *context, int64_t wait_ms);
    bool (*has_block)(void *context, int64_t wait_ms);
    /* Only then. A failure is the request's. */
    enum status (*put)(void *context, const struct engine_block *block, const void *rows,
                       size_t bytes);
    /* Valid until the next call. */
    enum status (*get)(void *context, struct engine_block *block, const void **rows, size_t *bytes);
};

struct engine_request {
    enum engine_kind kind;
    enum status refused; /* not OK: this rank cannot take it, so it ends on all ranks */
    const char *refusal; /* with this sentence */
    const struct request_choice *choice;
    const int32_t *ids; /* [count], below the vocabulary; at least one */
    int64_t count;
    const int64_t *positions; /* [count], as given_positions_check has them; NULL: the indices */
    int64_t max_tokens;       /* to generate; 0 and Score: none */
    int64_t min_tokens;       /* no stop id is among the first so many */
    struct sampling sampling;
    const int32_t *stop_ids; /* [stop_count]; a stop id ends the answer and is part of it */
    int stop_count;          /* up to SAMPLE_HELD_MAX */
    int64_t deadline_ns;     /* monotonic; 0: none */
    const char *tenant;      /* whose requests it may share prefixes with; NULL is "" */
    bool reuse_prefix;       /* take panels of the same prefix that are there, and leave its own */
    /* The resident, by its number, that the prompt begins as, of the same tenant and with the same
     * method; 0: none. NOT_FOUND where it is not there. */
    uint64_t goes_on_from;
    bool stays;           /* its prompt becomes a resident; it has no answer */
    bool logprobs;        /* of the generated tokens; needs their logits on the host */
    int likeliest;        /* tell so many tokens' beside the chosen one's, [0, 20] */
    int draft_tokens;     /* pass up to so many guessed ones in a step; changes no id. 0: none */
    bool drafts_that_pay; /* no more of them than make more tokens a second, by what was measured */
    const struct engine_port *port; /* of a request that saves or restores: this rank's */
    struct trace *trace; /* what this rank does for it is noted there; NULL: nobody asks */
    bool times_parts;    /* of a device too that runs them asynchronously; it is slower then */
};

/* Of this rank. Bytes are payload between ranks, without verdicts. */
struct engine_result {
    int64_t completion_tokens;
    int64_t prefilled_tokens; /* of the prompt, whose keys were computed for it */
    int64_t cached_tokens;    /* of the prompt, whose keys were there */
    int64_t resident_slots;   /* of one that stays: what its prompt holds where it holds most */
    int64_t drafted_tokens;   /* that were passed on a guess */
    int64_t accepted_tokens;  /* of them, those that were right, and so part of the answer */
    bool stopped_by_id;
    bool not_finite;        /* it ended INTERNAL because its numbers are not finite */
    double prefill_seconds; /* until the first id is known */
    double decode_seconds;  /* from there to the last */
    int64_t sent_bytes, received_bytes;
    int64_t predicted_sent_bytes, predicted_received_bytes;
    /* In stages and steps that it had for itself: several sequences' go in the same messages. */
    int64_t sent_messages, predicted_sent_messages;
    double compute_seconds;
    double part_seconds[DEVICE_PARTS]; /* as device.h says */
    double exchange_wait_seconds;      /* compute stood still for keys */
    double exchange_seconds;           /* keys wanted to keys there, summed over blocks */
    int64_t memory_bytes;              /* of the arenas */
    struct process_usage usage;        /* while the request was here, alone or not */
};

/* Told on the thread that steps; all but `done` on rank 0 alone. None may be NULL. */
struct engine_observer {
    void *context;
    void (*progress)(void *context, int64_t tokens_done, int64_t tokens);
    /* `logprobs` is NULL unless they were asked for. */
    void (*token)(void *context, int32_t id, const struct logprobs *logprobs);
    /* Natural-log probabilities: logprobs[t] is token first + t + 1's after the tokens 0 .. first +
     * t. */
    void (*scores)(void *context, int64_t first, const float *logprobs, int64_t count);
    /* The request has ended, on every rank; status_message has the sentence. OK, CANCELLED,
     * DEADLINE_EXCEEDED, a refusal, INTERNAL where numbers are not finite (result->not_finite), or
     * UNAVAILABLE with the engine. Nothing of the request is used any more. */
    void (*done)(void *context, enum status status, const struct engine_result *result);
};

/* A request as an engine works on it; both are borrowed until `done`. */
struct engine_job {
    const struct engine_request *request;
    const struct engine_observer *observer;
};

/* Where ranks other than 0 find what rank 0 has admitted. */
struct engine_source {
    void *context;
    /* The request of this number. Waits until this rank has been told of it, with a deadline: a
     * failure is the rank's. */
    enum status (*find)(void *context, uint64_t number, struct engine_job *job);
};

struct engine_options {
    const char *kernels;           /* variant; NULL: the best that runs here */
    bool int8_cache;               /* keys and values in 8 bits; false: as the variant has them */
    int threads;                   /* 0: the cores of this rank's share of the host */
    const struct binding *binding; /* where they run; NULL: in this rank's share of the host */
    int64_t memory_bytes; /* a plan above it is refused; 0: what the host or the GPU has free */
    const struct cuda_streams *streams; /* where to compute; NULL: on the CPU. Borrowed */
    /* Alike on all ranks. The device fills in kernels and cache; a pool of 0 slots becomes what
     * memory_bytes leaves room for, alike on all ranks too. */
    struct group_choice group;
    struct engine_source source; /* not needed on rank 0 */
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
int64_t engine_memory_bytes(const struct engine *engine); /* all that was allocated */
const struct group_choice *engine_group(const struct engine *engine);

/* Ranks that map one copy of this rank's weights, itself included. */
int engine_weight_sharers(const struct engine *engine);

/* For tests: slots of this rank's pool that no sequence or resident holds; lets go of all prefixes.
 */
int64_t engine_pool_free(struct engine *engine);

const char *engine_facts(const struct engine *engine);

/* On rank 0: the request waits for its turn. Its number is above those of all before it. */
MUST_CHECK enum status engine_admit(struct engine *engine, uint64_t number,
                                    const struct engine_request *request,
                                    const struct engine_observer *observer);

/* Takes one turn with the other ranks. *busy: there may be more to do at once. Else rank 0 has
 * nothing to do, and another rank has not heard of anything for ENGINE_WAIT_MS; both may look
 * elsewhere, and call again. */
enum { ENGINE_WAIT_MS = 100 };
MUST_CHECK enum status engine_step(struct engine *engine, bool *busy);

/* Cuts the request of this number short with this status, unless it has ended; rank 0's call
 * counts. From any thread. */
void engine_cancel(struct engine *engine, uint64_t number, enum status status);

/* On rank 0: the resident of this number goes, once no request that waits goes on from it. One that
 * is not there has gone. */
MUST_CHECK enum status engine_let_go(struct engine *engine, uint64_t number);

bool engine_usable(const struct engine *engine);

/* Monotonic ns at which work was last finished, the present when idle; from any thread. */
int64_t engine_last_active_ns(const struct engine *engine);
