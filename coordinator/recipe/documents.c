/* Owns the mapped files and where each document begins. Promises the same documents in the same
 * sequence whatever order the file system lists names in. */
#include "coordinator/recipe/documents.h"

#include <glob.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/mapping.h"

enum {
    PIECE_BYTES = 1 << 20, /* of a text that is encoded at once */
    WHERE_BYTES = 1024,    /* of a file's name and line in a sentence */
};

enum file_kind { FILE_TEXT, FILE_LINES, FILE_IDS_16, FILE_IDS_32 };

struct source {
    char *path;
    enum file_kind kind;
    struct mapping mapping;
};

struct entry {
    size_t source;
    size_t offset, bytes; /* of the file */
    size_t line;          /* from 1; of FILE_LINES */
};

struct documents {
    struct documents_args args;
    struct source *sources;
    size_t source_count;
    struct entry *entries;
    size_t count, capacity;
};

/* ---- the files ---- */

static enum status kind_of(enum file_kind *kind, const char *path)
{
    static const struct {
        const char *suffix;
        enum file_kind kind;
    } suffixes[] = {{".txt", FILE_TEXT},    {".text", FILE_TEXT},  {".md", FILE_TEXT},
                    {".jsonl", FILE_LINES}, {".u16", FILE_IDS_16}, {".i32", FILE_IDS_32}};
    const size_t bytes = strlen(path);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        const size_t end = strlen(suffixes[i].suffix);
        if (bytes > end && strcmp(path + bytes - end, suffixes[i].suffix) == 0) {
            *kind = suffixes[i].kind;
            return STATUS_OK;
        }
    }
    return fail(STATUS_INVALID_ARGUMENT,
                "%s: what this file holds is told by its name: .txt, .text or .md for text, .jsonl "
                "for JSON lines, .u16 or .i32 for token ids",
                path);
}

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of documents");
}

static enum status add_entry(struct documents *documents, struct entry entry)
{
    if (documents->count == documents->capacity) {
        const size_t capacity = documents->capacity ? 2 * documents->capacity : 256;
        struct entry *grown = realloc(documents->entries, capacity * sizeof *grown);
        if (!grown)
            return no_memory();
        documents->entries = grown;
        documents->capacity = capacity;
    }
    documents->entries[documents->count++] = entry;
    return STATUS_OK;
}

static bool is_blank(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!strchr(" \t\r\n", text[i]))
            return false;
    return true;
}

static enum status add_lines(struct documents *documents, size_t source)
{
    const struct mapping *mapping = &documents->sources[source].mapping;
    const char *text = (const char *)mapping->data;
    for (size_t at = 0, line = 1; at < mapping->bytes; line++) {
        const char *newline = memchr(text + at, '\n', mapping->bytes - at);
        const size_t bytes = newline ? (size_t)(newline - text) - at : mapping->bytes - at;
        if (!is_blank(text + at, bytes))
            TRY(add_entry(documents, (struct entry){source, at, bytes, line}));
        at += bytes + 1;
    }
    return STATUS_OK;
}

static enum status add_source(struct documents *documents, const char *path)
{
    struct source *grown =
        realloc(documents->sources, (documents->source_count + 1) * sizeof *grown);
    if (!grown)
        return no_memory();
    documents->sources = grown;
    struct source *source = &grown[documents->source_count];
    *source = (struct source){.path = strdup(path)};
    documents->source_count++;
    if (!source->path)
        return no_memory();
    TRY(kind_of(&source->kind, path));
    if (documents->args.prompt && source->kind != FILE_LINES)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s: prompts and responses are read from .jsonl files only", path);
    TRY(mapping_open(&source->mapping, path));
    if (source->kind == FILE_LINES)
        return add_lines(documents, documents->source_count - 1);
    const size_t width = source->kind == FILE_IDS_16 ? 2 : source->kind == FILE_IDS_32 ? 4 : 1;
    if (source->mapping.bytes % width)
        return fail(STATUS_INVALID_ARGUMENT, "%s: %zu bytes are not whole ids of %zu bytes", path,
                    source->mapping.bytes, width);
    return add_entry(documents, (struct entry){.source = documents->source_count - 1,
                                               .bytes = source->mapping.bytes});
}

/* glob sorts what a pattern finds. */
static enum status add_pattern(struct documents *documents, const char *pattern)
{
    glob_t found = {0};
    const int how = glob(pattern, 0, NULL, &found);
    enum status status = STATUS_OK;
    if (how != 0)
        status = fail(how == GLOB_NOMATCH ? STATUS_NOT_FOUND : STATUS_IO,
                      "data: no file is called %s", pattern);
    for (size_t i = 0; status == STATUS_OK && i < found.gl_pathc; i++)
        status = add_source(documents, found.gl_pathv[i]);
    globfree(&found);
    return status;
}

enum status documents_open(struct documents **documents, const struct documents_args *args)
{
    struct documents *made = calloc(1, sizeof *made);
    char *spelling = strdup(args->files), *rest = NULL;
    enum status status = made && spelling ? STATUS_OK : no_memory();
    if (status == STATUS_OK) {
        made->args = *args;
        for (char *word = strtok_r(spelling, " \t\n", &rest); status == STATUS_OK && word;
             word = strtok_r(NULL, " \t\n", &rest))
            status = add_pattern(made, word);
        if (status == STATUS_OK && made->count == 0)
            status = fail(STATUS_INVALID_ARGUMENT, "data: no document in \"%s\"", args->files);
    }
    free(spelling);
    if (status == STATUS_OK)
        *documents = made;
    else
        documents_close(made);
    return status;
}

void documents_close(struct documents *documents)
{
    if (!documents)
        return;
    for (size_t i = 0; i < documents->source_count; i++) {
        mapping_close(&documents->sources[i].mapping);
        free(documents->sources[i].path);
    }
    free(documents->sources);
    free(documents->entries);
    free(documents);
}

int64_t documents_count(const struct documents *documents)
{
    return (int64_t)documents->count;
}

size_t documents_files(const struct documents *documents)
{
    return documents->source_count;
}

const char *documents_file(const struct documents *documents, size_t file)
{
    return documents->sources[file].path;
}

/* ---- a document ---- */

/* Where a text may be cut without another result: behind a newline that no other white space
 * follows, which no pre-tokenizer joins with what comes. */
static size_t piece_bytes(const char *text, size_t bytes)
{
    if (bytes <= PIECE_BYTES)
        return bytes;
    for (size_t at = PIECE_BYTES; at > 1; at--)
        if (text[at - 1] == '\n' && !strchr(" \t\r\n", text[at]))
            return at;
    return bytes;
}

static enum status encode(const struct documents *documents, struct document *document,
                          const char *text, size_t bytes)
{
    document->text_bytes += bytes;
    for (size_t piece; bytes > 0; text += piece, bytes -= piece) {
        piece = piece_bytes(text, bytes);
        TRY(tokenizer_encode(documents->args.tokenizer, &document->ids, text, piece, 0));
    }
    return STATUS_OK;
}

static enum status encode_field(const struct documents *documents, struct document *document,
                                const json_t *object, const char *field, const char *where)
{
    const json_t *value = json_object_get(object, field);
    if (!json_is_string(value))
        return fail(STATUS_INVALID_ARGUMENT, "%s: no text under \"%s\"", where, field);
    return encode(documents, document, json_string_value(value), json_string_length(value));
}

/* A user's message, and the opening of its answer. */
static enum status open_chat(const struct documents *documents, struct document *document,
                             const json_t *object, const char *where)
{
    static const char role[] = "user";
    const json_t *value = json_object_get(object, documents->args.prompt);
    if (!json_is_string(value))
        return fail(STATUS_INVALID_ARGUMENT, "%s: no text under \"%s\"", where,
                    documents->args.prompt);
    const struct chat_message message = {role, strlen(role), json_string_value(value),
                                         json_string_length(value)};
    document->text_bytes += message.content_bytes;
    return chat_render(documents->args.chat, &document->ids, &message, 1);
}

static enum status encode_line(const struct documents *documents, struct document *document,
                               const json_t *object, const char *where)
{
    const struct documents_args *args = &documents->args;
    if (!args->prompt)
        return encode_field(documents, document, object, args->field, where);
    if (args->chat) {
        TRY(open_chat(documents, document, object, where));
    } else {
        TRY(encode_field(documents, document, object, args->prompt, where));
        TRY(encode(documents, document, "\n", 1));
    }
    document->prompt_ids = document->ids.count;
    return encode_field(documents, document, object, args->response, where);
}

static enum status read_line(const struct documents *documents, struct document *document,
                             const struct entry *entry)
{
    const struct source *source = &documents->sources[entry->source];
    char where[WHERE_BYTES];
    json_error_t error;
    snprintf(where, sizeof where, "%s:%zu", source->path, entry->line);
    json_t *object = json_loadb((const char *)source->mapping.data + entry->offset, entry->bytes,
                                JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        return fail(STATUS_INVALID_ARGUMENT, "%s: no JSON object: %s", where, error.text);
    }
    const enum status status = encode_line(documents, document, object, where);
    json_decref(object);
    return status;
}

static enum status read_ids(const struct documents *documents, struct document *document,
                            const struct entry *entry)
{
    const struct source *source = &documents->sources[entry->source];
    const size_t width = source->kind == FILE_IDS_16 ? 2 : 4;
    const uint8_t *bytes = source->mapping.data;
    const int32_t vocab = tokenizer_count(documents->args.tokenizer);
    for (size_t at = 0; at < entry->bytes; at += width) {
        uint32_t id = (uint32_t)bytes[at] | (uint32_t)bytes[at + 1] << 8;
        if (width == 4)
            id |= (uint32_t)bytes[at + 2] << 16 | (uint32_t)bytes[at + 3] << 24;
        if (id >= (uint32_t)vocab)
            return fail(STATUS_INVALID_ARGUMENT, "%s: id %u at byte %zu, the vocabulary has %d",
                        source->path, id, at, vocab);
        TRY(id_list_add(&document->ids, (int32_t)id));
    }
    return STATUS_OK;
}

static enum status read_text(const struct documents *documents, struct document *document,
                             const struct source *source)
{
    const enum status status =
        encode(documents, document, (const char *)source->mapping.data, source->mapping.bytes);
    return status == STATUS_OK ? STATUS_OK : fail(status, "%s: %s", source->path, status_message());
}

enum status documents_read(const struct documents *documents, struct document *document,
                           int64_t number)
{
    const struct entry *entry = &documents->entries[number];
    const struct source *source = &documents->sources[entry->source];
    document->ids.count = 0;
    document->prompt_ids = document->text_bytes = 0;
    if (source->kind == FILE_IDS_16 || source->kind == FILE_IDS_32)
        return read_ids(documents, document, entry);
    TRY(source->kind == FILE_LINES ? read_line(documents, document, entry)
                                   : read_text(documents, document, source));
    return documents->args.end >= 0 ? id_list_add(&document->ids, documents->args.end) : STATUS_OK;
}
