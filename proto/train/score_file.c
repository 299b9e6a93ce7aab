/* Owns nothing. Promises scores that are numbers. */
#include "proto/train/score_file.h"

#include <math.h>

static const struct record_kind kind = {
    .magic = "LHSCORES",
    .planes = 3,
    .element_bytes = {sizeof(float), sizeof(float), sizeof(float)},
};

enum status score_file_open(struct record_file *file, const char *path)
{
    return record_file_open(file, path, &kind);
}

enum status score_file_read(const struct record_file *file, struct scores *scores, int64_t number)
{
    const void *planes[RECORD_FILE_PLANES_MAX];
    struct scores read = {0};
    TRY(record_file_read(file, planes, &read.count, number));
    read.before = planes[0];
    read.after = planes[1];
    read.probability = planes[2];
    for (int64_t t = 0; t < read.count; t++)
        if (!isfinite(read.before[t]) || !isfinite(read.after[t]) || !isfinite(read.probability[t]))
            return fail(STATUS_DATA_LOSS, "%s: record %lld, token %lld: a score is no number",
                        file->name, (long long)number, (long long)t);
    *scores = read;
    return STATUS_OK;
}

enum status score_file_create(struct record_writer *writer, const char *path, int64_t vocab)
{
    return record_writer_open(writer, path, &kind, vocab);
}

enum status score_file_add(struct record_writer *writer, const struct scores *scores)
{
    const void *const planes[] = {scores->before, scores->after, scores->probability};
    return record_writer_add(writer, planes, scores->count);
}
