/* Owns the measure of steps, and what follows from it. */
#include "worker/engine/draft_pace.h"

/* How much a new measurement counts against those before it: of a step without drafts much, since
 * the answers at hand may be of other lengths than those before. Once in so many steps nothing is
 * drafted, so that what a step takes without is known of the present. */
static const double NEWEST_BASE = 0.5, NEWEST_SHARE = 0.125;
enum { LOOK_STEPS = 32 };

/* Until it was measured: of a row's weights little is read anew, of its arithmetic all. */
static const double ROW_SHARE = 0.25, ROW_SHARE_LEAST = 0.01, ROW_SHARE_MOST = 1;

static void follow(double *known, double measured, double newest)
{
    *known += newest * (measured - *known);
}

void draft_pace_note(struct draft_pace *pace, int64_t rows, int64_t drafted, double seconds)
{
    const double others = (double)(rows - 1);
    if (pace->base_seconds <= 0) {
        pace->row_share = ROW_SHARE;
        pace->base_seconds = seconds / (1 + ROW_SHARE * others);
    }
    pace->steps = drafted > 0 ? pace->steps + 1 : 0;
    if (drafted == 0) {
        follow(&pace->base_seconds, seconds / (1 + pace->row_share * others), NEWEST_BASE);
        return;
    }
    follow(&pace->row_share, (seconds / pace->base_seconds - 1) / others, NEWEST_SHARE);
    if (pace->row_share < ROW_SHARE_LEAST)
        pace->row_share = ROW_SHARE_LEAST;
    if (pace->row_share > ROW_SHARE_MOST)
        pace->row_share = ROW_SHARE_MOST;
}

int64_t draft_pace_length(const struct draft_pace *pace, const struct draft *draft, int64_t rows,
                          int64_t most)
{
    if (pace->base_seconds <= 0 || pace->steps >= LOOK_STEPS)
        return 0;
    double tokens = 1, chance = 1, seconds = 1 + pace->row_share * (double)(rows - 1);
    double best = 1 / seconds;
    int64_t length = 0;
    for (int64_t d = 1; d <= most; d++) {
        chance *= draft_chance(draft, d);
        tokens += chance;
        seconds += pace->row_share;
        if (tokens / seconds > best) {
            best = tokens / seconds;
            length = d;
        }
    }
    return length;
}
