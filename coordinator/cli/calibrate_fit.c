/* Owns nothing: sums and 2 x 2 systems. */
#include "coordinator/cli/calibrate_fit.h"

#include <math.h>
#include <stdlib.h>

/* Least squares of y = a x + b z, each error as a share of its y. */
struct normal {
    double xx, xz, zz, xy, zy;
};

static void add(struct normal *sums, double x, double z, double y)
{
    if (y <= 0)
        return;
    x /= y;
    z /= y;
    sums->xx += x * x;
    sums->xz += x * z;
    sums->zz += z * z;
    sums->xy += x;
    sums->zy += z;
}

/* The best pair of which none is below 0; a alone where the samples cannot tell them apart. False
 * where there are no samples. */
static bool solve(double *a, double *b, const struct normal *sums)
{
    const double determinant = sums->xx * sums->zz - sums->xz * sums->xz;
    *a = *b = 0;
    if (sums->xx <= 0)
        return false;
    if (determinant > 1e-9 * sums->xx * sums->zz) {
        *a = (sums->xy * sums->zz - sums->zy * sums->xz) / determinant;
        *b = (sums->zy * sums->xx - sums->xy * sums->xz) / determinant;
    }
    if (*a > 0 && *b >= 0)
        return true;
    *a = sums->xy / sums->xx;
    *b = 0;
    return *a > 0;
}

static int ascending(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, ascending);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static enum status missing(const char *what)
{
    return fail(STATUS_INVALID_ARGUMENT,
                "the workers told nothing of their %s: rates are measured on CPUs, with prompts of "
                "several lengths",
                what);
}

static enum status fit_prefill(struct cost_table *table, const struct calibrate_prefill *samples,
                               size_t count, double *values)
{
    struct normal rows = {0}, attention = {0}, logits = {0};
    double a, b;
    for (size_t s = 0; s < count; s++) {
        const struct calibrate_prefill *one = &samples[s];
        add(&rows, one->rows_flops, one->layers, one->rows_s);
        add(&attention, one->pair_flops, one->edge_flops, one->attend_s);
        if (one->logits_flops > 0)
            add(&logits, one->logits_flops, 0, one->logits_s);
        values[s] = one->stages > 0 && one->beside_s > 0 ? one->beside_s / one->stages : 0;
    }
    if (!solve(&a, &b, &rows))
        return missing("products");
    table->linear_flops = 1 / a;
    table->layer_s = b;
    if (!solve(&a, &b, &attention))
        return missing("attention");
    table->attention_flops = 1 / a;
    table->edge_keys = b / a;
    if (!solve(&a, &b, &logits))
        return missing("logits");
    table->logits_flops = 1 / a;
    table->stage_s = median(values, count);
    return STATUS_OK;
}

static enum status fit_decode(struct cost_table *table, const struct calibrate_decode *samples,
                              size_t count, double *values)
{
    struct normal weights = {0}, keys = {0};
    double a, b;
    for (size_t s = 0; s < count; s++) {
        add(&weights, samples[s].weights_bytes, 0, samples[s].weights_s);
        add(&keys, samples[s].keys_bytes, 1, samples[s].keys_s);
    }
    if (!solve(&a, &b, &weights))
        return missing("decoded tokens");
    table->memory_bytes = 1 / a;
    if (!solve(&a, &b, &keys))
        return missing("decoded tokens' attention");
    table->keys_bytes = 1 / a;
    for (size_t s = 0; s < count; s++)
        values[s] = fmax(samples[s].token_s - samples[s].weights_bytes / table->memory_bytes -
                             samples[s].keys_bytes / table->keys_bytes,
                         0);
    table->token_s = median(values, count);
    return STATUS_OK;
}

enum status calibrate_fit(struct cost_table *table, const struct calibrate_prefill *prefills,
                          size_t prefill_count, const struct calibrate_decode *decodes,
                          size_t decode_count)
{
    struct cost_table made = *table;
    const size_t most = prefill_count > decode_count ? prefill_count : decode_count;
    double *values = calloc(most + 1, sizeof *values);
    if (!values)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to compare %zu samples", most);
    enum status status = fit_prefill(&made, prefills, prefill_count, values);
    if (status == STATUS_OK)
        status = fit_decode(&made, decodes, decode_count, values);
    free(values);
    if (status == STATUS_OK)
        *table = made;
    return status;
}
