/* What a Run message says, copied: the message dies with the next read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/plan/choice.h"
#include "proto/status.h"
#include "worker/block_port.h"
#include "worker/engine/device/trace.h"
#include "worker/engine/engine.h"

enum {
    COMMAND_NAME_BYTES = 128,
    COMMAND_STOP_IDS_MAX = SAMPLE_HELD_MAX,
    COMMAND_REFUSAL_BYTES = 512
};

struct command {
    uint64_t number;                     /* the run's */
    char request_id[COMMAND_NAME_BYTES]; /* for the log */
    enum status refused;                 /* OK, or why this rank cannot take it */
    char refusal[COMMAND_REFUSAL_BYTES]; /* the sentence to it */
    enum engine_kind kind;
    struct choice choice;
    int32_t *ids; /* [count], the command's own */
    int64_t count;
    int64_t *positions; /* [count], the command's own; NULL: none are given */
    int64_t max_tokens;
    int64_t min_tokens;
    struct sampling sampling; /* of the next two */
    int32_t bias_ids[SAMPLING_BIASES_MAX];
    float biases[SAMPLING_BIASES_MAX];
    int32_t stop_ids[COMMAND_STOP_IDS_MAX];
    int stop_count;
    char tenant[COMMAND_NAME_BYTES];
    bool reuse_prefix;
    bool logprobs;
    int likeliest;
    bool drafts;
    uint64_t goes_on_from; /* a run that stayed; 0: none */
    bool stays;
    int64_t deadline_ns; /* monotonic; 0: none */
    struct trace *trace; /* the command's own; NULL: not asked for, or no memory for it */
    /* The command's own, of one that saves or restores: whoever made it adds it. */
    struct block_port *port;
};

/* A command that this rank cannot take is copied too, with `refused`: the other ranks must hear of
 * it. INTERNAL for a message that no coordinator sends. */
MUST_CHECK enum status command_create(struct command **command,
                                      const Longhaul__Control__V1__Run *run);

/* NULL is accepted. */
void command_destroy(struct command *command);

/* As the engine takes it; a view of the command. */
struct engine_request command_request(const struct command *command);
