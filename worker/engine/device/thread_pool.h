/* The threads of one rank's CPU work: started once, handed one job at a time.
 *
 * A job is `items` calls of one function. Items are handed out in ascending order to whoever is
 * free, so callers put the dearest first. The calling thread is thread 0 and works too.
 * thread_pool_run returns when every item handed out is finished; it does not wait for a thread
 * that got none. Between jobs the threads spin shortly, then yield, then sleep.
 */
#pragma once

#include "proto/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thread_pool;

typedef void thread_pool_work(void *context, int thread, size_t item);
typedef void thread_pool_between(void *context);

/* `threads` counts the caller. processing_units[thread] is the CPU that a thread is pinned to
 * (binding.h), -1 for unpinned; the caller is pinned too. NULL: none is pinned. `cores_short`:
 * others want the threads' cores too, so that those which wait leave them at once. */
MUST_CHECK enum status thread_pool_create(struct thread_pool **pool, int threads,
                                          const int *processing_units, bool cores_short);

/* Accepts NULL. No job may be running. */
void thread_pool_destroy(struct thread_pool *pool);

/* The caller counted. */
int thread_pool_threads(const struct thread_pool *pool);

/* Runs one job; only the creating thread calls it. `between`, unless NULL, is called on the calling
 * thread after each item that it finishes, and over and over while it waits for the others: it
 * drives the transport. Returns whether all items ran, false after thread_pool_skip. */
bool thread_pool_run(struct thread_pool *pool, size_t items, thread_pool_work *work,
                     thread_pool_between *between, void *context);

/* Hands out no more items of the running job; those begun are finished. From any thread, an item or
 * `between`. */
void thread_pool_skip(struct thread_pool *pool);

/* Monotonic ns at which an item was last finished, by any thread; the present time if no job is
 * running. For the health of the rank; from any thread. */
int64_t thread_pool_last_active_ns(const struct thread_pool *pool);
