/* One request's tokens on one rank: what it asks for, its ids, who owns which of them, where their
 * keys lie, and how far it has come. All ranks have the same sequences.
 *
 *   prefill --the prompt's last stage has an id (sequence_take)--> decode
 *   either  --an end is agreed upon (engine.c)-->                  dropped
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/choice.h"
#include "proto/plan/partition.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_table.h"
#include "worker/engine/engine.h"
#include "worker/engine/sample.h"

struct sequence {
    uint64_t number; /* the request's */
    struct engine_job job;
    struct choice choice;
    struct bands bands;
    int64_t reach; /* bands_reach */
    int64_t sinks; /* that every rank keeps; 0: none */

    int32_t *ids;   /* [context]; the prompt, then the answer */
    int64_t passed; /* tokens whose keys are in the cache */
    struct ownership *ownership;
    struct panel_table *panels;
    struct sampler *sampler; /* rank 0's */

    atomic_int cancel_status; /* enum status, STATUS_OK: go on; from any thread, rank 0's counts */
    uint64_t non_finite;      /* the first place that this rank has seen, up to the last turn */
    struct engine_result result;
    int64_t started_ns;
    int64_t first_ns; /* when the first id was known */
};

/* What a sequence lies in; borrowed. */
struct sequence_place {
    int32_t *ids;         /* [context] */
    void *sampler_memory; /* rank 0's */
    int64_t vocab;
    struct panel_table_place panels;
};

/* Begins the sequence of a request. `choice` is the group's and the request's. */
MUST_CHECK enum status sequence_init(struct sequence *sequence, uint64_t number,
                                     const struct engine_job *job, const struct choice *choice,
                                     const struct sequence_place *place);
void sequence_deinit(struct sequence *sequence);

/* Whether its prompt has been passed, and an id is waiting to be. */
bool sequence_decodes(const struct sequence *sequence);

/* The next stage of its prompt. */
struct span sequence_stage(const struct sequence *sequence);

/* OK, or why it is to be cut short; rank 0 asks. */
enum status sequence_stop_status(const struct sequence *sequence);

/* Whether `id`, as the next one, is the last. */
bool sequence_ends_with(const struct sequence *sequence, int32_t id);

/* Takes the next id of the answer. */
void sequence_take(struct sequence *sequence, int32_t id);
