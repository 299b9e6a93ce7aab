/* Runs requests through a group of engines on loopback ranks: the whole engine without processes or
 * the network. */
#pragma once

#include <stdatomic.h>

#include "worker/engine/engine.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/nccl_api.h"

/* Tables of CUDA and NCCL, the real ones or what stands in for them. */
struct engine_gpus {
    const struct cuda_runtime *runtime;
    const struct kernels_cuda *kernels;
    const struct nccl_api *nccl;
};

/* What to run, and on what. Zero takes what is usual. */
struct engine_case {
    const char *model_path;
    const char *kernels; /* NULL: the best that runs here */
    bool int8_cache;
    const char *method; /* as spelt on the command line; NULL: rope */
    int ranks;          /* 0: 1 */
    int tensor;         /* places of the tensor axis, which divide the ranks; 0: 1 */
    int threads;        /* of a rank; 0: 1 */
    enum engine_kind kind;
    const int32_t *ids;
    int64_t count;
    const int64_t *positions; /* as struct engine_request */
    int64_t max_tokens;
    int64_t stage_tokens; /* 0: as planned */
    int partition;        /* enum partition_kind + 1; 0: as planned */
    bool weighed;         /* later ranks get more: 1, 3, 5, ... parts */
    int schedule;         /* enum choice_schedule + 1; 0: as planned */
    int queries;          /* enum choice_queries + 1; 0: as planned */
    bool decode_home;
    int decode_split;         /* 1 + a set of decode_split.h; 0: as planned */
    int64_t context_tokens;   /* 0: just what is needed */
    int64_t delay_ns;         /* of every block's delivery */
    int32_t stop_id;          /* 0: none */
    struct sampling sampling; /* all zero: greedy */
    bool logprobs;            /* of the generated tokens */
    int likeliest;            /* as struct engine_request */
    bool reuse_prefix;        /* as struct engine_request, too */
    int draft_tokens;         /* and this */
    bool times_parts;
    enum status refused;            /* not OK: this rank cannot take the request */
    int64_t cancel_after_ns;        /* rank 0 is told to cancel so long after the start; 0: never */
    const struct engine_gpus *gpus; /* where to compute; NULL: on the CPU */
    /* Called on rank 0 after each layer of a prefill; may be NULL. */
    void (*progress)(struct engine *engine, struct transport *transport, int64_t tokens_done);
};

enum { ENGINE_RANKS_MOST = 16 };

struct engine_outcome {
    enum status status;    /* of the first rank that failed */
    atomic_bool cancelled; /* all ranks ended early, as told */
    float *logprobs;       /* [count] */
    int64_t logprob_count;
    int32_t *ids; /* generated */
    int64_t id_count;
    struct logprobs *token_logprobs; /* [id_count], where asked for */
    struct choice choice;
    struct engine_result results[ENGINE_RANKS_MOST]; /* by rank */
    int64_t planned_bytes[ENGINE_RANKS_MOST];        /* the memory plan's total, by rank */
};

/* `outcome` is set in any case; free it with engine_outcome_free. Returns its status. */
enum status engine_ranks_run(struct engine_outcome *outcome, const struct engine_case *wanted);

/* The same of `count` requests, one after another on one group, which is made once and as the first
 * of them says. Returns the first failure; after it, the later outcomes are empty. */
enum status engine_ranks_run_all(struct engine_outcome outcomes[], const struct engine_case cases[],
                                 int count);

/* Plays one rank of a transport that the caller has; rank 0's outcome has the results. `outcome`
 * was made by engine_outcome_init. */
enum status engine_ranks_play(struct engine_outcome *outcome, const struct engine_case *wanted,
                              struct transport *transport, const struct cuda_streams *streams);

/* Opens a rank's place on a GPU, and puts the transport between GPUs over the one given, where
 * there are several ranks. */
MUST_CHECK enum status engine_ranks_open(struct transport **transport, struct cuda_streams *streams,
                                         const struct engine_gpus *gpus);

/* What an engine of one rank of `transport` is made with, for engine_ranks_request to use it, with
 * room for requests of up to context_tokens in stages of any length. */
struct engine_options engine_ranks_options(const char *kernels, int64_t context_tokens,
                                           const struct transport *transport,
                                           const struct cuda_streams *streams);

/* Cuts short what engine_ranks_request runs, from within. */
void engine_ranks_cancel(struct engine *engine);

/* One request on an engine that the caller has; all ranks call it alike. Results are added to those
 * that `outcome` has. */
MUST_CHECK enum status engine_ranks_request(struct engine *engine, struct transport *transport,
                                            const struct engine_case *wanted,
                                            struct engine_outcome *outcome);
void engine_outcome_init(struct engine_outcome *outcome, const struct engine_case *wanted);
void engine_outcome_free(struct engine_outcome *outcome);
