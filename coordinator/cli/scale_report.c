/* Owns the tables' columns. Promises that files, tables and charts come from the same rows. */
#include "coordinator/cli/scale_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/scaling_write.h"
#include "coordinator/cli/result_folder.h"
#include "proto/json_writer.h"

/* ---- tables ---- */

static void print_notes(struct scaling_row *row)
{
    bool known;
    const bool busy = scaling_busy(row, &known);
    if (row->shared)
        printf("  %d threads share %d cores", row->threads, row->cores);
    if (busy)
        printf("  others kept %.1f cores busy", samples_summarise(&row->other_cores).median);
    if (row->differs)
        printf("  cores or plans differed between runs");
    if (row->sent_bytes != row->predicted_sent_bytes)
        printf("  bytes are not as predicted");
}

static void print_row(struct scaling_row *row)
{
    const struct samples_summary seconds = samples_summarise(&row->seconds);
    const struct samples_summary efficiencies = samples_summarise(&row->efficiencies);
    char nodes[16] = "-";
    if (row->nodes)
        snprintf(nodes, sizeof nodes, "%d", row->nodes);
    printf("%-24.24s %5s %7d %5d %9" PRId64 " %9.3f %7.3f %9.3f %9.1f %6.3f %6.3f %5.1f%% %9.2f "
           "%9.2f %8.2f",
           row->method, nodes, row->workers, row->cores, row->prompt_tokens, seconds.median,
           seconds.deviation, row->predicted_seconds, scaling_tokens_per_second(row),
           row->efficiency, efficiencies.deviation, 100 * samples_summarise(&row->waits).median,
           (double)row->sent_bytes / 1e6, (double)row->predicted_sent_bytes / 1e6,
           scaling_bus_rate(row) / 1e6);
    print_notes(row);
    putchar('\n');
}

static void print_ranks(const struct scaling_row *row)
{
    const double runs = (double)row->seconds.count;
    for (int r = 0; r < row->workers; r++) {
        const struct scaling_rank *rank = &row->ranks[r];
        printf("%-24.24s %7d %5d %7d %10.3f %10.3f %11.1f %11.1f  %s\n", r ? "" : row->method,
               row->workers, r, rank->threads, rank->cpu_seconds / runs, rank->wait_seconds / runs,
               (double)rank->voluntary_switches / runs, (double)rank->involuntary_switches / runs,
               rank->host);
    }
}

static void print_rows(struct scale_campaign *campaign)
{
    printf("%-24s %5s %7s %5s %9s %9s %7s %9s %9s %6s %6s %6s %9s %9s %8s\n", "method", "nodes",
           "workers", "cores", "tokens", "seconds", "+-", "predicted", "tokens/s", "effic.", "+-",
           "waits", "sent MB", "predicted", "bus MB/s");
    for (size_t r = 0; r < campaign->row_count; r++)
        print_row(&campaign->rows[r]);
}

static void print_all_ranks(struct scale_campaign *campaign)
{
    printf("%-24s %7s %5s %7s %10s %10s %11s %11s  %s\n", "method", "workers", "rank", "threads",
           "cpu s", "waits s", "voluntary", "involuntary", "host");
    for (size_t r = 0; r < campaign->row_count; r++)
        print_ranks(&campaign->rows[r]);
}

void scale_report_table(struct scale_campaign *campaign)
{
    print_rows(campaign);
    putchar('\n');
    print_all_ranks(campaign);
}

/* ---- JSON lines ---- */

void scale_report_manifest(FILE *file, const struct manifest *manifest)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    manifest_write(&writer, "manifest", manifest);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

void scale_report_lines(FILE *file, struct scale_campaign *campaign,
                        const struct manifest *manifest)
{
    scale_report_manifest(file, manifest);
    for (size_t r = 0; r < campaign->row_count; r++) {
        struct json_writer writer = {.file = file};
        json_writer_begin_object(&writer, NULL);
        scaling_write_row(&writer, &campaign->rows[r]);
        json_writer_end_object(&writer);
        fputc('\n', file);
    }
}

enum status scale_report_write(struct scale_campaign *campaign, const struct manifest *manifest,
                               const char *folder)
{
    static const char rows_file[] = "scale.jsonl", manifest_file[] = "manifest.json";
    FILE *file = NULL;
    TRY(result_folder_create(&file, folder, manifest_file));
    scale_report_manifest(file, manifest);
    TRY(result_folder_finish(file, folder, manifest_file));
    TRY(result_folder_create(&file, folder, rows_file));
    scale_report_lines(file, campaign, manifest);
    return result_folder_finish(file, folder, rows_file);
}
