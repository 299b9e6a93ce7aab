/* What each op of the program puts on the compute stream, for a block of a stage and for a step
 * alike. */
#pragma once

#include "worker/engine/device/device_cuda_parts.h"

/* Rows that ops are computed for: a block of a stage, or a step's. */
struct device_cuda_rows {
    struct device_cuda *cuda;
    int64_t rows;
    const struct device_method *method;
    const struct panel_table *panels;
    int64_t sinks;
    const int32_t *ids;     /* [rows] on the device, as the next two */
    const int64_t *indices; /* [rows] */
    const int64_t *records; /* [rows] */

    /* [rows, width], float32 but for queries and, in a stage, left sides of products. The state:
     * acc in a stage, in a step the states of all ranks. */
    float *at[LAYER_BUFFERS];
    float *sum;               /* [rows, heads], a stage's state's */
    int64_t query_frame_rows; /* from one frame of the queries to the next */
    int64_t table_frame_rows; /* the same of the tables */
    bool in_step;             /* few rows: quantised weights are read directly */
    unsigned split;           /* of these products, only this rank's columns are computed */
    int rank;

    const float *to_add; /* what the next norm adds to the residual stream first */
};

/* Ops [first, end) of the program. */
MUST_CHECK enum status device_cuda_ops(struct device_cuda_rows *rows, int first, int end);

/* For device_cuda_ops.c: q of LAYER_QKV in every query frame. */
MUST_CHECK enum status device_cuda_rotate(const struct device_cuda_rows *rows);

/* The same: rotates k of LAYER_QKV; k and v go to the cache and among the sinks. */
MUST_CHECK enum status device_cuda_store(const struct device_cuda_rows *rows, int layer);
