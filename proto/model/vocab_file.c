/* Owns a vocabulary and the file or the directory that its texts lie in. */
#include "proto/model/vocab_file.h"

#include <stdlib.h>

#include "proto/model/checkpoint.h"
#include "proto/model/directory.h"
#include "proto/model/gguf.h"
#include "proto/model/vocab_gguf.h"

struct vocab_file {
    struct gguf *gguf;
    struct directory *directory;
    struct vocab *vocab;
};

static enum status open_gguf(struct vocab_file *file, const char *path)
{
    TRY(checkpoint_check_file_name(path));
    TRY(gguf_open(&file->gguf, path));
    if (!vocab_gguf_is_there(file->gguf))
        return fail(STATUS_UNIMPLEMENTED, "%s holds no tokenizer", path);
    return vocab_gguf_read(&file->vocab, file->gguf);
}

static enum status open_directory(struct vocab_file *file, const char *path)
{
    TRY(directory_open_tokenizer(&file->directory, path));
    return directory_read_vocab(&file->vocab, file->directory, 0);
}

enum status vocab_file_open(struct vocab_file **file, const char *path)
{
    struct vocab_file *opened = calloc(1, sizeof *opened);
    if (!opened)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", path);
    enum status status =
        checkpoint_is_directory(path) ? open_directory(opened, path) : open_gguf(opened, path);
    if (status != STATUS_OK) {
        vocab_file_close(opened);
        return status;
    }
    *file = opened;
    return STATUS_OK;
}

void vocab_file_close(struct vocab_file *file)
{
    if (!file)
        return;
    vocab_destroy(file->vocab);
    directory_close(file->directory);
    gguf_close(file->gguf);
    free(file);
}

const struct vocab *vocab_file_vocab(const struct vocab_file *file)
{
    return file->vocab;
}
