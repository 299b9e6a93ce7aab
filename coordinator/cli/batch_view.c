/* Owns the words for batches. Promises names of JSON members that do not change within a
 * schema_version. */
#include "coordinator/cli/batch_view.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "coordinator/cli/console.h"
#include "proto/clock.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

static const char *const states[] = {"unspecified", "uploading",  "validating", "queued",
                                     "running",     "finalizing", "succeeded",  "failed",
                                     "expired",     "cancelling", "cancelled"};

enum {
    STATES = sizeof states / sizeof states[0],
    TELL_SECONDS = 10,
    DURATION_BYTES = 32,
    US_A_SECOND = 1000000
};

static const Longhaul__V1__LineCounts no_counts = LONGHAUL__V1__LINE_COUNTS__INIT;
static const Longhaul__V1__BatchUsage no_usage = LONGHAUL__V1__BATCH_USAGE__INIT;

static const Longhaul__V1__LineCounts *counts_of(const Longhaul__V1__Batch *batch)
{
    return batch->counts ? batch->counts : &no_counts;
}

static const Longhaul__V1__BatchUsage *usage_of(const Longhaul__V1__Batch *batch)
{
    return batch->usage ? batch->usage : &no_usage;
}

const char *batch_view_state(Longhaul__V1__BatchState state)
{
    return (int)state >= 0 && (int)state < STATES ? states[state] : "unknown";
}

Longhaul__V1__BatchState batch_view_state_of(const char *word)
{
    for (int i = 1; i < STATES; i++)
        if (strcmp(word, states[i]) == 0)
            return (Longhaul__V1__BatchState)i;
    return LONGHAUL__V1__BATCH_STATE__BATCH_STATE_UNSPECIFIED;
}

bool batch_view_has_ended(const Longhaul__V1__Batch *batch)
{
    switch (batch->state) {
    case LONGHAUL__V1__BATCH_STATE__BATCH_STATE_SUCCEEDED:
    case LONGHAUL__V1__BATCH_STATE__BATCH_STATE_FAILED:
    case LONGHAUL__V1__BATCH_STATE__BATCH_STATE_EXPIRED:
    case LONGHAUL__V1__BATCH_STATE__BATCH_STATE_CANCELLED:
        return true;
    default:
        return false;
    }
}

int batch_view_exit_code(const Longhaul__V1__Batch *batch)
{
    return batch->state == LONGHAUL__V1__BATCH_STATE__BATCH_STATE_SUCCEEDED &&
                   counts_of(batch)->failed == 0
               ? 0
               : 1;
}

/* "3 s", "2 min 05 s", "1 h 10 min". */
static void print_duration(char text[DURATION_BYTES], double seconds)
{
    const int64_t whole = (int64_t)(seconds + 0.5);
    if (whole < 60)
        snprintf(text, DURATION_BYTES, "%" PRId64 " s", whole);
    else if (whole < 3600)
        snprintf(text, DURATION_BYTES, "%" PRId64 " min %02d s", whole / 60, (int)(whole % 60));
    else
        snprintf(text, DURATION_BYTES, "%" PRId64 " h %02d min", whole / 3600,
                 (int)(whole % 3600 / 60));
}

/* ---- for people ---- */

/* "2026-11-30 14:05:33" in this machine's time; "-" where it has not come. */
static void print_time(char text[32], int64_t us)
{
    const time_t seconds = (time_t)(us / US_A_SECOND);
    struct tm parts;
    if (us == 0 || !localtime_r(&seconds, &parts))
        snprintf(text, 32, "-");
    else
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &parts);
}

static void show(const char *text)
{
    printable_write_line(stdout, text, strlen(text));
}

static void print_labels(const Longhaul__V1__Batch *batch)
{
    for (size_t i = 0; i < batch->n_metadata; i++) {
        fputs(i ? "            " : "metadata    ", stdout);
        show(batch->metadata[i]->key);
        fputs("=", stdout);
        show(batch->metadata[i]->value);
        fputs("\n", stdout);
    }
}

void batch_view_print(const Longhaul__V1__Batch *batch)
{
    const Longhaul__V1__LineCounts *counts = counts_of(batch);
    const Longhaul__V1__BatchUsage *usage = usage_of(batch);
    char created[32], ended[32], expires[32];
    print_time(created, batch->created_us);
    print_time(ended, batch->ended_us);
    print_time(expires, batch->expires_us);
    printf("%s  %s  %s\n", batch->name, batch_view_state(batch->state), batch->endpoint);
    printf("lines       %" PRId64 ": %" PRId64 " completed, %" PRId64 " failed, %" PRId64
           " running",
           counts->total, counts->completed, counts->failed, counts->running);
    if (counts->cancelled + counts->expired > 0)
        printf(", %" PRId64 " cancelled, %" PRId64 " expired", counts->cancelled, counts->expired);
    printf("\ntokens      %" PRId64 " of prompts: %" PRId64 " computed, %" PRId64
           " read before; %" PRId64 " of answers\n",
           usage->prompt_tokens, usage->prefilled_tokens, usage->cached_tokens,
           usage->completion_tokens);
    printf("created     %s, ended %s, expires %s\n", created, ended, expires);
    if (batch->retry_of[0])
        printf("retry of    %s\n", batch->retry_of);
    print_labels(batch);
    if (batch->error[0]) {
        fputs("error       ", stdout);
        show(batch->error);
        fputs("\n", stdout);
    }
}

/* ---- for scripts ---- */

void batch_view_write_counts(struct json_writer *writer, const Longhaul__V1__LineCounts *counts)
{
    json_writer_begin_object(writer, "counts");
    json_writer_integer(writer, "total", counts->total);
    json_writer_integer(writer, "completed", counts->completed);
    json_writer_integer(writer, "failed", counts->failed);
    json_writer_integer(writer, "cancelled", counts->cancelled);
    json_writer_integer(writer, "expired", counts->expired);
    json_writer_integer(writer, "running", counts->running);
    json_writer_end_object(writer);
}

void batch_view_write_usage(struct json_writer *writer, const Longhaul__V1__BatchUsage *usage)
{
    json_writer_begin_object(writer, "usage");
    json_writer_integer(writer, "prompt_tokens", usage->prompt_tokens);
    json_writer_integer(writer, "cached_tokens", usage->cached_tokens);
    json_writer_integer(writer, "prefilled_tokens", usage->prefilled_tokens);
    json_writer_integer(writer, "completion_tokens", usage->completion_tokens);
    json_writer_end_object(writer);
}

static void write_times(struct json_writer *writer, const Longhaul__V1__Batch *batch)
{
    const struct {
        const char *key;
        int64_t us;
    } rows[] = {
        {"created_us", batch->created_us},
        {"started_us", batch->started_us},
        {"ended_us", batch->ended_us},
        {"expires_us", batch->expires_us},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_writer_integer(writer, rows[i].key, rows[i].us);
}

void batch_view_print_json(const Longhaul__V1__Batch *batch)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "name", batch->name);
    json_writer_text(&writer, "state", batch_view_state(batch->state));
    json_writer_text(&writer, "endpoint", batch->endpoint);
    batch_view_write_counts(&writer, counts_of(batch));
    batch_view_write_usage(&writer, usage_of(batch));
    json_writer_begin_object(&writer, "metadata");
    for (size_t i = 0; i < batch->n_metadata; i++)
        json_writer_text(&writer, batch->metadata[i]->key, batch->metadata[i]->value);
    json_writer_end_object(&writer);
    json_writer_integer(&writer, "priority", batch->priority);
    write_times(&writer, batch);
    json_writer_text(&writer, "retry_of", batch->retry_of);
    json_writer_text(&writer, "error", batch->error);
    json_writer_end_object(&writer);
    putchar('\n');
    fflush(stdout);
}

/* ---- how far it is ---- */

/* What one look says. */
struct look {
    int64_t total, ended, failed;
    double tokens_per_second; /* computed ones; 0: not known yet */
    char left[64];            /* ", 3 min left" or "" */
};

static void measure(struct look *look, struct batch_progress *progress,
                    const Longhaul__V1__Batch *batch, int64_t kept)
{
    const Longhaul__V1__LineCounts *counts = counts_of(batch);
    const Longhaul__V1__BatchUsage *usage = usage_of(batch);
    const int64_t tokens = usage->prefilled_tokens + usage->completion_tokens;
    const int64_t ended = counts->completed + counts->failed + counts->cancelled + counts->expired;
    *look = (struct look){
        .total = counts->total + kept, .ended = ended + kept, .failed = counts->failed};
    const double now = clock_now_seconds();
    if (progress->begin_seconds == 0 && (counts->running > 0 || ended > 0)) {
        progress->begin_seconds = now;
        progress->begin_ended = ended;
        progress->begin_tokens = tokens;
    }
    const double passed = now - progress->begin_seconds;
    const int64_t since = ended - progress->begin_ended;
    if (progress->begin_seconds == 0 || passed < 0.5)
        return;
    look->tokens_per_second = (double)(tokens - progress->begin_tokens) / passed;
    if (since > 0 && ended < counts->total) {
        char duration[DURATION_BYTES];
        print_duration(duration, passed * (double)(counts->total - ended) / (double)since);
        snprintf(look->left, sizeof look->left, ", %s left", duration);
    }
}

static void draw(const struct look *look, const Longhaul__V1__Batch *batch)
{
    static const char bar[] = "################";
    enum { BAR = sizeof bar - 1 };
    const double share = look->total > 0 ? (double)look->ended / (double)look->total : 0;
    const int filled = (int)(share * BAR);
    char failed[48] = "", rate[48] = "", full[256], middle[160], brief[96];
    if (look->failed > 0)
        snprintf(failed, sizeof failed, ", %" PRId64 " failed", look->failed);
    if (look->tokens_per_second > 0)
        snprintf(rate, sizeof rate, ", %.0f tokens/s", look->tokens_per_second);
    snprintf(full, sizeof full, "%s [%.*s%*s] %" PRId64 " of %" PRId64 " lines%s%s%s",
             batch_view_state(batch->state), filled, bar, BAR - filled, "", look->ended,
             look->total, failed, rate, look->left);
    snprintf(middle, sizeof middle, "%" PRId64 " of %" PRId64 " lines%s%s", look->ended,
             look->total, failed, look->left);
    snprintf(brief, sizeof brief, "%.0f %%%s", 100 * share, look->left);
    console_progress_fitting((const char *const[]){full, middle, brief}, 3);
}

void batch_progress_show(struct batch_progress *progress, const Longhaul__V1__Batch *batch,
                         int64_t kept)
{
    struct look look;
    measure(&look, progress, batch, kept);
    if (console_is_live()) {
        draw(&look, batch);
        return;
    }
    const double now = clock_now_seconds();
    if (progress->told_seconds == 0)
        progress->told_seconds = now;
    if (progress->quiet || now - progress->told_seconds < TELL_SECONDS)
        return;
    progress->told_seconds = now;
    console_say("%s: %" PRId64 " of %" PRId64 " lines, %" PRId64 " failed, %.0f tokens/s%s",
                batch_view_state(batch->state), look.ended, look.total, look.failed,
                look.tokens_per_second, look.left);
}
