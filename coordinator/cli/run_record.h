/* The sidecar OUT.jsonl.run: of which input, model and options the output is, and who is writing
 * it. It is locked while a run goes on, and stays behind it. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "proto/model/digest.h"
#include "proto/status.h"

/* What must be the same for a run to go on. */
struct run_record_key {
    char input[DIGEST_HEX_BYTES];
    char model[DIGEST_HEX_BYTES];
    char options[DIGEST_HEX_BYTES];
};

struct run_record {
    int descriptor; /* -1: not open */
    char path[PATH_MAX];
    char store[PATH_MAX]; /* a folder that a run has left behind; "": none */
};

/* FAILED_PRECONDITION where another run holds it; INVALID_ARGUMENT where it belongs to another
 * input, model or options and `has_output`, unless `overwrite`. */
MUST_CHECK enum status run_record_open(struct run_record *record, const char *output,
                                       const struct run_record_key *key, bool has_output,
                                       bool overwrite);

/* The run that begins keeps its store in this folder. */
MUST_CHECK enum status run_record_write(struct run_record *record, const struct run_record_key *key,
                                        const char *store);

/* Lets go of it. */
void run_record_close(struct run_record *record);
