/* Owns the samples of one load. Promises that a request's latency begins when it was to be sent, so
 * that a slow server cannot hide behind requests that were held back. */
#include "coordinator/bench/serving_metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/json_writer.h"

static double seconds(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) * 1e-9;
}

/* ---- from records ---- */

static bool is_good(const struct serving_goals *goals, double ttft, double tpot, double e2el)
{
    return (goals->ttft_ms <= 0 || ttft * 1000 <= goals->ttft_ms) &&
           (goals->tpot_ms <= 0 || tpot * 1000 <= goals->tpot_ms) &&
           (goals->e2el_ms <= 0 || e2el * 1000 <= goals->e2el_ms);
}

static enum status take_gaps(struct serving_metrics *metrics, const struct serving_record *record)
{
    for (size_t i = 1; i < record->arrival_count; i++)
        TRY(samples_add(&metrics->itl, seconds(record->arrivals[i - 1], record->arrivals[i])));
    return STATUS_OK;
}

static enum status take(struct serving_metrics *metrics, const struct serving_record *record,
                        const struct serving_goals *goals)
{
    const int64_t first_ns = record->arrival_count > 0 ? record->arrivals[0] : record->end_ns;
    const double ttft = seconds(record->intended_ns, first_ns);
    const double e2el = seconds(record->intended_ns, record->end_ns);
    const double tpot = record->output_tokens > 1 ? seconds(first_ns, record->end_ns) /
                                                        (double)(record->output_tokens - 1)
                                                  : 0;
    metrics->completed++;
    metrics->input_tokens += record->input_tokens;
    metrics->output_tokens += record->output_tokens;
    metrics->cached_tokens += record->cached_tokens;
    metrics->good += metrics->has_goals && is_good(goals, ttft, tpot, e2el);
    TRY(samples_add(&metrics->ttft, ttft));
    TRY(samples_add(&metrics->e2el, e2el));
    TRY(samples_add(&metrics->queued, seconds(record->intended_ns, record->sent_ns)));
    if (tpot > 0) {
        TRY(samples_add(&metrics->tpot, tpot));
        TRY(samples_add(&metrics->per_user, 1 / tpot));
    }
    return take_gaps(metrics, record);
}

/* A request that is sent, or one that has ended. */
struct step {
    int64_t ns;
    int change;
};

/* Of two at the same time the end first: an interval does not hold its own end. */
static int by_time(const void *left, const void *right)
{
    const struct step *a = left, *b = right;
    return a->ns != b->ns ? (a->ns > b->ns) - (a->ns < b->ns) : a->change - b->change;
}

static enum status count_together(size_t *most, const struct serving_record *records, size_t count)
{
    struct step *steps = calloc(2 * count + 1, sizeof *steps);
    if (!steps)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the times of %zu requests", count);
    size_t used = 0, now = 0;
    for (size_t i = 0; i < count; i++)
        if (records[i].completed) {
            steps[used++] = (struct step){records[i].sent_ns, 1};
            steps[used++] = (struct step){records[i].end_ns, -1};
        }
    qsort(steps, used, sizeof *steps, by_time);
    *most = 0;
    for (size_t i = 0; i < used; i++) {
        now = steps[i].change > 0 ? now + 1 : now - 1;
        *most = now > *most ? now : *most;
    }
    free(steps);
    return STATUS_OK;
}

enum status serving_metrics_make(struct serving_metrics *metrics,
                                 const struct serving_record *records, size_t count,
                                 const struct serving_goals *goals)
{
    int64_t first_ns = INT64_MAX, last_ns = INT64_MIN;
    *metrics = (struct serving_metrics){.has_goals = goals->ttft_ms > 0 || goals->tpot_ms > 0 ||
                                                     goals->e2el_ms > 0};
    for (size_t i = 0; i < count; i++) {
        const struct serving_record *record = &records[i];
        first_ns = record->intended_ns < first_ns ? record->intended_ns : first_ns;
        last_ns = record->end_ns > last_ns ? record->end_ns : last_ns;
        if (record->completed)
            TRY(take(metrics, record, goals));
        else
            metrics->failed++;
    }
    metrics->duration = count > 0 ? seconds(first_ns, last_ns) : 0;
    return count_together(&metrics->max_concurrent_requests, records, count);
}

void serving_metrics_deinit(struct serving_metrics *metrics)
{
    samples_deinit(&metrics->ttft);
    samples_deinit(&metrics->tpot);
    samples_deinit(&metrics->itl);
    samples_deinit(&metrics->e2el);
    samples_deinit(&metrics->queued);
    samples_deinit(&metrics->per_user);
}

/* ---- as JSON ---- */

static double rate(const struct serving_metrics *metrics, double amount)
{
    return metrics->duration > 0 ? amount / metrics->duration : 0;
}

/* Both vLLM and AIPerf divide by the count, as of a whole population. */
static double population_deviation(const struct samples_summary *summary)
{
    return summary->count > 1
               ? summary->deviation * sqrt((double)(summary->count - 1) / (double)summary->count)
               : 0;
}

static void write_named(struct json_writer *writer, const char *form, const char *name,
                        double value)
{
    char key[64];
    snprintf(key, sizeof key, form, name);
    json_writer_real(writer, key, value);
}

/* mean_ttft_ms, p99_ttft_ms, ... */
static void write_vllm(struct json_writer *writer, const char *name, struct samples *samples)
{
    const struct samples_summary summary = samples_summarise(samples);
    write_named(writer, "mean_%s_ms", name, 1000 * summary.mean);
    write_named(writer, "median_%s_ms", name, 1000 * summary.median);
    write_named(writer, "std_%s_ms", name, 1000 * population_deviation(&summary));
    write_named(writer, "p90_%s_ms", name, 1000 * samples_percentile(samples, 90));
    write_named(writer, "p95_%s_ms", name, 1000 * samples_percentile(samples, 95));
    write_named(writer, "p99_%s_ms", name, 1000 * samples_percentile(samples, 99));
}

static double inverse(double value)
{
    return value > 0 ? 1 / value : 0;
}

/* Tokens a second of a user: of the TPOT that it stands beside, as InferenceX has it, so that the
 * 99th percentile is that of slow users. */
static void write_interactivity(struct json_writer *writer, struct samples *tpot)
{
    const struct samples_summary summary = samples_summarise(tpot);
    json_writer_real(writer, "mean_intvty", inverse(summary.mean));
    json_writer_real(writer, "median_intvty", inverse(summary.median));
    json_writer_real(writer, "p99_intvty", inverse(samples_percentile(tpot, 99)));
}

static void write_aiperf(struct json_writer *writer, const char *name, const char *unit,
                         struct samples *samples, double scale)
{
    static const int percents[] = {1, 5, 10, 25, 50, 75, 90, 95, 99};
    const struct samples_summary summary = samples_summarise(samples);
    json_writer_begin_object(writer, name);
    json_writer_text(writer, "unit", unit);
    json_writer_real(writer, "avg", scale * summary.mean);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        char key[8];
        snprintf(key, sizeof key, "p%d", percents[i]);
        json_writer_real(writer, key, scale * samples_percentile(samples, percents[i]));
    }
    json_writer_real(writer, "min", scale * summary.least);
    json_writer_real(writer, "max", scale * summary.most);
    json_writer_real(writer, "std", scale * population_deviation(&summary));
    json_writer_end_object(writer);
}

static void write_aiperf_value(struct json_writer *writer, const char *name, const char *unit,
                               double value)
{
    json_writer_begin_object(writer, name);
    json_writer_text(writer, "unit", unit);
    json_writer_real(writer, "avg", value);
    json_writer_end_object(writer);
}

static void write_aiperf_all(struct json_writer *writer, struct serving_metrics *metrics)
{
    json_writer_begin_object(writer, "aiperf");
    write_aiperf(writer, "time_to_first_token", "ms", &metrics->ttft, 1000);
    write_aiperf(writer, "inter_token_latency", "ms", &metrics->tpot, 1000);
    write_aiperf(writer, "request_latency", "ms", &metrics->e2el, 1000);
    write_aiperf(writer, "output_token_throughput_per_user", "tokens/sec/user", &metrics->per_user,
                 1);
    write_aiperf_value(writer, "request_throughput", "requests/sec",
                       rate(metrics, (double)metrics->completed));
    write_aiperf_value(writer, "output_token_throughput", "tokens/sec",
                       rate(metrics, (double)metrics->output_tokens));
    if (metrics->has_goals) {
        write_aiperf_value(writer, "goodput", "requests/sec", rate(metrics, (double)metrics->good));
        write_aiperf_value(writer, "good_request_count", "requests", (double)metrics->good);
    }
    write_aiperf_value(writer, "request_count", "requests", (double)metrics->completed);
    write_aiperf_value(writer, "error_request_count", "requests", (double)metrics->failed);
    write_aiperf_value(writer, "benchmark_duration", "sec", metrics->duration);
    json_writer_end_object(writer);
}

void serving_metrics_write(struct json_writer *writer, struct serving_metrics *metrics)
{
    const double tokens = (double)(metrics->input_tokens + metrics->output_tokens);
    json_writer_real(writer, "duration", metrics->duration);
    json_writer_integer(writer, "completed", (int64_t)metrics->completed);
    json_writer_integer(writer, "failed", (int64_t)metrics->failed);
    json_writer_integer(writer, "total_input_tokens", metrics->input_tokens);
    json_writer_integer(writer, "total_output_tokens", metrics->output_tokens);
    json_writer_integer(writer, "total_cached_tokens", metrics->cached_tokens);
    json_writer_real(writer, "request_throughput", rate(metrics, (double)metrics->completed));
    if (metrics->has_goals)
        json_writer_real(writer, "request_goodput", rate(metrics, (double)metrics->good));
    else
        json_writer_null(writer, "request_goodput");
    json_writer_real(writer, "output_throughput", rate(metrics, (double)metrics->output_tokens));
    json_writer_real(writer, "total_token_throughput", rate(metrics, tokens));
    json_writer_integer(writer, "max_concurrent_requests",
                        (int64_t)metrics->max_concurrent_requests);
    write_vllm(writer, "ttft", &metrics->ttft);
    write_vllm(writer, "tpot", &metrics->tpot);
    write_vllm(writer, "itl", &metrics->itl);
    write_vllm(writer, "e2el", &metrics->e2el);
    write_vllm(writer, "client_queue_time", &metrics->queued);
    write_interactivity(writer, &metrics->tpot);
    write_aiperf_all(writer, metrics);
}

/* ---- each request ---- */

static void write_gaps(struct json_writer *writer, const struct serving_record *record)
{
    json_writer_begin_array(writer, NULL);
    for (size_t i = 1; i < record->arrival_count; i++)
        json_writer_real(writer, NULL, seconds(record->arrivals[i - 1], record->arrivals[i]));
    json_writer_end_array(writer);
}

/* Which of a record's figures. */
enum figure { FIGURE_TTFT, FIGURE_LATENCY, FIGURE_START, FIGURE_QUEUED };

static double figure_of(const struct serving_record *record, enum figure figure, int64_t first_ns)
{
    switch (figure) {
    case FIGURE_TTFT:
        return record->arrival_count > 0 ? seconds(record->intended_ns, record->arrivals[0]) : 0;
    case FIGURE_LATENCY:
        return record->completed ? seconds(record->intended_ns, record->end_ns) : 0;
    case FIGURE_START:
        return seconds(first_ns, record->intended_ns);
    case FIGURE_QUEUED:
        return seconds(record->intended_ns, record->sent_ns);
    }
    return 0;
}

void serving_metrics_write_records(struct json_writer *writer, const struct serving_record *records,
                                   size_t count)
{
    static const char *const keys[] = {"ttfts", "latencies", "start_times", "queue_times"};
    int64_t first_ns = INT64_MAX;
    json_writer_begin_array(writer, "input_lens");
    for (size_t i = 0; i < count; i++)
        json_writer_integer(writer, NULL, records[i].input_tokens);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "output_lens");
    for (size_t i = 0; i < count; i++) {
        json_writer_integer(writer, NULL, records[i].output_tokens);
        first_ns = records[i].intended_ns < first_ns ? records[i].intended_ns : first_ns;
    }
    json_writer_end_array(writer);
    for (int figure = FIGURE_TTFT; figure <= FIGURE_QUEUED; figure++) {
        json_writer_begin_array(writer, keys[figure]);
        for (size_t i = 0; i < count; i++)
            json_writer_real(writer, NULL, figure_of(&records[i], (enum figure)figure, first_ns));
        json_writer_end_array(writer);
    }
    json_writer_begin_array(writer, "itls");
    for (size_t i = 0; i < count; i++)
        write_gaps(writer, &records[i]);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "errors");
    for (size_t i = 0; i < count; i++)
        json_writer_text(writer, NULL, records[i].error);
    json_writer_end_array(writer);
}
