/* What a method shows the last token of a text, for drawing it: by range of distances, which keys
 * it sees and at which effective distances. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/method.h"

/* One range of distances for one range of keys, of which the last token sees at least one key. */
struct sight_view_row {
    int64_t keys_first, keys_end;         /* that it holds for; BANDS_OPEN: without an end */
    int64_t unit;                         /* tokens that distances are counted in */
    int64_t distance_first, distance_end; /* in units */
    int query_frame, key_frame;           /* of the bands */
    int64_t seen_first, seen_end;         /* the keys that the last token sees so */
    double least, most;                   /* at these effective distances */
};

struct sight_view {
    int count;
    struct sight_view_row rows[BANDS_MAX];
    bool keeps_sinks; /* sinks are kept apart for it */
};

/* Of a text of so many tokens, at least one. */
void sight_view_make(struct sight_view *view, const struct bands *bands, int64_t tokens);
