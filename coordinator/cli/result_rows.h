/* A file of results: JSON lines of which the first is a manifest and each other one a row, as
 * `longhaul scale` and `longhaul bench` write them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "coordinator/bench/samples.h"
#include "proto/status.h"

struct result_rows {
    const char *path; /* borrowed */
    json_t *manifest;
    json_t *rows; /* an array of objects */
};

/* NOT_FOUND; INVALID_ARGUMENT, with the line, for a file that is none. The caller calls
 * result_rows_close, also after a failure. */
MUST_CHECK enum status result_rows_open(struct result_rows *results, const char *path);
void result_rows_close(struct result_rows *results);

/* A text of the manifest, "" where there is none: result_rows_fact(rows, "model", "xxh3_128"), or
 * with `inner` NULL of its first level. */
const char *result_rows_fact(const struct result_rows *results, const char *key, const char *inner);

/* The row in which each of these members, a list that ends in NULL, has the value that it has in
 * `like`; NULL: there is none. */
json_t *result_rows_find(const struct result_rows *results, const json_t *like,
                         const char *const *members);

/* The samples under `key`: false where the row has none, or none that are above 0. */
bool result_rows_samples(const json_t *row, const char *key, struct samples_summary *summary);
