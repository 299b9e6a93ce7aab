/* Owns the threads that run jobs. Promises that no job waits for another, brief ones apart, and
 * that a thread ends when there was nothing for it to do for REST_MS. */
#include "proto/rpc/rpc_threads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

enum {
    REST_MS = 10000,
    BRIEF_MAX = 4,   /* threads that run brief jobs at a time */
    BRIEF_AHEAD = 8, /* brief jobs that wait for each of them before there is one more */
};

struct kept_thread {
    struct rpc_threads *threads;
    struct kept_thread *below; /* in threads->resting */
    pthread_mutex_t lock;      /* of the job: whoever gives one holds nothing else */
    pthread_cond_t come;
    struct rpc_job *job;
    bool ending;
};

/* A job that runs brief ones until there are none. */
struct brief_runner {
    struct rpc_job job;
    struct rpc_threads *threads;
    bool runs;
};

struct rpc_threads {
    pthread_mutex_t lock;
    pthread_cond_t fewer;
    struct kept_thread *resting; /* the one that rests shortest first */
    int count;
    bool ending;
    struct brief_runner runners[BRIEF_MAX];
    int runners_count; /* that run */
    struct rpc_job *brief, **brief_end;
    int brief_count; /* that wait */
};

/* Waits for a job until `until_ns`; NULL: none came, or the end. */
static struct rpc_job *wait_for_job(struct kept_thread *thread, int64_t until_ns)
{
    pthread_mutex_lock(&thread->lock);
    while (!thread->job && !thread->ending && clock_wait(&thread->come, &thread->lock, until_ns))
        ;
    struct rpc_job *job = thread->job;
    thread->job = NULL;
    pthread_mutex_unlock(&thread->lock);
    return job;
}

/* False where somebody has taken the thread: its job is on its way. */
static bool stop_resting(struct kept_thread *thread)
{
    struct rpc_threads *threads = thread->threads;
    pthread_mutex_lock(&threads->lock);
    struct kept_thread **at = &threads->resting;
    while (*at && *at != thread)
        at = &(*at)->below;
    const bool rested = *at != NULL;
    if (rested)
        *at = thread->below;
    pthread_mutex_unlock(&threads->lock);
    return rested;
}

/* The next job; NULL when there is none for long, or the end. */
static struct rpc_job *rest(struct kept_thread *thread)
{
    struct rpc_threads *threads = thread->threads;
    pthread_mutex_lock(&threads->lock);
    const bool ending = threads->ending;
    if (!ending) {
        thread->below = threads->resting;
        threads->resting = thread;
    }
    pthread_mutex_unlock(&threads->lock);
    if (ending)
        return NULL;
    struct rpc_job *job = wait_for_job(thread, clock_after_ms(REST_MS));
    if (job || stop_resting(thread))
        return job;
    return wait_for_job(thread, CLOCK_NEVER_NS);
}

static void thread_free(struct kept_thread *thread)
{
    pthread_cond_destroy(&thread->come);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

static void *run_jobs(void *argument)
{
    struct kept_thread *thread = argument;
    struct rpc_threads *threads = thread->threads;
    for (struct rpc_job *job = thread->job; job; job = rest(thread)) {
        thread->job = NULL;
        job->run(job);
    }
    thread_free(thread);
    pthread_mutex_lock(&threads->lock);
    threads->count--;
    pthread_cond_signal(&threads->fewer);
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

static enum status start_thread(struct rpc_threads *threads, struct rpc_job *job)
{
    struct kept_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a thread");
    thread->threads = threads;
    thread->job = job;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_cond_init(&thread->come, NULL);
    pthread_mutex_lock(&threads->lock);
    threads->count++;
    pthread_mutex_unlock(&threads->lock);
    pthread_t started;
    const int error = pthread_create(&started, NULL, run_jobs, thread);
    if (!error) {
        pthread_detach(started);
        return STATUS_OK;
    }
    pthread_mutex_lock(&threads->lock);
    threads->count--;
    pthread_mutex_unlock(&threads->lock);
    thread_free(thread);
    return fail(STATUS_RESOURCE_EXHAUSTED, "start a thread for a call: %s", strerror(error));
}

static struct rpc_job *take_brief(struct rpc_threads *threads, struct brief_runner *runner)
{
    pthread_mutex_lock(&threads->lock);
    struct rpc_job *job = threads->brief;
    if (job) {
        threads->brief = job->next;
        threads->brief_count--;
    } else {
        runner->runs = false;
        threads->runners_count--;
    }
    if (!threads->brief)
        threads->brief_end = &threads->brief;
    pthread_mutex_unlock(&threads->lock);
    return job;
}

static void run_brief(struct rpc_job *job)
{
    struct brief_runner *runner = (struct brief_runner *)job;
    struct rpc_threads *threads = runner->threads;
    for (struct rpc_job *next; (next = take_brief(threads, runner));)
        next->run(next);
}

enum status rpc_threads_create(struct rpc_threads **threads)
{
    struct rpc_threads *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for threads");
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->fewer, NULL);
    made->brief_end = &made->brief;
    for (int i = 0; i < BRIEF_MAX; i++)
        made->runners[i] = (struct brief_runner){.job = {.run = run_brief}, .threads = made};
    *threads = made;
    return STATUS_OK;
}

/* Under no lock but the thread's own. */
static void wake(struct kept_thread *thread, struct rpc_job *job, bool ending)
{
    pthread_mutex_lock(&thread->lock);
    thread->job = job;
    thread->ending = ending;
    pthread_cond_signal(&thread->come);
    pthread_mutex_unlock(&thread->lock);
}

enum status rpc_threads_run(struct rpc_threads *threads, struct rpc_job *job)
{
    pthread_mutex_lock(&threads->lock);
    struct kept_thread *thread = threads->resting;
    if (thread)
        threads->resting = thread->below;
    pthread_mutex_unlock(&threads->lock);
    if (!thread)
        return start_thread(threads, job);
    wake(thread, job, false);
    return STATUS_OK;
}

/* One more runner, if those that run have enough to do. Under the lock. */
static struct brief_runner *want_runner(struct rpc_threads *threads)
{
    if (threads->runners_count == BRIEF_MAX ||
        threads->brief_count <= threads->runners_count * BRIEF_AHEAD)
        return NULL;
    struct brief_runner *runner = threads->runners;
    while (runner->runs)
        runner++;
    runner->runs = true;
    threads->runners_count++;
    return runner;
}

/* Without a thread for the runner: whether the job still waits and nobody else will run it; then it
 * does not wait any more. Only whoever adds jobs calls this, one at a time. */
static bool give_up_runner(struct rpc_threads *threads, struct brief_runner *runner)
{
    pthread_mutex_lock(&threads->lock);
    runner->runs = false;
    const bool alone = --threads->runners_count == 0 && threads->brief;
    if (alone) {
        threads->brief = NULL;
        threads->brief_end = &threads->brief;
        threads->brief_count = 0;
    }
    pthread_mutex_unlock(&threads->lock);
    return alone;
}

enum status rpc_threads_run_brief(struct rpc_threads *threads, struct rpc_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&threads->lock);
    *threads->brief_end = job;
    threads->brief_end = &job->next;
    threads->brief_count++;
    struct brief_runner *runner = want_runner(threads);
    pthread_mutex_unlock(&threads->lock);
    if (!runner)
        return STATUS_OK;
    const enum status status = rpc_threads_run(threads, &runner->job);
    return status != STATUS_OK && give_up_runner(threads, runner) ? status : STATUS_OK;
}

void rpc_threads_destroy(struct rpc_threads *threads)
{
    if (!threads)
        return;
    pthread_mutex_lock(&threads->lock);
    threads->ending = true;
    for (struct kept_thread *thread; (thread = threads->resting);) {
        threads->resting = thread->below;
        pthread_mutex_unlock(&threads->lock);
        wake(thread, NULL, true);
        pthread_mutex_lock(&threads->lock);
    }
    while (threads->count > 0)
        (void)clock_wait(&threads->fewer, &threads->lock, CLOCK_NEVER_NS);
    pthread_mutex_unlock(&threads->lock);
    pthread_cond_destroy(&threads->fewer);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}
