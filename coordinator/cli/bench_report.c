/* Owns the members of bench's JSON lines. Promises that each figure stands beside its samples. */
#include "coordinator/cli/bench_report.h"

#include <inttypes.h>
#include <string.h>

#include "proto/json_writer.h"

enum { CELL_BYTES = 48 };

/* ---- JSON lines ---- */

static void write_machine(struct json_writer *writer, const struct bench_case *one,
                          const struct measured_cluster *cluster)
{
    busy_watch_write(writer, "machine", &one->watch);
    json_writer_boolean(writer, "shared_cores", cluster->shared_cores);
}

static void write_rates(struct json_writer *writer, struct bench_case *one)
{
    switch (one->kind) {
    case BENCH_PREFILL:
        samples_write(writer, "tokens_per_second", &one->prefill_rate);
        samples_write(writer, "seconds", &one->prefill_seconds);
        break;
    case BENCH_DECODE:
        samples_write(writer, "tokens_per_second", &one->decode_rate);
        samples_write(writer, "seconds", &one->decode_seconds);
        return;
    case BENCH_FRONTIER:
        samples_write(writer, "prefill_tokens_per_second", &one->prefill_rate);
        samples_write(writer, "prefill_seconds", &one->prefill_seconds);
        samples_write(writer, "decode_tokens_per_second", &one->decode_rate);
        samples_write(writer, "decode_seconds", &one->decode_seconds);
        break;
    }
    samples_write(writer, "first_token_seconds", &one->first_seconds);
    json_writer_real(writer, "predicted_seconds", one->predicted_seconds);
}

static void write_case(FILE *file, struct bench_case *one, const struct bench_report *report)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "test", one->name);
    json_writer_text(&writer, "method", one->method);
    json_writer_integer(&writer, "workers", one->workers);
    json_writer_integer(&writer, "threads", report->cluster->threads);
    json_writer_text(&writer, "kernels", one->kernels);
    json_writer_integer(&writer, "n_prompt", one->kind == BENCH_DECODE ? 0 : one->prompt_tokens);
    json_writer_integer(&writer, "n_gen", one->answer_tokens);
    json_writer_integer(&writer, "n_depth", one->depth);
    json_writer_integer(&writer, "prompt_tokens", one->prompt_tokens);
    write_rates(&writer, one);
    json_writer_integer(&writer, "sent_bytes", one->sent_bytes);
    json_writer_integer(&writer, "predicted_sent_bytes", one->predicted_sent_bytes);
    json_writer_integer(&writer, "memory_bytes", one->memory_bytes);
    json_writer_integer(&writer, "cache_bytes_worker", one->cache_bytes_worker);
    json_writer_integer(&writer, "cache_bytes", one->cache_bytes);
    write_machine(&writer, one, report->cluster);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

void bench_report_begin(FILE *file, const struct bench_report *report)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    manifest_write(&writer, "manifest", report->manifest);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void write_last(struct json_writer *writer, const char *key, const struct samples *samples)
{
    if (samples->count > 0)
        json_writer_real(writer, key, samples->values[samples->count - 1]);
    else
        json_writer_null(writer, key);
}

void bench_report_run(FILE *file, const struct bench_case *one, int64_t repetition)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "test", one->name);
    json_writer_text(&writer, "method", one->method);
    json_writer_integer(&writer, "repetition", repetition);
    write_last(&writer, "prefill_seconds", &one->prefill_seconds);
    write_last(&writer, "decode_seconds", &one->decode_seconds);
    write_last(&writer, "first_token_seconds", &one->first_seconds);
    json_writer_end_object(&writer);
    fputc('\n', file);
    fflush(file);
}

void bench_report_lines(FILE *file, const struct bench_report *report)
{
    bench_report_begin(file, report);
    for (size_t i = 0; i < report->cases->count; i++)
        write_case(file, &report->cases->cases[i], report);
}

/* ---- the table ---- */

/* "1,210.3 +- 30.1", with as many digits as the deviation gives sense to. */
static void rate_cell(char cell[CELL_BYTES], struct samples *samples)
{
    const struct samples_summary summary = samples_summarise(samples);
    const int digits = summary.mean >= 100 ? 1 : summary.mean >= 10 ? 2 : 3;
    snprintf(cell, CELL_BYTES, "%.*f ± %.*f", digits, summary.mean, digits, summary.deviation);
}

static void print_rates(FILE *file, const struct bench_report *report, int width)
{
    fprintf(file, "\n%-20s %-*s %22s %14s\n", "test", width, "method", "tokens/s",
            "first token, s");
    for (size_t i = 0; i < report->cases->count; i++) {
        struct bench_case *one = &report->cases->cases[i];
        char rate[CELL_BYTES], first[CELL_BYTES] = "";
        if (one->kind == BENCH_FRONTIER)
            continue;
        rate_cell(rate, one->kind == BENCH_PREFILL ? &one->prefill_rate : &one->decode_rate);
        if (one->kind == BENCH_PREFILL)
            snprintf(first, sizeof first, "%.3f", samples_summarise(&one->first_seconds).mean);
        /* One byte more for the sign of two bytes. */
        fprintf(file, "%-20s %-*s %23s %14s\n", one->name, width, one->method, rate, first);
    }
}

static void print_frontier(FILE *file, const struct bench_report *report, int width)
{
    fprintf(file, "\n%10s %-*s %22s %22s %12s %12s %12s\n", "tokens", width, "method",
            "prefill, tokens/s", "decode, tokens/s", "1st token, s", "cache, MB", "a worker, MB");
    for (size_t i = 0; i < report->cases->count; i++) {
        struct bench_case *one = &report->cases->cases[i];
        char prefill[CELL_BYTES], decode[CELL_BYTES];
        if (one->kind != BENCH_FRONTIER)
            continue;
        rate_cell(prefill, &one->prefill_rate);
        rate_cell(decode, &one->decode_rate);
        fprintf(file, "%10" PRId64 " %-*s %23s %23s %12.3f %12.1f %12.1f\n", one->prompt_tokens,
                width, one->method, prefill, decode, samples_summarise(&one->first_seconds).mean,
                (double)one->cache_bytes / 1e6, (double)one->cache_bytes_worker / 1e6);
    }
}

static void add_watch(struct busy_watch *all, const struct busy_watch *one)
{
    all->seconds += one->seconds;
    all->all += one->all;
    all->own += one->own;
    all->stolen += one->stolen;
    all->intervals += one->intervals;
    all->unknown |= one->unknown;
}

/* What makes the figures doubtful. */
static void print_disturbances(FILE *file, const struct bench_report *report)
{
    struct busy_watch all = {.intervals = 0};
    struct busy_findings findings;
    for (size_t i = 0; i < report->cases->count; i++)
        add_watch(&all, &report->cases->cases[i].watch);
    busy_watch_find(&findings, &all);
    if (findings.known)
        fprintf(file, "\n%sothers used %.2f cores meanwhile, and the host below %.2f",
                findings.busy ? "busy machine: " : "", findings.other_cores, findings.stolen_cores);
    else
        fputs("\ntoo short to tell whether the machine was busy", file);
    const struct host_facts *host = &report->manifest->host;
    fprintf(file, "; load before: %.2f on %d cores.\n", host->load, host->cores);
    if (!report->cluster->all_here)
        fputs("workers run on other hosts, too, which nobody watched.\n", file);
    if (report->cluster->shared_cores)
        fprintf(file, "cores were shared: %d threads of workers, more than this host has cores.\n",
                report->cluster->threads);
}

void bench_report_table(FILE *file, const struct bench_report *report)
{
    int width = (int)strlen("method");
    bool rates = false, frontier = false;
    for (size_t i = 0; i < report->cases->count; i++) {
        const struct bench_case *one = &report->cases->cases[i];
        const int length = (int)strlen(one->method);
        width = length > width ? length : width;
        rates |= one->kind != BENCH_FRONTIER;
        frontier |= one->kind == BENCH_FRONTIER;
    }
    const struct bench_case *first = &report->cases->cases[0];
    fprintf(file,
            "%s: %d %s with %d %s, kernels %s; mean and deviation of %" PRId64 " after a warm-up\n",
            report->manifest->model, first->workers, first->workers == 1 ? "worker" : "workers",
            report->cluster->threads, report->cluster->threads == 1 ? "thread" : "threads",
            first->kernels, report->repetitions);
    if (rates)
        print_rates(file, report, width);
    if (frontier)
        print_frontier(file, report, width);
    print_disturbances(file, report);
}
