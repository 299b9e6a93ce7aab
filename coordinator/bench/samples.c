/* Owns the samples. Promises that what is told of them follows from the raw values that are told
 * beside it. */
#include "coordinator/bench/samples.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_writer.h"

enum status samples_add(struct samples *samples, double value)
{
    if (!isfinite(value))
        return fail(STATUS_INTERNAL, "a measurement is no number: %g", value);
    if (samples->count == samples->room) {
        const size_t room = samples->room ? 2 * samples->room : 16;
        double *values = reallocarray(samples->values, room, sizeof *values);
        if (values)
            samples->values = values;
        double *sorted = reallocarray(samples->sorted, room, sizeof *sorted);
        if (sorted)
            samples->sorted = sorted;
        if (!values || !sorted)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu samples", room);
        samples->room = room;
    }
    samples->values[samples->count++] = value;
    samples->in_order = false;
    return STATUS_OK;
}

void samples_deinit(struct samples *samples)
{
    free(samples->values);
    free(samples->sorted);
    *samples = (struct samples){.values = NULL};
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void put_in_order(struct samples *samples)
{
    if (samples->in_order || samples->count == 0)
        return;
    memcpy(samples->sorted, samples->values, samples->count * sizeof *samples->sorted);
    qsort(samples->sorted, samples->count, sizeof *samples->sorted, ascending);
    samples->in_order = true;
}

double samples_percentile(struct samples *samples, double percent)
{
    assert(percent >= 0 && percent <= 100);
    if (samples->count == 0)
        return 0;
    put_in_order(samples);
    const double place = percent / 100 * (double)(samples->count - 1);
    const size_t below = (size_t)place;
    if (below + 1 >= samples->count)
        return samples->sorted[samples->count - 1];
    const double low = samples->sorted[below], high = samples->sorted[below + 1];
    return low + (high - low) * (place - (double)below);
}

struct samples_summary samples_summarise(struct samples *samples)
{
    struct samples_summary summary = {.count = samples->count};
    if (samples->count == 0)
        return summary;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < samples->count; i++)
        sum += samples->values[i];
    summary.mean = sum / (double)samples->count;
    for (size_t i = 0; i < samples->count; i++) {
        const double off = samples->values[i] - summary.mean;
        squares += off * off;
    }
    if (samples->count > 1)
        summary.deviation = sqrt(squares / (double)(samples->count - 1));
    summary.median = samples_percentile(samples, 50);
    summary.least = samples->sorted[0];
    summary.most = samples->sorted[samples->count - 1];
    return summary;
}

void samples_write(struct json_writer *writer, const char *key, struct samples *samples)
{
    const struct samples_summary summary = samples_summarise(samples);
    json_writer_begin_object(writer, key);
    json_writer_integer(writer, "count", (int64_t)summary.count);
    json_writer_real(writer, "mean", summary.mean);
    json_writer_real(writer, "median", summary.median);
    json_writer_real(writer, "deviation", summary.deviation);
    json_writer_real(writer, "least", summary.least);
    json_writer_real(writer, "most", summary.most);
    json_writer_begin_array(writer, "samples");
    for (size_t i = 0; i < samples->count; i++)
        json_writer_real(writer, NULL, samples->values[i]);
    json_writer_end_array(writer);
    json_writer_end_object(writer);
}
