/* Owns the file of losses and the line on the terminal. */
#include "worker/trainer/step_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/json_writer.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 512 };

static enum status failed(const char *what, const char *path)
{
    return fail(STATUS_IO, "%s %s: %s", what, path, strerror(errno));
}

/* Bytes of the lines that tell of the steps up to `done`; a line that was cut off ends them. */
static long kept_bytes(FILE *file, int64_t done)
{
    char line[LINE_BYTES];
    long kept = 0;
    long long step;
    while (fgets(line, sizeof line, file) && strchr(line, '\n') &&
           sscanf(line, "{\"step\": %lld,", &step) == 1 && step <= done)
        kept = ftell(file);
    return kept;
}

enum status step_report_open(struct step_report *report, const char *folder, int64_t done,
                             int64_t steps, bool json)
{
    char path[PATH_BYTES];
    *report = (struct step_report){
        .steps = steps,
        .json = json,
        .rewrites = !json && isatty(STDERR_FILENO),
        .begun_step = done,
    };
    if ((size_t)snprintf(path, sizeof path, "%s/losses.jsonl", folder) >= sizeof path)
        return fail(STATUS_INVALID_ARGUMENT, "the path of %s is too long", folder);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return failed("make", folder);
    report->losses = fopen(path, "a+e");
    if (!report->losses)
        return failed("open", path);
    rewind(report->losses);
    if (ftruncate(fileno(report->losses), kept_bytes(report->losses, done)) != 0)
        return failed("cut", path);
    return STATUS_OK;
}

static void write_json(FILE *file, const struct step_facts *facts)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "step", facts->step);
    json_writer_real(&writer, "loss", facts->loss);
    json_writer_real(&writer, "grad_norm", facts->grad_norm);
    json_writer_real(&writer, "learning_rate", facts->learning_rate);
    json_writer_integer(&writer, "tokens", facts->tokens);
    json_writer_real(&writer, "seconds", facts->seconds);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

/* "3 h 12 min", "4 min", "20 s" */
static void spell_seconds(char text[32], double seconds)
{
    if (seconds >= 3600)
        snprintf(text, 32, "%.0f h %02d min", (double)(int)(seconds / 3600),
                 (int)(seconds / 60) % 60);
    else if (seconds >= 60)
        snprintf(text, 32, "%.0f min", seconds / 60);
    else
        snprintf(text, 32, "%.0f s", seconds);
}

static void write_line(const struct step_report *report, const struct step_facts *facts)
{
    char left[32];
    FILE *file = report->rewrites ? stderr : stdout;
    const double a_step = report->seconds / (double)(facts->step - report->begun_step);
    spell_seconds(left, a_step * (double)(report->steps - facts->step));
    fprintf(file, "%sstep %lld of %lld  loss %.4f  norm %.3g  rate %.3g  %.0f tokens/s  %s left%s",
            report->rewrites ? "\r\033[K" : "", (long long)facts->step, (long long)report->steps,
            facts->loss, facts->grad_norm, facts->learning_rate,
            report->seconds > 0 ? report->tokens / report->seconds : 0, left,
            report->rewrites && facts->step < report->steps ? "" : "\n");
    fflush(file);
}

enum status step_report_write(struct step_report *report, const struct step_facts *facts)
{
    report->tokens += (double)facts->tokens;
    report->seconds += facts->seconds;
    write_json(report->losses, facts);
    if (fflush(report->losses) != 0)
        return failed("write", "losses.jsonl");
    if (report->json)
        write_json(stdout, facts);
    else
        write_line(report, facts);
    if (report->json && fflush(stdout) != 0)
        return failed("write", "standard output");
    return STATUS_OK;
}

void step_report_close(struct step_report *report)
{
    if (report->losses)
        fclose(report->losses);
    report->losses = NULL;
}
