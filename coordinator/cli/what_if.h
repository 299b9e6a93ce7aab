/* What prompts would take on machines that are not there: every number of workers, length and
 * method that a cluster file asks for, planned as a coordinator would and simulated
 * (proto/plan/simulate_prompt.h). */
#pragma once

#include "proto/fact_file.h"
#include "proto/plan/choice.h"
#include "proto/plan/model_shape.h"
#include "proto/plan/simulate_prompt.h"
#include "proto/status.h"

enum { WHAT_IF_METHODS_MAX = 8 };

/* As its file says it; of what a command line says instead, the caller puts one in place of all. */
struct what_if_cluster {
    char name[FACT_TEXT_BYTES];
    char kernels[FACT_TEXT_BYTES];
    char methods[FACT_TEXT_BYTES]; /* spellings apart by blanks */
    struct fact_integers workers, tokens;
    struct simulate_machine machine;
    int64_t memory_bytes;  /* of a worker */
    int64_t block_tokens;  /* of a group; 0: as groups have */
    int64_t worker_tokens; /* above 0: the prompt grows with the workers, so many for each */
};

struct what_if_model {
    char name[FACT_TEXT_BYTES];
    struct model_shape shape;
};

enum what_if_bound { WHAT_IF_ARITHMETIC, WHAT_IF_LINK, WHAT_IF_LATENCY };

struct what_if_row {
    struct choice choice;
    int64_t prompt_tokens;
    struct simulate_prompt prefill;
    double efficiency;     /* of one worker's arithmetic, over all workers' time */
    double decode_seconds; /* of a token behind the prompt */
    int64_t sent_bytes;    /* of all ranks */
    int64_t memory_bytes;  /* of the rank that needs most */
    bool fits;
    enum what_if_bound bound; /* what would have to be faster */
};

struct what_if {
    struct what_if_cluster cluster;
    struct what_if_model model;
    char methods[WHAT_IF_METHODS_MAX][METHOD_TEXT_BYTES];
    int methods_count;
    struct what_if_row *rows; /* [count], by method, then length, then workers */
    int count;
};

MUST_CHECK enum status what_if_cluster_read(struct what_if_cluster *cluster, const char *path);
MUST_CHECK enum status what_if_model_read(struct what_if_model *model, const char *path);

/* `what_if` has its cluster and model; the caller calls what_if_deinit. `progress` is told before
 * every row. */
MUST_CHECK enum status what_if_make(struct what_if *what_if, void (*progress)(int row, int rows));
void what_if_deinit(struct what_if *what_if);

const char *what_if_bound_name(enum what_if_bound bound);
