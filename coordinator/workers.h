/* The worker groups: which ranks have joined, whether they live, and who may run on them.
 *
 * A group is one transport world: all of its ranks hold a Join stream each. It serves while all are
 * there; when one is lost the group is lost, its ranks are told to end, and all of its requests end
 * UNAVAILABLE. It has as many places for requests as its ranks say that they can hold.
 *
 *   joining  --all ranks have joined (enter)-->                 loading
 *   loading  --all ranks have loaded (take_loaded)-->           ready
 *   ready    --workers_acquire-->                               running
 *   running  --workers_release, group_run_take,
 *              group_run_end of the last request-->             ready
 *   any      --a rank's stream breaks (end_of_stream),
 *              it is silent for too long, or finishes no work
 *              for too long (goes_on),
 *              it reports Failed (take), or its run cannot
 *              go on (group_run_begin, group_run_end)-->        lost
 *   lost     --the last rank has left (leave) and no request
 *              holds it (workers_release)-->                    freed
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/batch/panel_chain.h"
#include "coordinator/group_links.h"
#include "coordinator/rank_placement.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/join_secret.h"
#include "proto/plan/choice.h"
#include "proto/plan/cost.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

struct workers;
struct worker_groups;
struct group;

enum { WORKERS_NAME_BYTES = 128 };

struct workers_settings {
    const struct join_secret *join_secret; /* what every rank must show */
    const char *model_digest;              /* what every rank's model must be */
    const char *kernels;                   /* a variant that every rank must have; NULL: any */
    int requests_wanted;                   /* that a group should answer at a time */
    int64_t context_tokens;                /* the longest prompt plus answer of any */
    int heartbeat_ms;
    int dead_ms; /* silence after which a rank counts as lost */
    int work_ms; /* so does one that has requests and finishes no work for so long */
    /* Called from any thread, with no lock held, when a group's state may have changed. */
    void (*changed)(void *context);
    void *context;
};

/* What planning needs to know of a ready group. */
struct workers_facts {
    uint64_t serial; /* the group's own, never another's */
    char group_id[WORKERS_NAME_BYTES];
    int size;
    int threads;                      /* of the rank that has fewest */
    char kernels[WORKERS_NAME_BYTES]; /* the best variant that all have */
    enum choice_cache cache;
    bool shared_memory_bus;
    int64_t memory_bytes;   /* of the rank that has least; 0: not known */
    int64_t context_tokens; /* 0: no limit of its own */
    int64_t weights_bytes;  /* of the rank that has most */
    int64_t base_bytes;
    int64_t scratch_bytes; /* likewise */
    int tensor;            /* places of the tensor axis; 0: 1. It divides the size */
    int weight_sharers;    /* ranks that map one copy of their weights, the fewest of any; 0: 1 */
    int64_t whole_bytes;   /* that a rank would need without it; 0: it was asked for */
    /* The same two by place of a tensor axis of several. */
    struct {
        int64_t weights_bytes, scratch_bytes;
    } slices[CHOICE_TENSOR_MAX];
    int64_t logit_rows;
    int64_t list_row_bytes, list_panel_bytes;
    /* What the ranks' memory was made for; 0: for each request as it comes. */
    int64_t longest_tokens, stage_rows, step_rows, pool_slots;
    int64_t pool_bytes;    /* of each rank, for all requests together; 0: no limit */
    int64_t session_bytes; /* what sessions hold of it */
    double load_seconds;   /* of the slowest rank */
    /* What the ranks measured when they loaded, the slowest of each; bytes_per_second 0: not
     * known. */
    struct cost_link within, between;
    int host_ranks; /* of the host that has most; 0: not known */
    int places;     /* requests at a time */
    /* Seconds that prompts took for each that was predicted, roughly and steadily of several
     * workers; 0: not known. */
    double pace;
    struct partition_weights weights; /* of shards, by the workers' speeds */
};

MUST_CHECK enum status workers_create(struct workers **workers,
                                      const struct workers_settings *settings);

/* Every call of the server must be over. NULL is accepted. */
void workers_destroy(struct workers *workers);

/* The row of longhaul.control.v1.WorkerControl/Join. */
void workers_method(struct workers *workers, struct rpc_method *method);

/* Whether a group is there at all, be it only joining. */
bool workers_any(struct workers *workers);

/* Whether a group is complete and loaded, be it busy. */
bool workers_ready(struct workers *workers);

/* Requests that the complete, loaded groups answer at a time, all together. */
int workers_places(struct workers *workers);

/* Whether a group is complete and loaded, and none of its work items overdue. */
bool workers_serving(struct workers *workers);

/* The sentence of the last group that was lost or worker that was refused since then, or "". */
void workers_trouble(struct workers *workers, int64_t since_ns, char *text, size_t bytes);

/* Of a complete, loaded group; UNAVAILABLE when there is none. */
MUST_CHECK enum status workers_facts(struct workers *workers, struct workers_facts *facts);

/* One request's place in a group, and what it holds of each rank's pool. */
struct workers_place {
    struct group *group;
    int64_t pool_bytes;
};

/* What is asked of a group. */
struct workers_asked {
    const struct panel_chain *prompt;
    int64_t pool_bytes; /* of each rank, as far as it is known */
    uint64_t serial;    /* of the only group that will do; 0: any */
};

/* Of a ready group that has a place: where there is one, of those that have the memory; of these
 * the one that holds most of the prompt, if that is at least half of what the prompt could reuse;
 * of others, and where several hold as much, the one with the fewest requests. False when there is
 * none. */
bool workers_offer(struct workers *workers, struct workers_facts *facts,
                   const struct workers_asked *asked);

/* Takes a place in the group of these facts, with so much of each rank's pool, for this prompt;
 * false while that is not free, or when the group is lost. */
bool workers_acquire(struct workers *workers, struct workers_place *place,
                     const struct workers_facts *facts, int64_t pool_bytes,
                     const struct panel_chain *prompt);
void workers_release(const struct workers_place *place);

/* A run that stays has ended there: a session holds so much of each rank's pool. False where the
 * group is lost. */
bool workers_hold(struct workers *workers, uint64_t serial, int64_t bytes);

/* The session lets go of the run, and of its memory; of a group that is lost, of nothing. */
void workers_let_go(struct workers *workers, uint64_t serial, uint64_t run, int64_t bytes);

/* Panels of the prompt that some ready group has read for others: as far as the coordinator knows,
 * for they may have been let go meanwhile. */
int64_t workers_shared(struct workers *workers, const struct panel_chain *prompt);

/* Whether the group of this serial is complete and loaded. */
bool workers_has(struct workers *workers, uint64_t serial);

/* What a prompt took on the group of these facts for each second that was predicted. */
void workers_note_pace(struct workers *workers, const struct workers_facts *facts, double pace);

/* How fast its workers were beside each other. */
struct worker_speeds_run;
void workers_note_speeds(struct workers *workers, const struct workers_facts *facts,
                         const struct worker_speeds_run *run);

/* Tells every rank to end, waits for their streams to close, at most `timeout_ms`. */
void workers_stop(struct workers *workers, const char *reason, int64_t timeout_ms);

/* ---- for GetCluster ---- */

struct workers_rank_view {
    int rank;
    char host[WORKERS_NAME_BYTES];
    int64_t pid;
    char kernels[WORKERS_NAME_BYTES];
    int threads;
    struct rank_placement placement;
    double heartbeat_age_seconds;
    double work_age_seconds;
    double load_seconds;
};

struct workers_group_view {
    char group_id[WORKERS_NAME_BYTES];
    int size;
    Longhaul__V1__GroupState state;
    char transport[16];
    char request_id[WORKERS_NAME_BYTES]; /* of the run that began first; "": none */
    int running;                         /* requests that have a place */
    int places;                          /* 0 until it is ready */
    uint64_t serial;
    int64_t pool_bytes;              /* of each rank, for all requests together; 0: no limit */
    int64_t taken_bytes;             /* what requests hold of it */
    struct group_links links;        /* no links until it has loaded */
    struct workers_rank_view *ranks; /* [rank_count], those that have joined */
    int rank_count;
};

/* A copy of what is there; freed by workers_view_free. */
MUST_CHECK enum status workers_view(struct workers *workers, struct workers_group_view **groups,
                                    int *count);
void workers_view_free(struct workers_group_view *groups, int count);

/* The state behind it, for workers_view.c alone. */
struct worker_groups *workers_groups(struct workers *workers);
