/* Owns the sums over samples. Promises that they follow from the two files alone. */
#include "coordinator/recipe/token_impact.h"

#include <math.h>
#include <stdlib.h>

#include "proto/train/sample_file.h"

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

float token_impact_least(const struct scores *scores, double top, float *room)
{
    const int64_t count = scores->count - 1;
    if (count == 0)
        return 0;
    for (int64_t t = 0; t < count; t++)
        room[t] = scores->after[t + 1] - scores->before[t + 1];
    qsort(room, (size_t)count, sizeof *room, descending);
    return room[(int64_t)ceil(top * (double)count) - 1];
}

static void add_sample(struct token_impact *impact, const struct sample *sample,
                       const struct scores *scores, float least)
{
    for (int64_t t = 1; t < sample->count; t++) {
        struct token_impact_row *row = &impact->rows[sample->ids[t]];
        const float difference = scores->after[t] - scores->before[t];
        row->occurrences++;
        row->in_top += difference >= least;
        row->difference += (double)difference;
    }
}

static enum status add_samples(struct token_impact *impact, const struct record_file *samples,
                               const struct record_file *scores, double top)
{
    float *room = malloc((size_t)samples->longest * sizeof *room);
    enum status status = room ? STATUS_OK
                              : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld scores",
                                     (long long)samples->longest);
    for (int64_t n = 0; status == STATUS_OK && n < samples->count; n++) {
        struct sample sample;
        struct scores of_sample;
        TRY_ELSE(sample_file_read(samples, &sample, n), free_room);
        TRY_ELSE(score_file_read(scores, &of_sample, n), free_room);
        if (of_sample.count != sample.count)
            status = fail(STATUS_INVALID_ARGUMENT,
                          "%s: record %lld has %lld tokens, the sample in %s has %lld",
                          scores->name, (long long)n, (long long)of_sample.count, samples->name,
                          (long long)sample.count);
        else
            add_sample(impact, &sample, &of_sample, token_impact_least(&of_sample, top, room));
    }
free_room:
    free(room);
    return status;
}

enum status token_impact_init(struct token_impact *impact, const struct record_file *samples,
                              const struct record_file *scores, double top)
{
    struct token_impact made = {.vocab = samples->vocab};
    if (scores->count != samples->count || scores->vocab != samples->vocab)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s has %lld records of a vocabulary of %lld, %s has %lld of %lld: they do not "
                    "belong together",
                    scores->name, (long long)scores->count, (long long)scores->vocab, samples->name,
                    (long long)samples->count, (long long)samples->vocab);
    made.rows = calloc((size_t)made.vocab + 1, sizeof *made.rows);
    if (!made.rows)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the impact of %lld tokens",
                    (long long)made.vocab);
    const enum status status = add_samples(&made, samples, scores, top);
    if (status == STATUS_OK)
        *impact = made;
    else
        token_impact_deinit(&made);
    return status;
}

void token_impact_deinit(struct token_impact *impact)
{
    free(impact->rows);
    *impact = (struct token_impact){0};
}

bool token_impact_is_impactful(const struct token_impact_row *row, double share)
{
    return row->occurrences > 0 && (double)row->in_top >= share * (double)row->occurrences;
}
