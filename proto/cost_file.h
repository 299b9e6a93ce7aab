/* The file of measured rates: YAML, written by `longhaul calibrate`, read by whoever plans.
 *
 *   costs:    {version: 1, measured: 2026-11-30T19:00:00Z}
 *   machine:  {cpu: "...", cores: 2, kernels: avx2}
 *   model:    {name: "...", digest: "...", weights: Q4_1, head_dim: 64}
 *   threads:  {2: {linear_flops: 1.3e11, attention_flops: ..., edge_keys: ..., layer_s: ...,
 *                  stage_s: ..., logits_flops: ..., memory_bytes: ..., keys_bytes: ...,
 *                  token_s: ..., load_bytes: ...}, ...}
 *   links:    {within: {bytes_per_second: ..., latency_s: ..., message_s: ...}, between: {...}}
 *
 * Flops and bytes are per second, what ends in _s is seconds; all as struct cost_table has them,
 * for a worker of so many threads. `links`, or one of the two, is missing where none was measured.
 * Everything else must be there. Of another version, or with keys that this one does not know, a
 * file is refused: measuring again is cheap.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "proto/plan/cost_measured.h"
#include "proto/status.h"

enum { COST_FILE_VERSION = 1, COST_FILE_TEXT_BYTES = 128, COST_FILE_PATH_BYTES = 4096 };

struct cost_file {
    char measured[COST_FILE_TEXT_BYTES]; /* when, UTC */
    char cpu[COST_FILE_TEXT_BYTES];      /* the processor's name */
    int cores;                           /* that could be used */
    char model[COST_FILE_TEXT_BYTES];    /* with which it was measured: its file's name */
    char digest[COST_FILE_TEXT_BYTES];
    char weights[COST_FILE_TEXT_BYTES]; /* the type of its weights, as its file names it */
    int head_dim;
    struct cost_measured rates;
};

/* NOT_FOUND when it is not there; INVALID_ARGUMENT with "FILE:LINE:COLUMN: what is wrong" for
 * one that is no good. */
MUST_CHECK enum status cost_file_read(struct cost_file *file, const char *path);

/* The same from memory; by itself for tests. */
MUST_CHECK enum status cost_file_read_bytes(struct cost_file *file, const char *name,
                                            const void *data, size_t bytes);

/* Replaces the file at `path` as a whole, folders above it made where they are missing. */
MUST_CHECK enum status cost_file_write(const struct cost_file *file, const char *path);

/* By itself for tests; what cannot be written is found by ferror. */
void cost_file_print(FILE *out, const struct cost_file *file);

/* Where it is kept unless an option names another: in `state_home` ($XDG_STATE_HOME), else in
 * .local/state under `home`; "" where both are NULL or empty. */
MUST_CHECK enum status cost_file_default_path(char path[COST_FILE_PATH_BYTES],
                                              const char *state_home, const char *home);
