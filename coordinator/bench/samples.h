/* Samples of one measured quantity, all kept as they came, and what follows from them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

struct json_writer;

/* {0} has none. */
struct samples {
    double *values; /* [count], as they came */
    double *sorted; /* [count]; ascending while `in_order` */
    size_t count, room;
    bool in_order;
};

struct samples_summary {
    size_t count;
    double mean, median;
    double deviation; /* of the samples, with count - 1 below; 0 of one sample */
    double least, most;
};

/* Finite; another one is INTERNAL, as a wrong measurement. */
MUST_CHECK enum status samples_add(struct samples *samples, double value);
void samples_deinit(struct samples *samples);

/* All 0 where there are none. */
struct samples_summary samples_summarise(struct samples *samples);

/* The value below which `percent` of the samples lie, [0, 100]; between two of them by a straight
 * line, as numpy.percentile does. 0 where there are none. */
double samples_percentile(struct samples *samples, double percent);

/* {"count", "mean", "median", "deviation", "least", "most", "samples": [...]} under `key`. */
void samples_write(struct json_writer *writer, const char *key, struct samples *samples);
