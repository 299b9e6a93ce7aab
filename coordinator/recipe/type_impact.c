/* Owns the way back from a document's token to its place in the samples. */
#include "coordinator/recipe/type_impact.h"

#include <stdbool.h>
#include <stdlib.h>

#include "coordinator/recipe/packing.h"
#include "proto/train/sample_file.h"
#include "proto/train/score_file.h"

struct walk {
    const struct type_impact_args *args;
    struct type_impact *impact;
    struct tagger_output *tags;
    int64_t *documents; /* in the order in which they were packed */
    int64_t *places;    /* [samples]: of the packed ones in the file */
    float *least;       /* [samples]: the top of each in the file begins there */
    int8_t *types;      /* of one document */
    size_t types_room;
    int64_t number; /* of the next token among all that were packed */
    int64_t place;  /* of the sample that it is in */
    struct sample sample;
    struct scores scores;
};

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the impact of types");
}

/* The file's sample n is the packed one order[n]. */
static enum status find_places(struct walk *walk, int64_t samples)
{
    int64_t *order = malloc((size_t)samples * sizeof *order);
    walk->places = malloc((size_t)samples * sizeof *walk->places);
    if (order && walk->places) {
        packing_sample_order(order, samples, walk->args->seed);
        for (int64_t n = 0; n < samples; n++)
            walk->places[order[n]] = n;
    }
    const bool made = order && walk->places;
    free(order);
    return made ? STATUS_OK : no_memory();
}

static enum status find_tops(struct walk *walk)
{
    const struct record_file *samples = walk->args->samples;
    float *room = malloc((size_t)samples->longest * sizeof *room);
    walk->least = malloc((size_t)samples->count * sizeof *walk->least);
    enum status status = room && walk->least ? STATUS_OK : no_memory();
    for (int64_t n = 0; status == STATUS_OK && n < samples->count; n++) {
        struct scores scores;
        status = score_file_read(walk->args->scores, &scores, n);
        if (status == STATUS_OK)
            walk->least[n] = token_impact_least(&scores, walk->args->top, room);
    }
    free(room);
    return status;
}

/* ---- documents ---- */

/* The next packed sample, which the coming tokens are of. */
static enum status enter_sample(struct walk *walk, int64_t packed)
{
    const struct record_file *samples = walk->args->samples;
    walk->place = walk->places[packed];
    TRY(sample_file_read(samples, &walk->sample, walk->place));
    TRY(score_file_read(walk->args->scores, &walk->scores, walk->place));
    if (walk->sample.count != samples->longest || walk->scores.count != samples->longest)
        return fail(STATUS_INVALID_ARGUMENT, "%s: samples of several lengths are not of documents",
                    samples->name);
    return STATUS_OK;
}

static enum status add_token(struct walk *walk, int32_t id, int type)
{
    const int64_t t = walk->number % walk->args->samples->longest;
    if (t == 0)
        TRY(enter_sample(walk, walk->number / walk->args->samples->longest));
    if (walk->sample.ids[t] != id)
        return fail(STATUS_INVALID_ARGUMENT, "%s: sample %lld is not of these documents",
                    walk->args->samples->name, (long long)walk->place);
    walk->number++;
    if (t == 0)
        return STATUS_OK;
    struct token_impact_row *row = type < 0 ? &walk->impact->none : &walk->impact->rows[type];
    const float difference = walk->scores.after[t] - walk->scores.before[t];
    row->occurrences++;
    row->in_top += difference >= walk->least[walk->place];
    row->difference += (double)difference;
    return STATUS_OK;
}

static bool is_over(const struct walk *walk)
{
    return walk->number == walk->args->samples->count * walk->args->samples->longest;
}

static enum status add_document(struct walk *walk, struct document *document, int64_t number)
{
    TRY(documents_read(walk->args->documents, document, number));
    const size_t count = document->ids.count;
    if (count > walk->types_room) {
        int8_t *grown = realloc(walk->types, count);
        if (!grown)
            return no_memory();
        walk->types = grown;
        walk->types_room = count;
    }
    TRY(tagger_output_read(walk->tags, walk->types, document, walk->args->tokenizer, number));
    for (size_t t = 0; t < count && !is_over(walk); t++)
        TRY(add_token(walk, document->ids.ids[t], walk->types[t]));
    return STATUS_OK;
}

static enum status add_documents(struct walk *walk)
{
    const int64_t count = documents_count(walk->args->documents);
    struct document document = {0};
    enum status status = STATUS_OK;
    walk->documents = malloc((size_t)count * sizeof *walk->documents);
    if (!walk->documents)
        return no_memory();
    packing_document_order(walk->documents, count, walk->args->seed);
    for (int64_t d = 0; status == STATUS_OK && d < count && !is_over(walk); d++)
        status = add_document(walk, &document, walk->documents[d]);
    id_list_deinit(&document.ids);
    if (status == STATUS_OK && !is_over(walk))
        status = fail(STATUS_INVALID_ARGUMENT, "%s has more tokens than the documents",
                      walk->args->samples->name);
    return status;
}

enum status type_impact_find(struct type_impact *impact, struct tagger_output *tags,
                             const struct type_impact_args *args)
{
    struct type_impact found = {.none = {.occurrences = 0}};
    struct walk walk = {.args = args, .impact = &found, .tags = tags};
    enum status status = STATUS_OK;
    if (args->scores->count != args->samples->count)
        return fail(STATUS_INVALID_ARGUMENT, "%s and %s do not belong together",
                    args->samples->name, args->scores->name);
    TRY_ELSE(find_places(&walk, args->samples->count), free_all);
    TRY_ELSE(find_tops(&walk), free_all);
    TRY_ELSE(add_documents(&walk), free_all);
    *impact = found;
free_all:
    free(walk.documents);
    free(walk.places);
    free(walk.least);
    free(walk.types);
    return status;
}
