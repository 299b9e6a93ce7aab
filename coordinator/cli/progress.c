/* Owns the wording of progress. Promises nothing on standard error where no terminal looks on,
 * unless asked for. */
#include "coordinator/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "proto/clock.h"

/* "3 s", "2 min 05 s", "1 h 10 min". */
static void print_duration(char text[32], double seconds)
{
    int64_t whole = (int64_t)(seconds + 0.5);
    if (whole < 60)
        snprintf(text, 32, "%" PRId64 " s", whole);
    else if (whole < 3600)
        snprintf(text, 32, "%" PRId64 " min %02d s", whole / 60, (int)(whole % 60));
    else
        snprintf(text, 32, "%" PRId64 " h %02d min", whole / 3600, (int)(whole % 3600 / 60));
}

/* A line that counts the seconds, and once a line of talk where somebody wants to know all. */
static void show_waiting(struct progress *progress)
{
    char passed[32], line[64];
    if (progress->waiting_seconds == 0)
        progress->waiting_seconds = clock_now_seconds();
    if (progress->verbose && !progress->told_waiting)
        console_say("waiting for workers");
    progress->told_waiting = true;
    print_duration(passed, clock_now_seconds() - progress->waiting_seconds);
    snprintf(line, sizeof line, "waiting for workers, %s", passed);
    console_progress("%s", line);
}

void progress_queued(struct progress *progress, const Longhaul__V1__Queued *queued)
{
    char full[96], brief[48];
    if (queued->waiting_for_workers) {
        show_waiting(progress);
        return;
    }
    progress->waiting_seconds = 0;
    if (queued->ahead == 0)
        return;
    snprintf(full, sizeof full, "waiting: %" PRId64 " request%s first", queued->ahead,
             queued->ahead == 1 ? " comes" : "s come");
    snprintf(brief, sizeof brief, "%" PRId64 " first", queued->ahead);
    console_progress_fitting((const char *const[]){full, brief}, 2);
}

void progress_wait(struct progress *progress, const char *trouble)
{
    if (trouble && strcmp(trouble, "QUEUE_FULL") == 0)
        console_progress("the queue is full: waiting");
    else if (trouble || progress->waiting_seconds > 0)
        show_waiting(progress);
}

void progress_planned(struct progress *progress, const Longhaul__V1__PlanSummary *plan)
{
    progress->waiting_seconds = 0;
    if (progress->verbose && plan->text[0])
        console_show(plan->text);
}

void progress_prompt(const struct progress *progress, const Longhaul__V1__Progress *done)
{
    static const char bar[] = "################";
    enum { BAR = sizeof bar - 1 };
    (void)progress;
    if (done->tokens_total <= 0)
        return;
    double share = (double)done->tokens_done / (double)done->tokens_total;
    int filled = (int)(share * BAR);
    char passed[32] = "", left[48] = "", rate[64] = "", full[256], middle[160], brief[96];
    if (done->tokens_per_second > 0) {
        print_duration(passed,
                       (double)(done->tokens_total - done->tokens_done) / done->tokens_per_second);
        snprintf(left, sizeof left, ", %s left", passed);
        snprintf(rate, sizeof rate, ", %.0f/s", done->tokens_per_second);
    }
    snprintf(full, sizeof full, "reading [%.*s%*s] %.0f %%, %" PRId64 " of %" PRId64 " tokens%s%s",
             filled, bar, BAR - filled, "", 100 * share, done->tokens_done, done->tokens_total,
             rate, left);
    snprintf(middle, sizeof middle, "reading %.0f %% of %" PRId64 " tokens%s", 100 * share,
             done->tokens_total, left);
    snprintf(brief, sizeof brief, "%.0f %%%s", 100 * share, left);
    console_progress_fitting((const char *const[]){full, middle, brief}, 3);
}

void progress_answer(struct progress *progress, int64_t tokens, int64_t limit)
{
    if (progress->text_on_screen) {
        console_clear();
        return;
    }
    double now = clock_now_seconds();
    if (progress->begin_seconds == 0)
        progress->begin_seconds = now;
    double passed = now - progress->begin_seconds;
    char rate[48] = "", full[160], middle[96], brief[64];
    if (passed > 0.2)
        snprintf(rate, sizeof rate, ", %.1f/s", (double)(tokens - 1) / passed);
    snprintf(full, sizeof full, "answering: %" PRId64 " of at most %" PRId64 " tokens%s", tokens,
             limit, rate);
    snprintf(middle, sizeof middle, "answering: %" PRId64 " tokens%s", tokens, rate);
    snprintf(brief, sizeof brief, "%" PRId64 " tokens", tokens);
    console_progress_fitting((const char *const[]){full, middle, brief}, 3);
}

/* What of the exchange the rank that waited longest did not wait for; "" where nothing was
 * exchanged.
 */
static void print_hidden(char *text, size_t size, Longhaul__V1__RankReport *const *ranks,
                         size_t count)
{
    const Longhaul__V1__RankReport *slowest = NULL;
    text[0] = 0;
    for (size_t i = 0; i < count; i++)
        if (!slowest || ranks[i]->exchange_wait_seconds > slowest->exchange_wait_seconds)
            slowest = ranks[i];
    if (slowest && slowest->exchange_seconds > 0)
        snprintf(text, size, ", %.0f %% of the exchange hidden",
                 100 * (1 - slowest->exchange_wait_seconds / slowest->exchange_seconds));
}

#define SLOW_TIMES 1.3 /* as the coordinator's log has it */

/* Whoever took longer than its share of the plan lets expect. */
static void name_slow(Longhaul__V1__RankReport *const *ranks, size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (ranks[r]->slowness >= SLOW_TIMES)
            console_say("%sworker %d took %.1f times as long as the others for its share%s",
                        console_paint(CONSOLE_YELLOW), ranks[r]->rank, ranks[r]->slowness,
                        console_paint(CONSOLE_PLAIN));
}

void progress_finished(const struct progress *progress, const Longhaul__V1__Usage *usage,
                       const Longhaul__V1__Seconds *seconds, Longhaul__V1__RankReport *const *ranks,
                       size_t rank_count)
{
    console_clear();
    if (!usage || !seconds || !progress->rates)
        return;
    char decode[96] = "", drafted[64] = "", hidden[64], cached[48] = "";
    print_hidden(hidden, sizeof hidden, ranks, rank_count);
    int64_t steps = usage->completion_tokens - 1;
    if (steps > 0 && seconds->decode > 0)
        snprintf(decode, sizeof decode, "; answer %" PRId64 " tokens, %.1f tokens/s",
                 usage->completion_tokens, (double)steps / seconds->decode);
    if (usage->drafted_tokens > 0)
        snprintf(drafted, sizeof drafted, ", %" PRId64 " of %" PRId64 " guesses right",
                 usage->accepted_tokens, usage->drafted_tokens);
    if (usage->cached_tokens > 0)
        snprintf(cached, sizeof cached, ", %" PRId64 " of them read before", usage->cached_tokens);
    double rate = seconds->prefill > 0 ? (double)usage->prefilled_tokens / seconds->prefill : 0;
    console_say("%sload %.1f s; prompt %" PRId64 " tokens%s in %.1f s, %.0f tokens/s%s%s%s%s",
                console_paint(CONSOLE_DIM), seconds->load, usage->prompt_tokens, cached,
                seconds->prefill, rate, hidden, decode, drafted, console_paint(CONSOLE_PLAIN));
    name_slow(ranks, rank_count);
}
