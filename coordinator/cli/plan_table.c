/* Owns the layout of the plan's tables. Promises columns that stay readable for any number of
 * workers: memory is shown for the first few. */
#include "coordinator/cli/plan_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/plan_report.h"
#include "coordinator/cli/sight_drawing.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

enum { MEMORY_COLUMNS = 6, AMOUNT_BYTES = 32 };

/* "1.5 GB", "234.1 MB", "12.0 kB". */
static const char *amount(char text[AMOUNT_BYTES], int64_t bytes)
{
    double value = (double)bytes;
    if (value >= 1e9)
        snprintf(text, AMOUNT_BYTES, "%.2f GB", value / 1e9);
    else if (value >= 1e6)
        snprintf(text, AMOUNT_BYTES, "%.1f MB", value / 1e6);
    else if (value >= 1e3)
        snprintf(text, AMOUNT_BYTES, "%.1f kB", value / 1e3);
    else
        snprintf(text, AMOUNT_BYTES, "%" PRId64 " B", bytes);
    return text;
}

static void print_workers(const Longhaul__V1__PlanResponse *plan)
{
    printf("\n%-8s %10s %12s %12s %10s %12s\n", "worker", "tokens", "sends", "receives", "TFLOP",
           "memory");
    for (size_t i = 0; i < plan->n_ranks; i++) {
        const Longhaul__V1__RankPlan *rank = plan->ranks[i];
        char sent[AMOUNT_BYTES], received[AMOUNT_BYTES], memory[AMOUNT_BYTES];
        printf("%-8d %10" PRId64 " %12s %12s %10.3f %12s\n", rank->rank, rank->prompt_tokens,
               amount(sent, rank->sent_bytes), amount(received, rank->received_bytes),
               rank->flops / 1e12, amount(memory, rank->memory_bytes));
    }
}

static void print_memory(const Longhaul__V1__PlanResponse *plan)
{
    size_t columns = plan->n_ranks < MEMORY_COLUMNS ? plan->n_ranks : MEMORY_COLUMNS;
    if (columns == 0)
        return;
    printf("\n%-24s", "memory of worker");
    for (size_t i = 0; i < columns; i++)
        printf(" %11d", plan->ranks[i]->rank);
    putchar('\n');
    for (size_t line = 0; line < plan->ranks[0]->n_memory; line++) {
        char name[64];
        snprintf(name, sizeof name, "%s", plan->ranks[0]->memory[line]->name);
        printable_mask_line(name, strlen(name));
        printf("  %-22s", name);
        for (size_t i = 0; i < columns; i++) {
            char text[AMOUNT_BYTES];
            const Longhaul__V1__RankPlan *rank = plan->ranks[i];
            int64_t bytes = line < rank->n_memory ? rank->memory[line]->bytes : 0;
            printf(" %11s", amount(text, bytes));
        }
        putchar('\n');
    }
}

void plan_table_print(const Longhaul__V1__PlanResponse *plan)
{
    if (plan->summary) {
        printable_write_text(stdout, plan->summary->text, strlen(plan->summary->text));
        putchar('\n');
    }
    for (size_t reason = 0; reason < plan->n_reasons; reason++) {
        fputs("  ", stdout);
        printable_write_text(stdout, plan->reasons[reason], strlen(plan->reasons[reason]));
        putchar('\n');
    }
    if (plan->summary)
        sight_drawing_print(stdout, plan->summary->method, plan->summary->context_tokens);
    print_workers(plan);
    print_memory(plan);
}

static void rank_json(struct json_writer *writer, const Longhaul__V1__RankPlan *rank)
{
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "rank", rank->rank);
    json_writer_integer(writer, "prompt_tokens", rank->prompt_tokens);
    json_writer_integer(writer, "sent_bytes", rank->sent_bytes);
    json_writer_integer(writer, "received_bytes", rank->received_bytes);
    json_writer_real(writer, "flops", rank->flops);
    json_writer_integer(writer, "memory_bytes", rank->memory_bytes);
    json_writer_integer(writer, "cache_bytes", rank->cache_bytes);
    json_writer_begin_object(writer, "memory");
    for (size_t line = 0; line < rank->n_memory; line++)
        json_writer_integer(writer, rank->memory[line]->name, rank->memory[line]->bytes);
    json_writer_end_object(writer);
    json_writer_end_object(writer);
}

void plan_table_print_json(const Longhaul__V1__PlanResponse *plan)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    plan_report_json(&writer, plan->summary);
    if (plan->summary)
        sight_drawing_json(&writer, plan->summary->method, plan->summary->context_tokens);
    json_writer_begin_array(&writer, "reasons");
    for (size_t reason = 0; reason < plan->n_reasons; reason++)
        json_writer_text(&writer, NULL, plan->reasons[reason]);
    json_writer_end_array(&writer);
    json_writer_begin_array(&writer, "ranks");
    for (size_t i = 0; i < plan->n_ranks; i++)
        rank_json(&writer, plan->ranks[i]);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    putchar('\n');
}
