/* Owns nothing: the last token's sight, from the regimes that workers go by. */
#include "proto/plan/sight_view.h"

#include "kernels/regimes.h"

/* Extremes of a frame's positions over the indices [first, end), which are not none. */
static void positions_of(const struct bands_frame *frame, int64_t first, int64_t end, double *least,
                         double *most)
{
    int64_t low = first, high = end - 1; /* without a modulo positions never fall */
    if (frame->modulo > 0 && low / frame->modulo != high / frame->modulo) {
        low = 0; /* they turn over within the range */
        high = frame->modulo - 1;
    }
    *least = bands_position(frame, low);
    *most = bands_position(frame, high);
}

/* Whether `query` sees any key so. */
static bool see(struct sight_view_row *row, const struct bands *bands, const struct regime *regime,
                int64_t query)
{
    struct regime_part part;
    regime_part(&part, regime, query);
    if (query < part.query_first || query >= part.query_end)
        return false;
    const int64_t back = part.distance_end > query ? 0 : query - part.distance_end + 1;
    *row = (struct sight_view_row){
        .keys_first = regime->key_first,
        .keys_end = regime->key_end,
        .unit = regime->unit,
        .distance_first = regime->distance_first,
        .distance_end = regime->distance_end,
        .query_frame = regime->query_frame,
        .key_frame = regime->key_frame,
        .seen_first = regimes_larger(part.key_first, back),
        .seen_end = regimes_smaller(part.key_end, query - part.distance_first + 1),
    };
    if (row->seen_first >= row->seen_end)
        return false;
    double low, high;
    const double at = bands_position(&bands->query_frame[row->query_frame], query);
    positions_of(&bands->key_frame[row->key_frame], row->seen_first, row->seen_end, &low, &high);
    row->least = at - high;
    row->most = at - low;
    return true;
}

void sight_view_make(struct sight_view *view, const struct bands *bands, int64_t tokens)
{
    struct regimes regimes;
    regimes_make(&regimes, bands);
    *view = (struct sight_view){.keeps_sinks = regimes_far_sinks(&regimes, tokens)};
    for (int r = 0; r < regimes.count; r++)
        view->count += see(&view->rows[view->count], bands, &regimes.list[r], tokens - 1);
}
