/* What a simulated rank (simulate.h) has to do in a layer, as seconds and lists that are the same
 * in every layer. */
#pragma once

#include <stdint.h>

#include "proto/plan/model_shape.h"
#include "proto/plan/schedule.h"
#include "proto/plan/sight.h"
#include "proto/status.h"

struct simulate_machine;

/* What goes to a rank and what comes from it. */
struct simulate_box {
    int first, count;  /* of `sends` */
    int receive_first; /* of `receives` */
};

struct simulate_work {
    int64_t rows;
    double run_seconds;       /* of the products of all rows */
    double state_row_seconds; /* to move one row's states as often as a call does */
    int read_count;
    double *read_seconds; /* [read_count] of the pairs alone */
    int64_t *read_rows;   /* [read_count] that see some key */
    int *sends;           /* [send_count] peer by peer, in the schedule's sequence */
    int *receives;        /* [receive_count], likewise */
    int *forwards;        /* [receive_count] the send that passes it on; -1: none */
    int64_t *ready_rows;  /* [send_count] rows that are computed once its keys are */
    int64_t *marks;       /* [mark_count] the same numbers, ascending */
    int mark_count;
    struct simulate_box *boxes; /* [workers] */
};

MUST_CHECK enum status simulate_work_make(struct simulate_work *work,
                                          const struct schedule *schedule, int rank,
                                          const struct sight *sight,
                                          const struct model_shape *shape,
                                          const struct simulate_machine *machine);
void simulate_work_deinit(struct simulate_work *work);

/* What a call costs besides its pairs. */
double simulate_work_call_seconds(const struct simulate_work *work,
                                  const struct simulate_machine *machine, int64_t rows);

/* All arithmetic of a layer, with as few calls as may be. */
double simulate_work_seconds(const struct simulate_work *work,
                             const struct simulate_machine *machine);
