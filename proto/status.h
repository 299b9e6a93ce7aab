/* How a function says that it failed. A code for programs, a sentence for people.
 *
 * The sentence is worded once, where the failure is detected, by fail(); callers hand the code on
 * with TRY. It is kept for the calling thread until that thread's next fail(). A thread that waits
 * for another one carries the sentence over with status_message() and fail().
 */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))

/* The numbers are gRPC's, so that an error crosses the wire as it is. */
enum status {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,           /* the caller asked to stop */
    STATUS_INVALID_ARGUMENT = 3,    /* a request, flag or file content that can never work */
    STATUS_DEADLINE_EXCEEDED = 4,   /* the request's own deadline passed */
    STATUS_NOT_FOUND = 5,           /* a named file or thing does not exist */
    STATUS_ALREADY_EXISTS = 6,      /* a thing of this name is there */
    STATUS_PERMISSION_DENIED = 7,   /* the caller is known, and may not */
    STATUS_RESOURCE_EXHAUSTED = 8,  /* memory or queue, for now: asking again may help */
    STATUS_FAILED_PRECONDITION = 9, /* an installation or a set-up that must be changed first */
    STATUS_OUT_OF_RANGE = 11,    /* longer or larger than what is there; asking again is no use */
    STATUS_UNIMPLEMENTED = 12,   /* known by name, not supported */
    STATUS_INTERNAL = 13,        /* a broken promise of our own */
    STATUS_UNAVAILABLE = 14,     /* a peer, a worker group or a port; a retry may help */
    STATUS_DATA_LOSS = 15,       /* a file or message damaged beyond its format's rules */
    STATUS_UNAUTHENTICATED = 16, /* the caller did not show who it is */
    STATUS_IO = 100,             /* the operating system said no */
};

/* The name as gRPC spells it, for example "INVALID_ARGUMENT"; "IO" for STATUS_IO. Never NULL. */
const char *status_name(enum status status);

/* Records the sentence for this thread and returns `status`. The sentence says what, where and what
 * to do, in one line: what an argument from a file or a peer must not do to a terminal is masked
 * (proto/printable.h). */
__attribute__((format(printf, 2, 3))) MUST_CHECK enum status fail(enum status status,
                                                                  const char *format, ...);

/* The sentence of this thread's last fail(); "" before the first. Borrowed until the next
 * fail(). */
const char *status_message(void);

/* The exit code of a program that ends with `status` (docs/operating.md, "Exit codes"). */
int status_exit_code(enum status status);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

/* For functions that unwind: needs an `enum status status` in scope, which it sets before the
 * jump. */
#define TRY_ELSE(call, label)                                                                      \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != STATUS_OK)                                                                   \
            goto label;                                                                            \
    } while (0)
