/* One rank of an echo worker: a rank's whole life over the real control protocol, without a model.
 * It reads prompts and answers them at the pace that it is told, one stage or one step a turn as an
 * engine does, and misbehaves on request. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/rpc/rpc_client.h"
#include "proto/status.h"

enum { ECHO_RANK_NEVER = -1 };

/* What goes wrong, once so many runs have ended; ECHO_RANK_NEVER: nothing. */
struct echo_faults {
    int64_t die_after;  /* the process kills itself when a later run has told a token */
    int64_t hang_after; /* the rank neither works, beats nor listens, for hang_seconds */
    int64_t hang_seconds;
    int64_t stall_after;     /* the rank beats and works no more */
    int64_t poison_id;       /* the process kills itself on a prompt that holds this id */
    int64_t fail_id;         /* a run whose prompt holds this id ends INTERNAL */
    int64_t not_finite_runs; /* so many runs, the first, end for numbers that are not finite */
};

struct echo_rank_settings {
    const char *group;
    int rank, size;
    const char *model_digest; /* hexadecimal */
    const char *secret_file;
    int64_t join_deadline_ms;
    int64_t memory_bytes;
    int places; /* 0: as many as the coordinator wants */
    int64_t load_ms;
    int64_t step_us;       /* of a step of all answers */
    int64_t token_us;      /* of each prompt token that is computed */
    int64_t stage_tokens;  /* computed at most in one turn */
    int64_t prefix_panels; /* held at most; 0: all that come */
    int32_t first_id, ids; /* answers are made of ids [first_id, first_id + ids) */
    struct echo_faults faults;
};

/* From Hello until the coordinator says Stop (OK) or is lost. `client` is borrowed. */
MUST_CHECK enum status echo_rank_live(const struct echo_rank_settings *settings,
                                      struct rpc_client *client);
