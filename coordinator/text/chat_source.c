/* Owns the text of a template that was read from a file. */
#include "coordinator/text/chat_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_template.h"
#include "coordinator/text/chat_builtin.h"
#include "proto/model/vocab.h"

static enum status read_file(struct chat_source *source, FILE *file, const char *path)
{
    char *text = malloc(JINJA_TEMPLATE_BYTES_MAX + 1);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template");
    const size_t bytes = fread(text, 1, JINJA_TEMPLATE_BYTES_MAX + 1, file);
    enum status status = STATUS_OK;
    if (ferror(file))
        status = fail(STATUS_IO, "read %s: %s", path, strerror(errno));
    else if (bytes > JINJA_TEMPLATE_BYTES_MAX)
        status = fail(STATUS_INVALID_ARGUMENT, "%s: a chat template has at most %d bytes", path,
                      JINJA_TEMPLATE_BYTES_MAX);
    if (status != STATUS_OK) {
        free(text);
        return status;
    }
    source->file = text;
    source->text = (struct text_view){text, bytes};
    return STATUS_OK;
}

static enum status open_file(struct chat_source *source, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--chat-template %s: no template that comes with longhaul (%s), and as a "
                    "file: %s",
                    path, chat_builtin_names, strerror(errno));
    const enum status status = read_file(source, file, path);
    fclose(file);
    return status;
}

enum status chat_source_open(struct chat_source *source, const struct vocab *vocab,
                             const char *name)
{
    *source = (struct chat_source){.origin = name};
    if (strcmp(name, "auto") == 0) {
        source->origin = "the model's own";
        source->text = vocab_chat_template(vocab);
        if (source->text.bytes > 0)
            return STATUS_OK;
        return fail(STATUS_UNIMPLEMENTED,
                    "the model has no chat template; name one by --chat-template NAME or FILE, or "
                    "use --raw to send a prompt without one");
    }
    if (chat_builtin_find(&source->text, name))
        return STATUS_OK;
    return open_file(source, name);
}

void chat_source_close(struct chat_source *source)
{
    free(source->file);
    source->file = NULL;
}
