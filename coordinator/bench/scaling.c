/* Owns the sums and samples of rows. Promises that each figure follows from runs alone. */
#include "coordinator/bench/scaling.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The kernel counts a host's time in eight parts, each in whole hundredths. */
static const double HOST_ERROR_SECONDS = 8 * 0.01;

/* Whether the rank is the first of its host. */
static bool is_first_of_host(const struct scaling_rank *ranks, int rank)
{
    for (int other = 0; other < rank; other++)
        if (strcmp(ranks[other].host, ranks[rank].host) == 0)
            return false;
    return true;
}

/* What the ranks of one host have together. */
struct host_sums {
    int threads, cores;
    double cpu_seconds, host_cpu_seconds;
};

static struct host_sums sum_host(const struct scaling_rank *ranks, int workers, int first)
{
    struct host_sums sums = {.cores = ranks[first].host_cores};
    for (int rank = first; rank < workers; rank++) {
        const struct scaling_rank *one = &ranks[rank];
        if (strcmp(one->host, ranks[first].host) != 0)
            continue;
        sums.threads += one->threads;
        sums.cpu_seconds += one->cpu_seconds;
        /* Ranks begin and end at a little different times. */
        if (one->host_cpu_seconds > sums.host_cpu_seconds)
            sums.host_cpu_seconds = one->host_cpu_seconds;
    }
    return sums;
}

/* ---- a run ---- */

static void count_cores(struct scaling_row *row, const struct scaling_rank *ranks)
{
    int cores = 0, threads = 0;
    for (int rank = 0; rank < row->workers; rank++) {
        if (!is_first_of_host(ranks, rank))
            continue;
        const struct host_sums host = sum_host(ranks, row->workers, rank);
        row->shared |= host.threads > host.cores;
        threads += host.threads;
        cores += host.threads < host.cores ? host.threads : host.cores;
    }
    if (row->seconds.count > 1)
        row->differs |= cores != row->cores || threads != row->threads;
    row->cores = cores;
    row->threads = threads;
}

/* Cores that others kept busy; nothing where a host does not tell, or the run was too short. */
static enum status note_others(struct scaling_row *row, const struct scaling_run *run)
{
    double others = 0;
    int cores = 0, hosts = 0;
    for (int rank = 0; rank < row->workers; rank++) {
        if (!is_first_of_host(run->ranks, rank))
            continue;
        const struct host_sums host = sum_host(run->ranks, row->workers, rank);
        if (host.host_cpu_seconds <= 0)
            return STATUS_OK;
        if (host.host_cpu_seconds > host.cpu_seconds)
            others += host.host_cpu_seconds - host.cpu_seconds;
        cores += host.cores;
        hosts++;
    }
    if (hosts * HOST_ERROR_SECONDS > SCALING_BUSY_SHARE * cores * run->seconds)
        return STATUS_OK;
    return samples_add(&row->other_cores, others / run->seconds);
}

static void add_rank(struct scaling_rank *sum, const struct scaling_rank *rank)
{
    memcpy(sum->host, rank->host, sizeof sum->host);
    sum->threads = rank->threads;
    sum->host_cores = rank->host_cores;
    sum->sent_bytes += rank->sent_bytes;
    sum->predicted_sent_bytes += rank->predicted_sent_bytes;
    sum->cpu_seconds += rank->cpu_seconds;
    sum->wait_seconds += rank->wait_seconds;
    sum->voluntary_switches += rank->voluntary_switches;
    sum->involuntary_switches += rank->involuntary_switches;
    sum->host_cpu_seconds += rank->host_cpu_seconds;
}

/* Bytes, operations and what was predicted: the same in each run, unless the plan was another. */
static void note_plan(struct scaling_row *row, const struct scaling_run *run)
{
    int64_t sent = 0, predicted = 0, most = 0;
    for (int rank = 0; rank < row->workers; rank++) {
        const struct scaling_rank *one = &run->ranks[rank];
        sent += one->sent_bytes;
        predicted += one->predicted_sent_bytes;
        most = one->sent_bytes > most ? one->sent_bytes : most;
    }
    if (row->seconds.count > 1)
        row->differs |= sent != row->sent_bytes || run->flops != row->flops;
    row->sent_bytes = sent;
    row->predicted_sent_bytes = predicted;
    row->most_sent_bytes = most;
    row->flops = run->flops;
    row->predicted_seconds = run->predicted_seconds;
}

enum status scaling_row_add(struct scaling_row *row, const struct scaling_run *run)
{
    double waited = 0;
    if (!(run->seconds > 0) || row->workers < 1)
        return fail(STATUS_INTERNAL, "a prompt of %lld tokens was read in %g s by %d workers",
                    (long long)row->prompt_tokens, run->seconds, row->workers);
    if (!row->ranks)
        row->ranks = calloc((size_t)row->workers, sizeof *row->ranks);
    if (!row->ranks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the sums of %d ranks", row->workers);
    for (int rank = 0; rank < row->workers; rank++)
        waited += run->ranks[rank].wait_seconds;
    TRY(samples_add(&row->seconds, run->seconds));
    TRY(samples_add(&row->waits, waited / row->workers / run->seconds));
    TRY(note_others(row, run));
    count_cores(row, run->ranks);
    note_plan(row, run);
    for (int rank = 0; rank < row->workers; rank++)
        add_rank(&row->ranks[rank], &run->ranks[rank]);
    return STATUS_OK;
}

void scaling_row_deinit(struct scaling_row *row)
{
    samples_deinit(&row->seconds);
    samples_deinit(&row->waits);
    samples_deinit(&row->other_cores);
    samples_deinit(&row->efficiencies);
    free(row->ranks);
    row->ranks = NULL;
}

/* ---- rows ---- */

double scaling_seconds(struct scaling_row *row)
{
    return samples_summarise(&row->seconds).median;
}

double scaling_tokens_per_second(struct scaling_row *row)
{
    return (double)row->prompt_tokens / scaling_seconds(row);
}

double scaling_bus_rate(struct scaling_row *row)
{
    return (double)row->most_sent_bytes / scaling_seconds(row);
}

bool scaling_busy(struct scaling_row *row, bool *known)
{
    int cores = 0;
    for (int rank = 0; rank < row->workers; rank++)
        cores += is_first_of_host(row->ranks, rank) ? row->ranks[rank].host_cores : 0;
    *known = row->other_cores.count > 0;
    return *known && samples_summarise(&row->other_cores).median > SCALING_BUSY_SHARE * cores;
}

double scaling_ideal_seconds(const struct scaling_row *row, struct scaling_row *first)
{
    return scaling_seconds(first) * (row->flops / first->flops) * first->cores / row->cores;
}

static struct scaling_row *first_of_method(struct scaling_row *rows, const char *method)
{
    while (strcmp(rows->method, method) != 0)
        rows++;
    return rows;
}

static enum status compare_with(struct scaling_row *row, struct scaling_row *first)
{
    assert(row->seconds.count > 0 && first->seconds.count > 0 && first->flops > 0);
    const double ideal = scaling_ideal_seconds(row, first) / scaling_seconds(first);
    row->efficiency = scaling_seconds(first) * ideal / scaling_seconds(row);
    for (size_t i = 0; i < row->seconds.count && i < first->seconds.count; i++)
        TRY(samples_add(&row->efficiencies,
                        first->seconds.values[i] * ideal / row->seconds.values[i]));
    return STATUS_OK;
}

enum status scaling_compare(struct scaling_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        TRY(compare_with(&rows[i], first_of_method(rows, rows[i].method)));
    return STATUS_OK;
}
