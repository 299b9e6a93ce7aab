/* Runs one function as every rank of a group, and lets the ranks judge together.
 *
 * A rank function returns a status. With expect_on_all_ranks every rank learns that one of them saw
 * a condition fail, so all leave at the same place and none hangs; a function that returns a
 * failure aborts its transport. cmocka's asserts jump, and may only be used by the thread that runs
 * the test. */
#pragma once

#include "worker/engine/transport/transport.h"

#include <stdbool.h>

typedef enum status ranks_function(struct transport *t, void *context);

/* Plays `size` loopback ranks as threads. `contexts[rank]` is handed to each; NULL hands NULL.
 * Returns the first failed rank's status and says every failure on standard error. `options` may be
 * NULL. */
MUST_CHECK enum status ranks_run(int size, const struct transport_options *options,
                                 ranks_function *function, void *const contexts[]);

/* What a rank sets up around its function: `open` may put another transport in the place of its
 * own, which then owns it, and `close` comes after that one's end. Both get the rank's context. */
struct ranks_setting {
    enum status (*open)(struct transport **t, void *context);
    void (*close)(void *context);
};

/* The same in a setting, which may be NULL. */
MUST_CHECK enum status ranks_run_in(int size, const struct transport_options *options,
                                    const struct ranks_setting *setting, ranks_function *function,
                                    void *const contexts[]);

/* All ranks call it at the same place. Leaves the counters as they were. */
#define expect_on_all_ranks(t, condition)                                                          \
    TRY(ranks_agree((t), (condition), #condition, __FILE__, __LINE__))

/* For places where ranks cannot talk: after an abort, or in code of one rank. */
#define expect_on_rank(t, condition)                                                               \
    TRY(ranks_hold((t), (condition), #condition, __FILE__, __LINE__))

MUST_CHECK enum status ranks_agree(struct transport *t, bool holds, const char *condition,
                                   const char *file, int line);
MUST_CHECK enum status ranks_hold(const struct transport *t, bool holds, const char *condition,
                                  const char *file, int line);
