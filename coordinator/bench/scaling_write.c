/* Owns the names of the members. */
#include "coordinator/bench/scaling_write.h"

#include "proto/json_writer.h"

/* What a row is of: by these members rows of two results are the same one. */
static void write_case(struct json_writer *writer, const struct scaling_row *row)
{
    json_writer_text(writer, "mode", row->weak ? "weak" : "strong");
    json_writer_text(writer, "method", row->method);
    json_writer_integer(writer, "nodes", row->nodes);
    json_writer_integer(writer, "workers", row->workers);
    json_writer_integer(writer, "prompt_tokens", row->prompt_tokens);
}

/* `runs` figures are added up in the rank. */
static void write_rank(struct json_writer *writer, int number, const struct scaling_rank *rank,
                       double runs)
{
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "rank", number);
    json_writer_text(writer, "host", rank->host);
    json_writer_integer(writer, "threads", rank->threads);
    json_writer_real(writer, "sent_bytes", (double)rank->sent_bytes / runs);
    json_writer_real(writer, "predicted_sent_bytes", (double)rank->predicted_sent_bytes / runs);
    json_writer_real(writer, "cpu_seconds", rank->cpu_seconds / runs);
    json_writer_real(writer, "wait_seconds", rank->wait_seconds / runs);
    json_writer_real(writer, "voluntary_switches", (double)rank->voluntary_switches / runs);
    json_writer_real(writer, "involuntary_switches", (double)rank->involuntary_switches / runs);
    json_writer_end_object(writer);
}

static void write_ranks(struct json_writer *writer, const struct scaling_rank *ranks, int workers,
                        double runs)
{
    json_writer_begin_array(writer, "ranks");
    for (int rank = 0; rank < workers; rank++)
        write_rank(writer, rank, &ranks[rank], runs);
    json_writer_end_array(writer);
}

static void write_flags(struct json_writer *writer, struct scaling_row *row)
{
    bool known;
    const bool busy = scaling_busy(row, &known);
    json_writer_boolean(writer, "cores_shared", row->shared);
    json_writer_boolean(writer, "runs_differ", row->differs);
    if (known)
        json_writer_boolean(writer, "machine_busy", busy);
    else
        json_writer_null(writer, "machine_busy");
    samples_write(writer, "other_cores", &row->other_cores);
}

void scaling_write_row(struct json_writer *writer, struct scaling_row *row)
{
    write_case(writer, row);
    json_writer_integer(writer, "cores", row->cores);
    json_writer_integer(writer, "threads", row->threads);
    json_writer_real(writer, "tokens_per_second", scaling_tokens_per_second(row));
    json_writer_real(writer, "efficiency", row->efficiency);
    json_writer_integer(writer, "sent_bytes", row->sent_bytes);
    json_writer_integer(writer, "predicted_sent_bytes", row->predicted_sent_bytes);
    json_writer_real(writer, "seconds", scaling_seconds(row));
    json_writer_real(writer, "predicted_seconds", row->predicted_seconds);
    json_writer_real(writer, "flops", row->flops);
    json_writer_real(writer, "communication_share", samples_summarise(&row->waits).median);
    json_writer_real(writer, "bus_bytes_per_second", scaling_bus_rate(row));
    write_flags(writer, row);
    samples_write(writer, "seconds_samples", &row->seconds);
    samples_write(writer, "efficiency_samples", &row->efficiencies);
    write_ranks(writer, row->ranks, row->workers, (double)row->seconds.count);
}

void scaling_write_run(struct json_writer *writer, const struct scaling_row *row,
                       const struct scaling_run *run, int64_t repetition)
{
    json_writer_integer(writer, "repetition", repetition);
    write_case(writer, row);
    json_writer_real(writer, "seconds", run->seconds);
    json_writer_real(writer, "predicted_seconds", run->predicted_seconds);
    json_writer_real(writer, "flops", run->flops);
    write_ranks(writer, run->ranks, row->workers, 1);
}
