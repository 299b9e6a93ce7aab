/* The lines of batches: which run next, who has them, and their results.
 *
 * State        by
 * WAITING      store_batch_create, store_batch_add_lines; store_line_give_back; a lease's end; a
 *              start of the coordinator
 * RUNNING      store_line_lease
 * COMPLETED, FAILED, CANCELLED, EXPIRED
 *              store_line_commit; CANCELLED and EXPIRED also by the store, for lines that wait
 *
 * A lease is a line, its attempt and its epoch, which grows with every lease of the line. Only the
 * present epoch may commit: each line has one result, whatever was computed how often.
 */
#pragma once

#include "coordinator/batch/store_batch.h"

enum store_line_state {
    STORE_LINE_WAITING = 1,
    STORE_LINE_RUNNING = 2,
    STORE_LINE_COMPLETED = 3,
    STORE_LINE_FAILED = 4,
    STORE_LINE_CANCELLED = 5,
    STORE_LINE_EXPIRED = 6
};

/* Strings are borrowed during the call that shows it. */
struct store_line {
    int64_t batch;                               /* its number */
    int64_t line;                                /* from 1 */
    const char *batch_id, *custom_id, *document; /* document: an id; "" : none */
    enum store_line_state state;
    int priority;
    int64_t queued_tokens; /* store_new_line */
    const void *order_key;
    size_t order_key_bytes;
    int64_t attempt;       /* leases that count so far */
    int64_t epoch;         /* of the last lease */
    int64_t losses;        /* worker groups that were lost with it */
    const char *cause;     /* of the last give-back; "": none */
    int64_t offset, bytes; /* of its text in the batch's input */
    int64_t expires_us;    /* its batch's */
};

uint64_t store_line_digest(const void *text, size_t bytes);

typedef enum status store_line_take(void *context, const struct store_line *line);

/* Where a walk through the lines that wait goes on; all zero: at the first. */
struct store_line_place {
    bool after;
    int priority;
    int64_t batch, line;
    uint8_t order_key[256];
    size_t order_key_bytes;
};

/* A tenant's lines that wait, at most `count`: by priority, the highest first; then by batch, the
 * oldest first; in a batch by order key, then as they stand. Those of batches that are VALIDATING,
 * CANCELLING or expiring are left out. `place` is updated. */
MUST_CHECK enum status store_line_next(struct store *store, const char *tenant,
                                       struct store_line_place *place, int64_t count,
                                       store_line_take *take, void *context);

/* A batch's lines as they stand, from `first` on, whose state's bit is in `states` (1 << state). */
MUST_CHECK enum status store_line_list(struct store *store, const char *tenant, int64_t batch,
                                       unsigned states, int64_t first, int64_t count,
                                       store_line_take *take, void *context);

struct store_lease {
    int64_t batch, line;
    int64_t epoch;   /* out: of this lease */
    int64_t attempt; /* out: from 1 */
    bool granted;    /* out: it waited, and runs now */
};

/* Leases those of `count` lines of a tenant that wait still, until `lease_ms` from now (0: as long
 * as this process lives). */
MUST_CHECK enum status store_line_lease(struct store *store, const char *tenant,
                                        struct store_lease *leases, size_t count, int64_t lease_ms);

/* A line's text: `*text` is freed by the caller and ends in a zero byte that does not count.
 * DATA_LOSS with the line's name where it is damaged. */
MUST_CHECK enum status store_line_read_text(struct store *store, const char *tenant, int64_t batch,
                                            int64_t line, char **text, size_t *bytes);

struct store_result {
    int64_t batch, line, epoch;
    enum store_line_state state; /* COMPLETED, FAILED, CANCELLED or EXPIRED */
    int status_code;             /* as HTTP has it: 200, or the error's */
    const void *body;            /* the output line, without line feed */
    size_t body_bytes;
    struct store_usage usage; /* counted for COMPLETED lines */
};

/* Writes a line's one result. FAILED_PRECONDITION: the lease is not held any more; nothing is
 * written. Repeated with the same epoch it is OK and nothing is written twice. */
MUST_CHECK enum status store_line_commit(struct store *store, const char *tenant,
                                         const struct store_result *result);

enum store_give_back {
    STORE_GIVE_BACK_UNTRIED, /* it never ran, or was drained: the attempt does not count */
    STORE_GIVE_BACK_FAILED,  /* this attempt failed */
    STORE_GIVE_BACK_LOST     /* this attempt ended with its worker group */
};

/* The line waits again. FAILED_PRECONDITION: the lease is not held any more. */
MUST_CHECK enum status store_line_give_back(struct store *store, const char *tenant, int64_t batch,
                                            int64_t line, int64_t epoch, enum store_give_back how,
                                            const char *cause);

/* One result as it is told. Borrowed during the call. */
struct store_told_result {
    int64_t line;
    const char *custom_id; /* "": it has none */
    enum store_line_state state;
    int status_code;  /* 0: the store ended the line, there is no body */
    const char *body; /* with a zero byte behind it that does not count */
    size_t body_bytes;
    int64_t cursor;      /* a walk goes on after it */
    enum status damaged; /* OK, or DATA_LOSS: no body; `complaint` names what is damaged */
    const char *complaint;
};

typedef enum status store_result_take(void *context, const struct store_told_result *result);

struct store_result_walk {
    const char *tenant;
    int64_t batch;
    bool input_order; /* as lines stand, up to the first that has not ended; else as they ended */
    int64_t after;    /* a cursor; 0: from the first. Updated */
    int64_t count;    /* at most so many */
    int64_t bytes;    /* ends with the result that reaches it; 0: no limit */
    bool complete;    /* out: the batch has ended and nothing comes after */
};

/* Lines that the store ended itself (cancelled or expired before they ran) are told last in the
 * order of ends, once the batch has ended. */
MUST_CHECK enum status store_line_results(struct store *store, struct store_result_walk *walk,
                                          store_result_take *take, void *context);
