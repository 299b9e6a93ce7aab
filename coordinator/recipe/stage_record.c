/* Owns one stage's record. Promises that a stage counts as done only where all that it read and
 * wrote is as it was then. */
#include "coordinator/recipe/stage_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/recipe/content_digest.h"
#include "coordinator/recipe/run_folder.h"
#include "proto/model/output_file.h"

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a stage's record");
}

enum status stage_record_open(struct stage_record *record, const struct train_config *config,
                              const char *part, const char *name)
{
    char done[64];
    *record = (struct stage_record){.file = NULL};
    train_stage_path(record->path, config, part, "");
    TRY(run_folder_make(record->path));
    snprintf(done, sizeof done, "%s.done", name);
    train_stage_path(record->path, config, part, done);
    record->file = open_memstream(&record->text, &record->bytes);
    return record->file ? STATUS_OK : no_memory();
}

void stage_record_close(struct stage_record *record)
{
    if (record->file)
        fclose(record->file);
    free(record->text);
    *record = (struct stage_record){.file = NULL};
}

static enum status add(FILE *file, const char *what, const char *path)
{
    char hex[CONTENT_DIGEST_BYTES];
    if (!path[0])
        return STATUS_OK;
    TRY(content_digest(hex, path));
    fprintf(file, "%s %s %s\n", what, hex, path);
    return STATUS_OK;
}

enum status stage_record_input(struct stage_record *record, const char *path)
{
    return add(record->file, "input", path);
}

/* Settings and inputs, and then outputs. */
static enum status write_whole(char **text, size_t *bytes, struct stage_record *record,
                               const char *const *outputs)
{
    FILE *file = open_memstream(text, bytes);
    enum status status = STATUS_OK;
    if (!file)
        return no_memory();
    fflush(record->file);
    fwrite(record->text, 1, record->bytes, file);
    for (; *outputs && status == STATUS_OK; outputs++)
        status = add(file, "output", *outputs);
    if (fclose(file) != 0 && status == STATUS_OK)
        status = no_memory();
    if (status != STATUS_OK)
        free(*text);
    return status;
}

/* Whether the record on disk begins with `text`. */
static bool is_there(const char *path, const char *text, size_t bytes)
{
    char *read = malloc(bytes + 1);
    FILE *file = fopen(path, "rbe");
    const size_t got = read && file ? fread(read, 1, bytes, file) : 0;
    const bool same = read && file && got == bytes && memcmp(read, text, bytes) == 0;
    if (file)
        fclose(file);
    free(read);
    return same;
}

enum status stage_record_is_done(struct stage_record *record, bool *done,
                                 const char *const *outputs)
{
    char *text;
    size_t bytes;
    *done = false;
    if (fflush(record->file) != 0)
        return no_memory();
    /* Outputs are read only where the rest holds. */
    if (!is_there(record->path, record->text, record->bytes))
        return STATUS_OK;
    const enum status status = write_whole(&text, &bytes, record, outputs);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    *done = is_there(record->path, text, bytes);
    free(text);
    return STATUS_OK;
}

enum status stage_record_finish(struct stage_record *record, const char *const *outputs)
{
    char *text, part[TRAIN_STAGE_PATH_BYTES + 8];
    size_t bytes;
    struct output_file file;
    TRY(write_whole(&text, &bytes, record, outputs));
    snprintf(part, sizeof part, "%s.part", record->path);
    enum status status = output_file_open(&file, part);
    if (status == STATUS_OK) {
        status = output_file_write(&file, text, bytes);
        if (status == STATUS_OK)
            status = output_file_close(&file);
        else
            output_file_discard(&file);
    }
    free(text);
    TRY(status);
    if (rename(part, record->path) != 0)
        return fail(STATUS_IO, "rename %s to %s: %s", part, record->path, strerror(errno));
    return output_file_sync_folder(record->path);
}
