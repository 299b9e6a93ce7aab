/* What a rank says on its stream once it has joined. Each call writes one message, from any thread;
 * tokens are gathered by the computing one and go out together. UNAVAILABLE when the stream is
 * gone. */
#pragma once

#include <stdint.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/cache_file/cache_block.h"
#include "proto/rpc/rpc_client.h"
#include "proto/status.h"
#include "worker/engine/device/trace.h"
#include "worker/engine/engine.h"

struct reports {
    struct rpc_stream *stream;
    int64_t base_bytes; /* what the process may hold beside its arenas */
    /* Ids that a step chose and nobody was told of yet. */
    struct reports_token *tokens; /* [room] */
    Longhaul__Control__V1__RunTokens **pointers;
    int count, room;
};

/* Room for the ids of `room` runs. */
MUST_CHECK enum status reports_init(struct reports *reports, struct rpc_stream *stream, int room);
void reports_deinit(struct reports *reports);

MUST_CHECK enum status reports_loaded(struct reports *reports,
                                      const Longhaul__Control__V1__Loaded *loaded);
MUST_CHECK enum status reports_beat(struct reports *reports, int runs, double work_age_seconds);
MUST_CHECK enum status reports_progress(struct reports *reports, uint64_t run, int64_t done,
                                        int64_t total);
MUST_CHECK enum status reports_scores(struct reports *reports, uint64_t run, int64_t first,
                                      const float *logprobs, int64_t count);

/* Keeps the id for reports_flush. `logprobs` may be NULL. */
MUST_CHECK enum status reports_token(struct reports *reports, uint64_t run, int32_t id,
                                     const struct logprobs *logprobs);

/* Tells the ids that were kept, in one message. */
MUST_CHECK enum status reports_flush(struct reports *reports);

/* A block of keys of a session that is saved, and that so many more were taken of one that is
 * restored. */
MUST_CHECK enum status reports_block(struct reports *reports, uint64_t run,
                                     const struct cache_stored *stored);
MUST_CHECK enum status reports_blocks_taken(struct reports *reports, uint64_t run, int64_t blocks);

/* What the rank did for the run, before its end. */
MUST_CHECK enum status reports_trace(struct reports *reports, uint64_t run,
                                     const struct trace *trace);

/* The run's end, after all its ids; a status other than OK with status_message. */
MUST_CHECK enum status reports_done(struct reports *reports, uint64_t run, enum status status,
                                    const struct engine_result *result);

/* The rank's own end, with status_message. */
MUST_CHECK enum status reports_failed(struct reports *reports, enum status status);
