/* Owns what a build without jansson says to a model's directory. */
#include "proto/model/directory.h"

#include <assert.h>

enum status directory_open(struct directory **directory, struct checkpoint_listing *listing,
                           const char *path)
{
    (void)listing;
    return directory_open_tokenizer(directory, path);
}

enum status directory_open_tokenizer(struct directory **directory, const char *path)
{
    (void)directory;
    return fail(STATUS_UNIMPLEMENTED,
                "%s is a directory; this build was made without jansson and reads GGUF files only",
                path);
}

void directory_close(struct directory *directory)
{
    assert(!directory);
}

enum status directory_read_spec(struct model_spec *spec, const struct directory *directory)
{
    (void)spec;
    (void)directory;
    return fail(STATUS_INTERNAL, "a directory was opened by a build that cannot open one");
}

enum status directory_read_vocab(struct vocab **vocab, const struct directory *directory,
                                 int32_t count)
{
    (void)vocab;
    (void)directory;
    (void)count;
    return fail(STATUS_INTERNAL, "a directory was opened by a build that cannot open one");
}
