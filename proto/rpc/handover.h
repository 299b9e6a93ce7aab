/* Tells the thread sanitizer of what one thread hands to another through gRPC. gRPC is not
 * instrumented: the locks of its queues order the two threads, but the sanitizer does not see them.
 * In any other build these functions are empty. */
#pragma once

#ifdef __has_feature /* clang's way to tell; gcc defines the macro below */
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_THREAD__

#include <sanitizer/tsan_interface.h>

/* Before an operation with this tag goes to gRPC: what this thread has written goes with it. */
static inline void handover_give(void *tag)
{
    __tsan_release(tag);
}

/* After the tag has come back, on the thread that it has come back to. */
static inline void handover_take(void *tag)
{
    __tsan_acquire(tag);
}

#else

static inline void handover_give(void *tag)
{
    (void)tag;
}

static inline void handover_take(void *tag)
{
    (void)tag;
}

#endif
