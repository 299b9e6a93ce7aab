/* Owns the step from measured speeds to weights. Promises to be slow to change them: what slows a
 * worker down in some of its prompts changes nothing. */
#include "coordinator/worker_speeds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 16, PARTS_CHANGED = 2 };

/* Of every worker, and long enough. */
static bool is_measured(const struct worker_speeds_run *run)
{
    double longest = 0;
    for (int r = 0; r < run->count; r++) {
        if (run->seconds[r] <= 0 || run->flops[r] <= 0)
            return false;
        longest = fmax(longest, run->seconds[r]);
    }
    return longest >= WORKER_SPEEDS_MEASURED_S;
}

void worker_speeds_note(struct worker_speed *speeds, const struct worker_speeds_run *run)
{
    if (!is_measured(run))
        return;
    for (int r = 0; r < run->count; r++) {
        double *shown = speeds[r].shown;
        memmove(shown + 1, shown, (WORKER_SPEEDS_PROMPTS - 1) * sizeof *shown);
        shown[0] = run->flops[r] / run->seconds[r];
    }
}

/* ---- weights ---- */

static uint8_t parts_of(const struct partition_weights *weights, int rank)
{
    return weights->count > 0 ? weights->parts[rank] : PARTS;
}

/* 0 before it has read enough prompts. */
static double best_of(const struct worker_speed *speed)
{
    double best = 0;
    for (int p = 0; p < WORKER_SPEEDS_PROMPTS; p++)
        best = fmax(best, speed->shown[p]);
    return speed->shown[WORKER_SPEEDS_PROMPTS - 1] > 0 ? best : 0;
}

void worker_speeds_weigh(struct partition_weights *weights, const struct worker_speed *speeds,
                         int count)
{
    struct partition_weights found = {.count = count};
    double fastest = 0, slowest = INFINITY;
    bool changed = false;
    for (int r = 0; r < count; r++) {
        fastest = fmax(fastest, best_of(&speeds[r]));
        slowest = fmin(slowest, best_of(&speeds[r]));
    }
    if (slowest <= 0)
        return;
    const bool even = slowest * WORKER_SPEEDS_SLOW > fastest;
    for (int r = 0; r < count; r++) {
        const double share = even ? 1 : best_of(&speeds[r]) / fastest;
        found.parts[r] = (uint8_t)fmax(1, round(PARTS * share));
        changed |= abs(found.parts[r] - parts_of(weights, r)) >= PARTS_CHANGED;
    }
    if (!changed)
        return;
    if (!partition_weights_differ(&found))
        found.count = 0;
    *weights = found;
}

/* ---- who is slow ---- */

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Seconds for the FLOPs of an even share, were the worker as fast as its weight says. */
static double pace_of(const struct worker_speeds_run *run, const struct partition_weights *weights,
                      int rank)
{
    const int worker = rank / (run->places > 1 ? run->places : 1);
    return run->seconds[rank] / run->flops[rank] * partition_weights_share(weights, worker);
}

void worker_speeds_slowness(double *slowness, const struct worker_speeds_run *run,
                            const struct partition_weights *weights)
{
    const int count = run->count;
    memset(slowness, 0, (size_t)count * sizeof *slowness);
    double *sorted = calloc((size_t)count, sizeof *sorted);
    if (sorted && count > 1 && is_measured(run)) {
        for (int r = 0; r < count; r++)
            sorted[r] = pace_of(run, weights, r);
        qsort(sorted, (size_t)count, sizeof *sorted, compare);
        for (int r = 0; r < count; r++) {
            const double own = pace_of(run, weights, r);
            /* The middle of the others: of all but this one. */
            const int middle = (count - 2) / 2;
            const double others = own <= sorted[middle] ? sorted[middle + 1] : sorted[middle];
            slowness[r] = own / others;
        }
    }
    free(sorted);
}

/* ---- given ones ---- */

enum status worker_speeds_read(struct partition_weights *weights, const char *text, int workers)
{
    struct partition_weights read = {.count = 0};
    if (strcmp(text, "auto") == 0)
        return STATUS_OK;
    for (const char *at = text; strcmp(text, "even") != 0;) {
        char *end;
        const long part = strtol(at, &end, 10);
        if (end == at || part < 1 || part > UINT8_MAX || read.count == PARTITION_WEIGHTS_MAX ||
            (*end != ',' && *end))
            return fail(
                STATUS_INVALID_ARGUMENT,
                "--weights %.40s: give auto, even, or a whole number from 1 to 255 for each "
                "worker, such as 2,1",
                text);
        read.parts[read.count++] = (uint8_t)part;
        if (!*end)
            break;
        at = end + 1;
    }
    if (read.count > 0 && workers > 0 && read.count != workers)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--weights %.40s: these are %d, and there are %d workers", text, read.count,
                    workers);
    *weights = read;
    return STATUS_OK;
}
