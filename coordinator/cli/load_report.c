/* Owns what is told of each load beside its figures, and the loads' charts. */
#include "coordinator/cli/load_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/chart_files.h"
#include "proto/json_writer.h"

enum { LABEL_BYTES = 32, TEXT_BYTES = 320 };

static const char *model_of(const struct load_report *report)
{
    return report->cluster->model[0] ? report->cluster->model : report->manifest->model;
}

/* ---- JSON lines ---- */

static void write_load(struct json_writer *writer, const struct load_point *point,
                       const struct load_report *report)
{
    json_writer_text(writer, "load", point->concurrency ? "closed" : "open");
    json_writer_text(writer, "backend", "longhaul");
    json_writer_text(writer, "endpoint_type", "grpc");
    json_writer_text(writer, "model_id", model_of(report));
    json_writer_integer(writer, "workers", report->cluster->workers);
    json_writer_integer(writer, "num_prompts", (int64_t)point->count);
    if (point->concurrency) {
        json_writer_text(writer, "request_rate", "inf");
        json_writer_integer(writer, "max_concurrency", point->concurrency);
        json_writer_integer(writer, "conc", point->concurrency);
    } else {
        json_writer_real(writer, "request_rate", point->rate);
        json_writer_real(writer, "burstiness", 1);
        json_writer_null(writer, "max_concurrency");
    }
    json_writer_unsigned(writer, "seed", report->settings->seed);
    json_writer_text(writer, "arrivals", point->concurrency ? "none" : "poisson, splitmix64");
}

void load_report_manifest(FILE *file, const struct load_report *report)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    manifest_write(&writer, "manifest", report->manifest);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

void load_report_point(FILE *file, const struct load_report *report, size_t index)
{
    struct load_point *point = &report->points[index];
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    write_load(&writer, point, report);
    serving_metrics_write(&writer, &point->metrics);
    busy_watch_write(&writer, "machine", &point->watch);
    json_writer_boolean(&writer, "shared_cores", report->cluster->shared_cores);
    serving_metrics_write_records(&writer, point->records, point->count);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

void load_report_lines(FILE *file, const struct load_report *report)
{
    load_report_manifest(file, report);
    for (size_t i = 0; i < report->count; i++)
        load_report_point(file, report, i);
}

/* ---- the table ---- */

static const char *label_of(char label[LABEL_BYTES], const struct load_point *point)
{
    if (point->concurrency)
        snprintf(label, LABEL_BYTES, "%" PRId64 " at a time", point->concurrency);
    else
        snprintf(label, LABEL_BYTES, "%g/s", point->rate);
    return label;
}

static double per_second(const struct load_point *point, double amount)
{
    return point->metrics.duration > 0 ? amount / point->metrics.duration : 0;
}

static void print_point(FILE *file, struct load_point *point)
{
    char label[LABEL_BYTES], good[LABEL_BYTES] = "";
    struct serving_metrics *metrics = &point->metrics;
    if (metrics->has_goals)
        snprintf(good, sizeof good, "%.3f", per_second(point, (double)metrics->good));
    fprintf(
        file, "%-14s %6zu %6zu %8.3f %9.1f %8.2f %9.0f %9.0f %7.1f %7.1f %7.1f %9.0f %8s\n",
        label_of(label, point), metrics->completed, metrics->failed,
        per_second(point, (double)metrics->completed),
        per_second(point, (double)metrics->output_tokens),
        samples_percentile(&metrics->per_user, 50), 1000 * samples_percentile(&metrics->ttft, 50),
        1000 * samples_percentile(&metrics->ttft, 99),
        1000 * samples_percentile(&metrics->tpot, 50),
        1000 * samples_percentile(&metrics->tpot, 99), 1000 * samples_percentile(&metrics->itl, 99),
        1000 * samples_percentile(&metrics->e2el, 99), good);
}

static void print_failure(FILE *file, const struct load_point *point)
{
    char label[LABEL_BYTES];
    for (size_t i = 0; i < point->count; i++)
        if (!point->records[i].completed) {
            fprintf(file, "\n%s: %zu failed, first: %s\n", label_of(label, point),
                    point->metrics.failed, point->records[i].error);
            return;
        }
}

static void print_disturbances(FILE *file, const struct load_report *report)
{
    char label[LABEL_BYTES];
    const struct host_facts *host = &report->manifest->host;
    fprintf(file, "\nload before: %.2f on %d cores.\n", host->load, host->cores);
    for (size_t i = 0; i < report->count; i++) {
        struct busy_findings findings;
        busy_watch_find(&findings, &report->points[i].watch);
        if (findings.busy)
            fprintf(file, "busy machine: others used %.2f cores, and the host below %.2f, at %s\n",
                    findings.other_cores, findings.stolen_cores,
                    label_of(label, &report->points[i]));
    }
    if (!report->cluster->all_here)
        fputs("workers run on other hosts, too, which nobody watched.\n", file);
    if (report->cluster->shared_cores)
        fprintf(file, "cores were shared: %d threads of workers, more than this host has cores.\n",
                report->cluster->threads);
}

void load_report_table(FILE *file, const struct load_report *report)
{
    fprintf(file, "%s, %d %s; latencies in ms, from when a request was to be sent\n\n",
            model_of(report), report->cluster->workers,
            report->cluster->workers == 1 ? "worker" : "workers");
    fprintf(file, "%-14s %6s %6s %8s %9s %8s %9s %9s %7s %7s %7s %9s %8s\n", "", "", "", "requests",
            "output", "tokens/s", "TTFT", "TTFT", "TPOT", "TPOT", "ITL", "E2EL",
            report->points[0].metrics.has_goals ? "good" : "");
    fprintf(file, "%-14s %6s %6s %8s %9s %8s %9s %9s %7s %7s %7s %9s %8s\n", "load", "done",
            "failed", "/s", "tokens/s", "a user", "p50", "p99", "p50", "p99", "p99", "p99",
            report->points[0].metrics.has_goals ? "/s" : "");
    for (size_t i = 0; i < report->count; i++)
        print_point(file, &report->points[i]);
    for (size_t i = 0; i < report->count; i++)
        print_failure(file, &report->points[i]);
    print_disturbances(file, report);
}

/* ---- charts ---- */

/* A load of which nothing was answered has no place in a chart. */
static bool is_shown(const struct load_point *point, bool open)
{
    return (point->concurrency == 0) == open && point->metrics.tpot.count > 0;
}

static const char *short_label(char label[LABEL_BYTES], const struct load_point *point)
{
    if (point->concurrency)
        snprintf(label, LABEL_BYTES, "%" PRId64, point->concurrency);
    else
        snprintf(label, LABEL_BYTES, "%g/s", point->rate);
    return label;
}

static struct chart_point frontier_point(struct load_point *point)
{
    return (struct chart_point){samples_percentile(&point->metrics.per_user, 50),
                                per_second(point, (double)point->metrics.output_tokens), 0};
}

static enum status draw_frontier(const struct load_report *report, const char *subtitle,
                                 struct chart_point *points, const char *folder, bool shown)
{
    static const char *const names[] = {"by clients at a time", "by requests a second"};
    char texts[LOAD_REPORT_POINTS_MOST][LABEL_BYTES];
    const char *labels[LOAD_REPORT_POINTS_MOST];
    struct chart_series series[2];
    struct chart chart = {
        .title = "Throughput against interactivity",
        .subtitle = subtitle,
        .x = {.title = "a user's rate, median", .unit = "tokens/s"},
        .y = {.title = "output of all", .unit = "tokens/s"},
        .series = series,
    };
    size_t used = 0, longest = 0;
    for (int open = 0; open < 2; open++) {
        struct chart_series one = {
            .name = names[open], .points = points + used, .labels = labels + used};
        for (size_t i = 0; i < report->count; i++)
            if (is_shown(&report->points[i], open)) {
                labels[used] = short_label(texts[used], &report->points[i]);
                points[used++] = frontier_point(&report->points[i]);
                one.count++;
            }
        longest = one.count > longest ? one.count : longest;
        if (one.count > 0)
            series[chart.series_count++] = one;
    }
    return longest > 1 ? chart_files_draw(&chart, folder, "throughput.svg", shown) : STATUS_OK;
}

/* The median and the 99th percentile of TTFT, of one kind of load. */
static enum status draw_first_token(const struct load_report *report, const char *subtitle,
                                    struct chart_point *points, bool open, const char *folder,
                                    bool shown)
{
    struct chart_series series[] = {{.name = "p99", .points = points},
                                    {.name = "median", .points = points + report->count}};
    for (size_t i = 0; i < report->count; i++) {
        struct load_point *point = &report->points[i];
        if (!is_shown(point, open))
            continue;
        const double x = open ? point->rate : (double)point->concurrency;
        points[series[0].count++] =
            (struct chart_point){x, 1000 * samples_percentile(&point->metrics.ttft, 99), 0};
        points[report->count + series[1].count++] =
            (struct chart_point){x, 1000 * samples_percentile(&point->metrics.ttft, 50), 0};
    }
    const struct chart chart = {
        .title = "Time to the first token",
        .subtitle = subtitle,
        .x = {.title = open ? "requests a second" : "clients at a time", .scale = CHART_LOG2},
        .y = {.title = "TTFT", .unit = "ms", .scale = CHART_LOG10},
        .series = series,
        .series_count = 2,
    };
    if (series[0].count < 2)
        return STATUS_OK;
    return chart_files_draw(&chart, folder, open ? "ttft-by-rate.svg" : "ttft-by-clients.svg",
                            shown);
}

enum status load_report_charts(const struct load_report *report, const char *folder, bool shown)
{
    char subtitle[TEXT_BYTES];
    struct chart_point *points = calloc(2 * report->count, sizeof *points);
    if (!points)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart");
    snprintf(subtitle, sizeof subtitle, "%s, %d %s, %s", model_of(report), report->cluster->workers,
             report->cluster->workers == 1 ? "worker" : "workers",
             report->manifest->host.cpu[0] ? report->manifest->host.cpu : "CPU not known");
    enum status status = draw_frontier(report, subtitle, points, folder, shown);
    for (int open = 0; open < 2 && status == STATUS_OK; open++)
        status = draw_first_token(report, subtitle, points, open, folder, shown);
    free(points);
    return status;
}
