/* Owns two passes: tokens are packed into a file beside the place of the samples, and read from
 * there in shuffled order, so that memory does not grow with the data. Promises that no file of
 * half the samples is ever in place. */
#include "coordinator/recipe/packing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/train/chance.h"
#include "proto/train/sample_file.h"

struct packer {
    const struct packing_args *args;
    struct packing_report *report;
    struct record_writer packed;
    int32_t *ids, *positions; /* [sample_tokens] */
    uint8_t *counts;          /* [sample_tokens] */
    int64_t used;
};

void packing_document_order(int64_t *order, int64_t count, uint64_t seed)
{
    struct chance chance = chance_begin(seed, CHANCE_DOCUMENTS, 0);
    chance_shuffle(&chance, order, count);
}

void packing_sample_order(int64_t *order, int64_t count, uint64_t seed)
{
    struct chance chance = chance_begin(seed, CHANCE_SHUFFLE, 0);
    chance_shuffle(&chance, order, count);
}

/* ---- the first pass ---- */

static bool is_full(const struct packer *packer)
{
    return packer->args->samples > 0 && packer->report->samples == packer->args->samples;
}

/* Where the loss counts only responses, a sample may lie within one long prompt: there is nothing
 * to learn of it. */
static enum status add_sample(struct packer *packer)
{
    packer->counts[0] = 0;
    if (!memchr(packer->counts, 1, (size_t)packer->used)) {
        packer->used = 0;
        packer->report->uncounted++;
        return STATUS_OK;
    }
    const struct sample sample = {.count = packer->used,
                                  .ids = packer->ids,
                                  .positions = packer->positions,
                                  .counts = packer->counts};
    packer->used = 0;
    packer->report->samples++;
    return sample_file_add(&packer->packed, &sample);
}

static enum status add_tokens(struct packer *packer, const struct document *document, int64_t first,
                              int64_t end)
{
    for (int64_t t = first; t < end && !is_full(packer); t++) {
        packer->ids[packer->used] = document->ids.ids[t];
        packer->counts[packer->used] =
            packer->args->loss == TRAIN_LOSS_ALL || t >= (int64_t)document->prompt_ids;
        if (++packer->used == packer->args->sample_tokens)
            TRY(add_sample(packer));
    }
    return STATUS_OK;
}

static enum status add_sentences(struct packer *packer, const struct document *document,
                                 int64_t number)
{
    const struct packing_args *args = packer->args;
    const int64_t count = (int64_t)document->ids.count;
    TRY(selection_begin(args->selection, document, number));
    for (int64_t first = 0, end; first < count; first = end) {
        end = sentences_end(args->sentences, document->ids.ids, count, first);
        packer->report->sentences++;
        if (!selection_keeps(args->selection, first, end))
            continue;
        packer->report->kept++;
        TRY(add_tokens(packer, document, first, end));
    }
    return STATUS_OK;
}

static enum status add_documents(struct packer *packer, const int64_t *order, int64_t count)
{
    const struct packing_args *args = packer->args;
    struct document document = {0};
    enum status status = STATUS_OK;
    for (int64_t d = 0; status == STATUS_OK && d < count && !is_full(packer); d++) {
        if (args->stops && args->stops())
            status = fail(STATUS_CANCELLED, "interrupted");
        if (status == STATUS_OK)
            status = documents_read(args->documents, &document, order[d]);
        if (status != STATUS_OK)
            break;
        packer->report->documents++;
        packer->report->tokens += (int64_t)document.ids.count;
        status = args->selection ? add_sentences(packer, &document, order[d])
                                 : add_tokens(packer, &document, 0, (int64_t)document.ids.count);
    }
    id_list_deinit(&document.ids);
    if (status == STATUS_OK && packer->report->samples == 0 && packer->report->uncounted > 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "none of the data's %lld samples has a token that the loss counts: name data "
                    "with longer responses, or let the loss count all",
                    (long long)packer->report->uncounted);
    if (status == STATUS_OK && packer->report->samples == 0)
        status = fail(STATUS_FAILED_PRECONDITION,
                      "the data have %lld tokens to train on, less than one sample of %lld",
                      (long long)packer->used, (long long)args->sample_tokens);
    return status;
}

static enum status pack(struct packer *packer, const char *path)
{
    const int64_t count = documents_count(packer->args->documents);
    int64_t *order = malloc((size_t)count * sizeof *order);
    if (!order)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the order of documents");
    packing_document_order(order, count, packer->args->seed);
    enum status status = sample_file_create(&packer->packed, path, packer->args->vocab);
    if (status == STATUS_OK) {
        status = add_documents(packer, order, count);
        if (status == STATUS_OK)
            status = record_writer_close(&packer->packed);
        else
            record_writer_discard(&packer->packed);
    }
    free(order);
    return status;
}

/* ---- the second pass ---- */

static enum status write_all(struct record_writer *writer, const struct packer *packer,
                             const struct record_file *packed, const int64_t *order)
{
    for (int64_t n = 0; n < packed->count; n++) {
        struct sample sample;
        TRY(sample_file_read(packed, &sample, order[n]));
        positions_make(packer->positions, &packer->args->positions, sample.ids, sample.count, n);
        sample.positions = packer->positions;
        TRY(sample_file_add(writer, &sample));
    }
    return STATUS_OK;
}

static enum status shuffle(const struct packer *packer, const char *path, const char *packed_path)
{
    struct record_file packed;
    struct record_writer writer;
    TRY(sample_file_open(&packed, packed_path));
    int64_t *order = malloc((size_t)packed.count * sizeof *order);
    enum status status =
        order ? sample_file_create(&writer, path, packer->args->vocab)
              : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the order of samples");
    if (status == STATUS_OK) {
        packing_sample_order(order, packed.count, packer->args->seed);
        status = write_all(&writer, packer, &packed, order);
        if (status == STATUS_OK)
            status = record_writer_close(&writer);
        else
            record_writer_discard(&writer);
    }
    free(order);
    record_file_close(&packed);
    return status;
}

static enum status write_both(struct packer *packer, const char *path)
{
    char *packed = NULL;
    if (asprintf(&packed, "%s.packed", path) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    enum status status = pack(packer, packed);
    if (status == STATUS_OK)
        status = shuffle(packer, path, packed);
    remove(packed);
    free(packed);
    return status;
}

enum status packing_write(const char *path, struct packing_report *report,
                          const struct packing_args *args)
{
    const size_t tokens = (size_t)args->sample_tokens;
    struct packer packer = {
        .args = args,
        .report = report,
        .ids = malloc(tokens * sizeof *packer.ids),
        .positions = malloc(tokens * sizeof *packer.positions),
        .counts = malloc(tokens),
    };
    enum status status = STATUS_OK;
    *report = (struct packing_report){0};
    if (!packer.ids || !packer.positions || !packer.counts) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a sample of %zu tokens", tokens);
    } else {
        positions_reset(packer.positions, args->sample_tokens, args->sample_tokens);
        status = write_both(&packer, path);
    }
    free(packer.counts);
    free(packer.positions);
    free(packer.ids);
    return status;
}
