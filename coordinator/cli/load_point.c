/* Owns the requests of one load and the threads that send them. Promises that a request that could
 * not be sent in time counts from when it was to be sent, and that all threads have ended on
 * return. */
#include "coordinator/cli/load_point.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/bench/draws.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/measured_request.h"
#include "proto/clock.h"

enum {
    STACK_BYTES = 512 << 10,
    LOOK_NS = 200000000,  /* at interrupts, while waiting */
    BEGIN_NS = 100000000, /* until which all threads are there */
};

/* ---- requests ---- */

/* A seed of its own for each point and purpose. */
static struct draws draws_of(uint64_t seed, uint64_t number, uint64_t purpose)
{
    struct draws mixed = {seed + number * 0x100000001b3u + purpose};
    return (struct draws){draws_bits(&mixed)};
}

static int64_t draw_one(struct draws *draws, const struct number_list *list)
{
    return list->values[draws_bits(draws) % list->count];
}

enum { PURPOSE_LENGTHS = 1, PURPOSE_TIMES, PURPOSE_TEXTS };

static enum status make_text(char **text, const struct load_settings *settings,
                             const struct sized_prompt_words *words, int64_t tokens, uint64_t seed)
{
    const struct sized_prompt_args args = {
        .tokens = tokens,
        .shared_tokens = (int64_t)floor((double)tokens * settings->shared),
        .shared_seed = settings->seed,
        .seed = seed,
    };
    return sized_prompt_make(text, words, &args);
}

enum status load_point_prepare(struct load_point *point, const struct load_settings *settings,
                               const struct sized_prompt_words *words, uint64_t number)
{
    struct draws lengths = draws_of(settings->seed, number, PURPOSE_LENGTHS);
    struct draws times = draws_of(settings->seed, number, PURPOSE_TIMES);
    struct draws texts = draws_of(settings->seed, number, PURPOSE_TEXTS);
    double seconds = 0;
    point->requests = calloc(point->count + 1, sizeof *point->requests);
    point->records = calloc(point->count, sizeof *point->records);
    if (!point->requests || !point->records)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu requests", point->count);
    point->watch.unknown = settings->foreign;
    for (size_t i = 0; i <= point->count; i++) {
        struct load_request *request = &point->requests[i];
        if (interrupt_count() > 0)
            return fail(STATUS_CANCELLED, "interrupted");
        console_progress("prompt %zu of %zu", i, point->count);
        request->prompt_tokens = draw_one(&lengths, &settings->prompts);
        request->answer_tokens = draw_one(&lengths, &settings->answers);
        request->offset_ns = (int64_t)(seconds * 1e9);
        if (point->concurrency == 0)
            seconds += draws_wait(&times, point->rate);
        TRY(make_text(&request->text, settings, words, request->prompt_tokens, draws_bits(&texts)));
    }
    return STATUS_OK;
}

void load_point_deinit(struct load_point *point)
{
    for (size_t i = 0; point->requests && i <= point->count; i++)
        free(point->requests[i].text);
    for (size_t i = 0; point->records && i < point->count; i++)
        free(point->records[i].arrivals);
    free(point->requests);
    free(point->records);
    serving_metrics_deinit(&point->metrics);
}

/* ---- sending ---- */

struct sending {
    struct load_point *point;
    const struct load_settings *settings;
    struct rpc_client *client;
    int64_t begin_ns;
    atomic_size_t next, done;
};

static struct measured_request_args args_of(const struct sending *sending,
                                            const struct load_request *request)
{
    return (struct measured_request_args){
        .client = sending->client,
        .text = request->text,
        .prompt_tokens = request->prompt_tokens,
        .max_tokens = request->answer_tokens,
        .method = sending->settings->method,
        .stage_tokens = sending->settings->stage_tokens,
        .draft = sending->settings->draft,
        .timeout_ms = sending->settings->timeout_ms,
        .once = true,
    };
}

static enum status keep_answer(struct serving_record *record,
                               const struct measured_request *request)
{
    record->arrivals = calloc(request->arrival_count + 1, sizeof *record->arrivals);
    if (!record->arrivals)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the times of tokens");
    record->arrival_count = request->arrival_count;
    for (size_t i = 0; i < request->arrival_count; i++)
        record->arrivals[i] = request->arrivals[i].ns;
    record->end_ns = request->end_ns;
    record->output_tokens = request->answer_tokens;
    record->cached_tokens = request->finished->usage->cached_tokens;
    record->completed = true;
    return STATUS_OK;
}

static void send_one(struct sending *sending, size_t number, int64_t intended_ns)
{
    struct serving_record *record = &sending->point->records[number];
    struct measured_request request;
    const struct measured_request_args args = args_of(sending, &sending->point->requests[number]);
    record->input_tokens = args.prompt_tokens;
    record->sent_ns = clock_now_ns();
    record->intended_ns = intended_ns ? intended_ns : record->sent_ns;
    enum status status = measured_request_run(&request, &args);
    if (status == STATUS_OK)
        status = keep_answer(record, &request);
    if (status != STATUS_OK) {
        record->end_ns = clock_now_ns();
        snprintf(record->error, sizeof record->error, "%s: %.120s", status_name(status),
                 status_message());
    }
    measured_request_deinit(&request);
    atomic_fetch_add(&sending->done, 1);
}

/* False after an interrupt. */
static bool wait_until(int64_t ns)
{
    while (interrupt_count() == 0) {
        const int64_t now_ns = clock_now_ns();
        if (now_ns >= ns)
            return true;
        const int64_t until_ns = ns - now_ns < LOOK_NS ? ns : now_ns + LOOK_NS;
        const struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    return false;
}

/* A client: takes the next request, as long as there are some. */
static void *send_next(void *argument)
{
    struct sending *sending = argument;
    const bool open = sending->point->concurrency == 0;
    if (!wait_until(sending->begin_ns))
        return NULL;
    for (;;) {
        const size_t number = atomic_fetch_add(&sending->next, 1);
        if (number >= sending->point->count)
            return NULL;
        const int64_t at_ns = sending->begin_ns + sending->point->requests[number].offset_ns;
        if (!wait_until(open ? at_ns : 0))
            return NULL;
        send_one(sending, number, open ? at_ns : 0);
    }
}

/* How many clients there are: of an open load as many as can be under way. */
static size_t clients_of(const struct load_point *point)
{
    const size_t wanted = point->concurrency ? (size_t)point->concurrency : LOAD_POINT_CLIENTS_MOST;
    return wanted < point->count ? wanted : point->count;
}

static enum status send_all(struct sending *sending)
{
    pthread_t clients[LOAD_POINT_CLIENTS_MOST];
    const size_t wanted = clients_of(sending->point);
    size_t started = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sending->begin_ns = clock_now_ns() + BEGIN_NS;
    while (started < wanted &&
           pthread_create(&clients[started], &attributes, send_next, sending) == 0)
        started++;
    pthread_attr_destroy(&attributes);
    if (started < wanted) /* nobody is left to take one */
        atomic_store(&sending->next, sending->point->count);
    while (started == wanted && atomic_load(&sending->done) < sending->point->count &&
           wait_until(clock_now_ns() + LOOK_NS))
        console_progress("%zu of %zu requests", atomic_load(&sending->done), sending->point->count);
    for (size_t i = 0; i < started; i++)
        pthread_join(clients[i], NULL);
    if (started < wanted)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no threads for %zu clients at once", wanted);
    return interrupt_count() > 0 ? fail(STATUS_CANCELLED, "interrupted") : STATUS_OK;
}

/* A prompt of its own, with the beginning that all share. */
static enum status warm_up(struct sending *sending)
{
    struct measured_request request;
    const struct load_point *point = sending->point;
    const struct measured_request_args args = args_of(sending, &point->requests[point->count]);
    const enum status status = measured_request_run(&request, &args);
    measured_request_deinit(&request);
    return status;
}

enum status load_point_run(struct load_point *point, const struct load_settings *settings,
                           struct rpc_client *client)
{
    struct sending sending = {.point = point, .settings = settings, .client = client};
    TRY(warm_up(&sending));
    busy_watch_begin(&point->watch);
    const enum status status = send_all(&sending);
    busy_watch_end(&point->watch);
    TRY(status);
    return serving_metrics_make(&point->metrics, point->records, point->count, &settings->goals);
}
