/* What a process counts of its own work, for Prometheus: counters, gauges and histograms, written
 * as text. Like the log, there is one registry a process.
 *
 * A family is a static variable beside the code that counts. It is told of at once, with its zeros,
 * when it is offered; a call that counts costs a lock that is hardly ever held and a short search
 * among the family's series. What is known elsewhere (what groups there are, how old a heartbeat
 * is) is asked for by a collector when it is written.
 *
 *   static struct metrics_family refusals = {
 *       .name = "longhaul_requests_refused", .help = "Requests that were refused, by reason.",
 *       .type = METRICS_COUNTER, .labels = {"reason"}};
 *   metrics_offer(&refusals);
 *   metrics_add(&refusals, 1, "QUEUE_FULL");
 *
 * Names begin with longhaul_ (process_ for what every process tells), have base units last
 * (seconds, bytes, tokens, ratio), and no _total: that is added where a counter is written. A
 * label's value is one of a few words of ours, never a text of a client: no tenant, no name, no
 * address. So nobody who reads metrics learns of another's requests more than their number.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "proto/status.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* Series beyond so many are counted together, with "other" for each label. */
enum { METRICS_LABELS_MAX = 2, METRICS_BUCKETS_MAX = 24, METRICS_SERIES_MAX = 1024 };

struct metrics_series;

/* Zero but for the first members; used from any thread, for as long as the process lives. */
struct metrics_family {
    const char *name;
    const char *help; /* a sentence */
    enum metrics_type type;
    const char *labels[METRICS_LABELS_MAX]; /* their names; NULL: none */
    /* The words that the first label may have, with a NULL behind them, where each should be told
     * of from the start; NULL: a series is told of once it has counted. One label only. */
    const char *const *words;
    /* Of a histogram: upper bounds, ascending, without +Inf; ended by 0, which no bound is. */
    const double *bounds;

    /* The registry's own. */
    struct metrics_family *next;
    bool offered;
    pthread_mutex_t lock; /* of the series; zero is PTHREAD_MUTEX_INITIALIZER */
    struct metrics_series *series;
    int series_count;
};

/* Bounds in seconds, from 1 ms to an hour, and in tokens, from 1 to 4^12. */
extern const double metrics_seconds[];
extern const double metrics_tokens[];

/* The family is part of what is written from now on. Any number of times. A family whose name or
 * bounds break the rules above is a bug, and asserted. */
void metrics_offer(struct metrics_family *family);

/* `values` are those of the labels, as many as the family has. None of these calls fails: without
 * memory for a new series, nothing is counted. The macros take the values as arguments instead:
 * metrics_add(&family, 1, "QUEUE_FULL"), metrics_add(&family, 1). */

/* Of a counter, `by` 0 or more, or a gauge. */
void metrics_add(struct metrics_family *family, double by, const char *const values[]);
/* Of a histogram. */
void metrics_observe(struct metrics_family *family, double value, const char *const values[]);

#define METRICS_VALUES(...) ((const char *const[METRICS_LABELS_MAX + 1]){__VA_ARGS__})
#define metrics_add(family, by, ...) metrics_add(family, by, METRICS_VALUES(__VA_ARGS__))
#define metrics_observe(family, value, ...)                                                        \
    metrics_observe(family, value, METRICS_VALUES(__VA_ARGS__))

/* For tests: a counter's or a gauge's value, a histogram's number of observations; 0 where there is
 * no such series. */
double metrics_value(struct metrics_family *family, const char *const values[]);

/* ---- what is asked for when it is written ---- */

struct metrics_writer;

/* Tells what it knows: a family's head, then its samples, then the next family. On the thread that
 * writes; it may not wait long, nor offer, add or remove anything. */
typedef void metrics_collect(struct metrics_writer *writer, void *context);

struct metrics_collector {
    metrics_collect *collect;
    void *context;
    struct metrics_collector *next; /* the registry's own */
};

/* Borrows it until metrics_collector_remove, after which it is not called any more. */
void metrics_collector_add(struct metrics_collector *collector);
void metrics_collector_remove(struct metrics_collector *collector);

/* For a collector. The family is no other's, and its type is not METRICS_HISTOGRAM; only name,
 * help, type and labels are read. */
void metrics_tell(struct metrics_writer *writer, const struct metrics_family *family);
void metrics_sample(struct metrics_writer *writer, double value, const char *const values[]);
#define metrics_sample(writer, value, ...)                                                         \
    metrics_sample(writer, value, METRICS_VALUES(__VA_ARGS__))

/* ---- writing ---- */

enum metrics_format {
    METRICS_TEXT,       /* text/plain; version=0.0.4; charset=utf-8 */
    METRICS_OPENMETRICS /* application/openmetrics-text; version=1.0.0; charset=utf-8 */
};

/* The media type of a format, for an HTTP answer. */
const char *metrics_media_type(enum metrics_format format);

/* What an HTTP client that sends this Accept header (NULL: none) gets. */
enum metrics_format metrics_format_of(const char *accept);

/* What was offered, sorted by name, then what collectors tell. IO where the stream took less. */
MUST_CHECK enum status metrics_write(FILE *out, enum metrics_format format);
