/* Batches in the store: their making, their input, their states and their end.
 *
 * State            by
 * UPLOADING        store_batch_create without lines
 * VALIDATING       store_batch_seal
 * QUEUED           store_batch_create with lines; store_batch_queue
 * RUNNING          the first lease of a line
 * SUCCEEDED        the last result
 * FAILED           store_batch_fail
 * CANCELLING       store_batch_cancel; the store then ends the lines that wait, a part at a time
 * CANCELLED        ... and the last of those that ran has ended
 * EXPIRED          its time passed: `expiring` first, while lines still run
 *
 * A batch that has ended is forgotten by itself `retention_seconds` later.
 */
#pragma once

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_writer.h"

/* The numbers of longhaul.v1.BatchState. */
enum store_batch_state {
    STORE_BATCH_UPLOADING = 1,
    STORE_BATCH_VALIDATING = 2,
    STORE_BATCH_QUEUED = 3,
    STORE_BATCH_RUNNING = 4,
    STORE_BATCH_FINALIZING = 5, /* the store itself has no use for it */
    STORE_BATCH_SUCCEEDED = 6,
    STORE_BATCH_FAILED = 7,
    STORE_BATCH_EXPIRED = 8,
    STORE_BATCH_CANCELLING = 9,
    STORE_BATCH_CANCELLED = 10
};

enum {
    STORE_ENDPOINT_BYTES = 64,
    STORE_METADATA_BYTES = 16 * 1024,
    STORE_ERROR_BYTES = 4096,
    STORE_LINES_MAX = (1 << 24) - 1 /* of one batch */
};

struct store_counts {
    int64_t total, completed, failed, cancelled, expired, running;
};

struct store_usage {
    int64_t prompt_tokens, cached_tokens, prefilled_tokens, completion_tokens;
};

struct store_batch {
    int64_t number; /* the store's own name for it: no two batches ever have the same */
    char id[STORE_ID_BYTES];
    char endpoint[STORE_ENDPOINT_BYTES];
    char retry_of[STORE_ID_BYTES]; /* an id; "": none */
    int order;                     /* the caller's numbers: kept, not read */
    int priority;                  /* [-100, 100] */
    enum store_batch_state state;
    bool expiring; /* its time has passed: lines that still run are to be stopped */
    struct store_counts counts;
    struct store_usage usage; /* of completed lines */
    int64_t committed_bytes;
    int64_t retention_seconds;
    int64_t created_us, started_us, ended_us, expires_us; /* 0: not yet */
    uint8_t *metadata;                                    /* the caller's bytes: kept, not read */
    size_t metadata_bytes;
    char *error; /* NULL: none */
};

/* Frees what it holds; the struct is the caller's. */
void store_batch_clear(struct store_batch *batch);

/* One line of a batch's input. Borrowed by the calls that take it. */
struct store_new_line {
    const char *custom_id;  /* no other line of its batch has it; NULL: it has none */
    int64_t offset, bytes;  /* of its text in the batch's input, without line feed */
    uint64_t digest;        /* XXH3 of 64 bits of that text; store_line_digest */
    int64_t queued_tokens;  /* that it waits with: its prompt's, and its longest answers' */
    const void *order_key;  /* lines run in memcmp's order of it: that of the prefixes they share */
    size_t order_key_bytes; /* at most 256 */
    const char *document;   /* the id of a document that the batch then holds; NULL: none */
    int failed_code;        /* not 0: the line is wrong and FAILED at once, with this and */
    const void *failed_body; /* ... its output line */
    size_t failed_body_bytes;
};

struct store_batch_args {
    const char *tenant;
    const struct store_request *request; /* NULL: not to be repeated */
    const struct store_limits *limits;   /* NULL: none */
    const char *id;                      /* NULL or "": the store's choice. ALREADY_EXISTS */
    const char *endpoint;
    const char *retry_of;
    int order, priority;
    int64_t expires_after_seconds, retention_seconds;
    const void *metadata;
    size_t metadata_bytes;
    const void *input; /* all of it, or NULL: it is uploaded */
    size_t input_bytes;
    /* Of the input; with `input` and NULL the batch is VALIDATING, else QUEUED. Without any line it
     * has SUCCEEDED. */
    const struct store_new_line *lines;
    size_t lines_count;
    const char *error; /* with `input`: why it is FAILED from the beginning, and has no lines */
};

/* What store_batch_create and its like say besides their status. */
struct store_batch_answer {
    struct store_batch batch; /* to be cleared */
    bool repeated;            /* the answer of an earlier call with this request id */
};

/* A batch that is made while nobody waits. */
struct store_batch_creation {
    struct store_batch_args args; /* what it borrows lives until `ended` */
    /* Called once, as store_change says; the creation may be freed in it. */
    void (*ended)(struct store_batch_creation *creation, enum status status);
    struct store_batch_answer answer; /* with OK */
    struct store_change change;       /* the store's own, as the next */
    char id[STORE_ID_BYTES];
};

void store_batch_create_later(struct store *store, struct store_batch_creation *creation);

/* The same, waited for. INVALID_ARGUMENT: two lines with one custom_id (both named).
 * RESOURCE_EXHAUSTED: the limits. */
MUST_CHECK enum status store_batch_create(struct store *store, struct store_batch_answer *answer,
                                          const struct store_batch_args *args);

/* By id. NOT_FOUND. */
MUST_CHECK enum status store_batch_get(struct store *store, struct store_batch *batch,
                                       const char *tenant, const char *id);

/* The answer of an earlier call with this request id. NOT_FOUND: there is none. */
MUST_CHECK enum status store_batch_repeated(struct store *store, struct store_batch_answer *answer,
                                            const char *tenant,
                                            const struct store_request *request);

/* The batch is borrowed during the call; anything but OK ends the walk, which returns it. */
typedef enum status store_batch_take(void *context, const struct store_batch *batch);

/* The newest first, those with numbers below `before` (0: all); `state` 0: any. `take` says when it
 * has enough: at most `count` are told. */
MUST_CHECK enum status store_batch_list(struct store *store, const char *tenant, int state,
                                        int64_t before, int64_t count, store_batch_take *take,
                                        void *context);

/* Every tenant's batches in one state, the oldest first, with their tenant: what a coordinator that
 * comes back goes on with (VALIDATING), and what is to be stopped (CANCELLING, expiring). */
struct store_any_batch {
    const char *tenant;
    const struct store_batch *batch;
};
typedef enum status store_any_batch_take(void *context, const struct store_any_batch *any);
MUST_CHECK enum status store_batch_each(struct store *store, enum store_batch_state state,
                                        int64_t after, int64_t count, store_any_batch_take *take,
                                        void *context);

/* Adds input from `offset` on; `*committed_bytes` is what is on disk then. What is there already
 * must be the same bytes (INVALID_ARGUMENT). OUT_OF_RANGE: beyond what is there, which is named.
 * FAILED_PRECONDITION: it takes no input. */
MUST_CHECK enum status store_batch_append(struct store *store, int64_t *committed_bytes,
                                          const char *tenant, const char *id, int64_t offset,
                                          const void *input, size_t bytes,
                                          const struct store_limits *limits);

/* Its input is whole: UPLOADING becomes VALIDATING; VALIDATING and later stay. */
MUST_CHECK enum status store_batch_seal(struct store *store, const char *tenant, const char *id);

/* A piece of its input, at most `bytes`, digests checked; `*read` less than asked: the end. Needs
 * no more memory than one chunk. */
MUST_CHECK enum status store_batch_read_input(struct store *store, const char *tenant,
                                              int64_t number, int64_t offset, void *buffer,
                                              size_t bytes, size_t *read);

/* Adds lines to a VALIDATING batch, numbered on from `first_line` (from 1), which must be the
 * next one: after a crash store_batch_get's counts.total says how many are there. None runs
 * before store_batch_queue. INVALID_ARGUMENT: a custom_id that an earlier line has (both lines
 * named), or a document that is not there; then none of these is added. */
MUST_CHECK enum status store_batch_add_lines(struct store *store, const char *tenant,
                                             int64_t number, int64_t first_line,
                                             const struct store_new_line *lines, size_t count,
                                             const struct store_limits *limits);

/* VALIDATING becomes QUEUED: its lines may run. Without any line it becomes SUCCEEDED. `endpoint`
 * NULL: as it is. */
MUST_CHECK enum status store_batch_queue(struct store *store, const char *tenant, int64_t number,
                                         const char *endpoint);

/* UPLOADING or VALIDATING becomes FAILED, with its reason for people; its lines are forgotten. */
MUST_CHECK enum status store_batch_fail(struct store *store, const char *tenant, int64_t number,
                                        const char *error);

/* FAILED_PRECONDITION: it has ended. One that is CANCELLING stays so. */
MUST_CHECK enum status store_batch_cancel(struct store *store, struct store_batch_answer *answer,
                                          const char *tenant, const char *id,
                                          const struct store_request *request);

/* Forgets one that has ended. FAILED_PRECONDITION: it has not. */
MUST_CHECK enum status store_batch_delete(struct store *store, const char *tenant, const char *id,
                                          const struct store_request *request);
