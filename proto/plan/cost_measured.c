/* Owns nothing: which row is taken, and how it is stretched. */
#include "proto/plan/cost_measured.h"

#include <string.h>

static double ratio(int a, int b)
{
    return a > b ? (double)a / b : (double)b / a;
}

static const struct cost_measured_row *nearest(const struct cost_measured *measured, int threads)
{
    const struct cost_measured_row *best = &measured->rows[0];
    for (int r = 1; r < measured->count; r++)
        if (ratio(measured->rows[r].threads, threads) < ratio(best->threads, threads))
            best = &measured->rows[r];
    return best;
}

bool cost_measured_table(struct cost_table *table, const struct cost_measured *measured,
                         const char *kernels, int threads)
{
    if (measured->count == 0 || strcmp(measured->kernels, kernels) != 0)
        return false;
    const int counted = threads > 0 ? threads : 1;
    const struct cost_measured_row *row = nearest(measured, counted);
    const struct cost_table standard = cost_table_default();
    const double more = (double)counted / row->threads;
    struct cost_table made = row->table;
    made.linear_flops *= more;
    made.attention_flops *= more;
    made.within = measured->within.bytes_per_second > 0 ? measured->within : standard.within;
    made.between = measured->between.bytes_per_second > 0 ? measured->between : standard.between;
    *table = made;
    return true;
}
