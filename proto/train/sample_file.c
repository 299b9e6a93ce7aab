/* Owns what a sample may be. Promises that ids, positions and counts that are handed out or written
 * are such that nobody behind needs to look at them again. */
#include "proto/train/sample_file.h"

static const struct record_kind kind = {
    .magic = "LHSAMPLE",
    .planes = 3,
    .element_bytes = {sizeof(int32_t), sizeof(int32_t), sizeof(uint8_t)},
};

/* The first token that may not be; -1 where all may. */
static int64_t find_wrong(const struct sample *sample, int64_t vocab)
{
    int32_t last = -1;
    for (int64_t t = 0; t < sample->count; t++) {
        if (sample->ids[t] < 0 || sample->ids[t] >= vocab || sample->positions[t] <= last ||
            sample->counts[t] > (t > 0))
            return t;
        last = sample->positions[t];
    }
    return -1;
}

static enum status check(const struct sample *sample, int64_t vocab, const char *name,
                         int64_t number, enum status status)
{
    const int64_t t = find_wrong(sample, vocab);
    if (t < 0)
        return STATUS_OK;
    return fail(status,
                "%s: sample %lld, token %lld: id %d (of %lld), position %d, counted %d: ids are "
                "in the vocabulary, positions ascend from 0 on, the first token is not counted",
                name, (long long)number, (long long)t, sample->ids[t], (long long)vocab,
                sample->positions[t], sample->counts[t]);
}

enum status sample_file_open(struct record_file *file, const char *path)
{
    return record_file_open(file, path, &kind);
}

enum status sample_file_parse(struct record_file *file, const void *data, size_t bytes,
                              const char *name)
{
    return record_file_parse(file, data, bytes, name, &kind);
}

enum status sample_file_read(const struct record_file *file, struct sample *sample, int64_t number)
{
    const void *planes[RECORD_FILE_PLANES_MAX];
    struct sample read = {0};
    TRY(record_file_read(file, planes, &read.count, number));
    read.ids = planes[0];
    read.positions = planes[1];
    read.counts = planes[2];
    TRY(check(&read, file->vocab, file->name, number, STATUS_DATA_LOSS));
    *sample = read;
    return STATUS_OK;
}

enum status sample_file_create(struct record_writer *writer, const char *path, int64_t vocab)
{
    return record_writer_open(writer, path, &kind, vocab);
}

enum status sample_file_add(struct record_writer *writer, const struct sample *sample)
{
    const void *const planes[] = {sample->ids, sample->positions, sample->counts};
    TRY(check(sample, writer->vocab, writer->path, writer->count, STATUS_INVALID_ARGUMENT));
    return record_writer_add(writer, planes, sample->count);
}
