/* The ranks of a loopback group, each a thread of this process. */
#pragma once

#include "proto/status.h"
#include "worker/engine/transport/transport.h"

enum { RANK_THREADS_MAX = 128 };

/* Plays one rank to its end. Takes the transport. */
typedef enum status rank_threads_play(struct transport *transport, void *context);

/* Plays every rank and waits for all of them. Takes the transports [ranks], a whole group. The
 * first rank that failed speaks for all: the others failed because of it. RESOURCE_EXHAUSTED where
 * a thread cannot be started: the group is aborted then, and those that were started end by it. */
MUST_CHECK enum status rank_threads_run(struct transport *const transports[], int ranks,
                                        rank_threads_play *play, void *context);
