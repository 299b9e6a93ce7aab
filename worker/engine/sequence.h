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

#include "proto/plan/choice.h"
#include "proto/plan/partition.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_table.h"
#include "worker/engine/device/device_method.h"
#include "worker/engine/draft_pace.h"
#include "worker/engine/engine.h"
#include "worker/engine/process_usage.h"
#include "worker/engine/sample.h"

/* What a sequence begins with. */
struct sequence_start {
    uint64_t number; /* the request's */
    const struct engine_job *job;
    const struct choice *choice;       /* the group's and the request's */
    int64_t promised;                  /* slots of those that begin after it in its turn */
    const struct transport *transport; /* whose waits are counted */
};

/* Where it lies (places.h); borrowed. */
struct sequence_place {
    int which;
    int64_t slots_held;
    int32_t *ids;         /* [context] */
    void *sampler_memory; /* [sampler_bytes] rank 0's */
    int64_t sampler_bytes;
    void *draft_memory; /* [draft_bytes] rank 0's */
    int64_t draft_bytes;
    int64_t vocab;
    struct panel_table_place panels;
};

struct sequence {
    uint64_t number; /* the request's */
    struct engine_job job;
    struct choice choice;
    struct sequence_place place;
    struct device_method method;
    int64_t sinks; /* that every rank keeps; 0: none */

    int32_t *ids;   /* [context]; the prompt, then the answer */
    int64_t passed; /* tokens whose keys are in the cache */
    struct ownership *ownership;
    struct panel_table *panels;
    struct sampler *sampler; /* rank 0's */
    struct draft *draft;     /* rank 0's; NULL: it drafts nothing */

    /* Its prompt's panels in the index of prefixes (places.h): what was there, then its own. */
    int *prefix;      /* [prompt's full panels] */
    bool *prefix_own; /* [prompt's full panels] */
    int64_t prefix_count;
    char *prefix_root;   /* NULL: it shares nothing */
    int64_t sharded_end; /* tokens up to here went in stages with sharded queries */

    struct resident *resident; /* that it goes on from (resident.h); NULL: from none */
    struct transfer *transfer; /* of one that saves or restores, once that has begun (transfer.h) */

    atomic_int cancel_status; /* enum status, STATUS_OK: go on; from any thread, rank 0's counts */
    _Atomic uint64_t non_finite; /* the first place that this rank has seen */
    struct engine_result result;
    int64_t started_ns;
    struct process_usage started_usage;
    int64_t first_ns; /* when the first id was known */
};

/* The sequence of a request, without a place. */
void sequence_init(struct sequence *sequence, const struct sequence_start *start,
                   const struct model_spec *spec);

/* Its result as it stands, and what the process has used since it began. */
struct engine_result sequence_result(const struct sequence *sequence,
                                     const struct transport *transport);

/* Gives it its place. Where that fails it is only to be deinited. */
MUST_CHECK enum status sequence_settle(struct sequence *sequence,
                                       const struct sequence_place *place);
void sequence_deinit(struct sequence *sequence);

/* Whether it moves keys out of the pool, or into it, and computes none. */
bool sequence_transfers(const struct sequence *sequence);

/* Whether its prompt has been passed, and an id is waiting to be. */
bool sequence_decodes(const struct sequence *sequence);

/* The next stage of its prompt. */
struct span sequence_stage(const struct sequence *sequence);

/* OK, or why it is to be cut short; rank 0 asks. */
enum status sequence_stop_status(const struct sequence *sequence);

/* Whether `id`, as the next one behind `ahead` that are not taken yet, is the last. */
bool sequence_ends_with(const struct sequence *sequence, int32_t id, int64_t ahead);

/* Rank 0: the tokens that may follow the one that waits to be passed in a step of `rows` other
 * rows, that one's among them; `most` at most: how many. */
int64_t sequence_draft(struct sequence *sequence, int32_t *drafted, const struct draft_pace *pace,
                       int64_t rows, int64_t most);

/* Puts drafted ids where the answer's would be, behind those that it has. */
void sequence_guess(struct sequence *sequence, const int32_t *drafts, int64_t count);

/* Takes the next id of the answer. */
void sequence_take(struct sequence *sequence, int32_t id);
