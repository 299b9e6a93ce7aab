/* Owns a record's JSON. Promises prompts that are UTF-8 where the record is, wherever they are
 * cut. */
#include "coordinator/eval/eval_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* ---- parsing ---- */

/* The first of two fields that is there; NULL: neither, or no text. */
static const char *text_of(const json_t *root, const char *one, const char *other)
{
    const json_t *value = json_object_get(root, one);
    if (!value)
        value = json_object_get(root, other);
    return json_string_value(value);
}

static enum status add_answer(struct eval_record *record, const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text)
        return fail(STATUS_INVALID_ARGUMENT, "an answer that is no text");
    if (strlen(text) >= EVAL_ANSWER_BYTES)
        return fail(STATUS_OUT_OF_RANGE, "an answer of %zu bytes; %d are most", strlen(text),
                    EVAL_ANSWER_BYTES - 1);
    if (record->answer_count == EVAL_ANSWERS_MAX)
        return fail(STATUS_OUT_OF_RANGE, "more than %d answers", EVAL_ANSWERS_MAX);
    record->answers[record->answer_count++] = text;
    return STATUS_OK;
}

static enum status read_answers(struct eval_record *record)
{
    const json_t *value = json_object_get(record->root, "answers");
    if (!value)
        value = json_object_get(record->root, "outputs");
    if (!value)
        value = json_object_get(record->root, "answer");
    if (json_is_string(value))
        return add_answer(record, value);
    if (json_array_size(value) == 0)
        return fail(STATUS_INVALID_ARGUMENT, "it has no \"answers\", \"outputs\" or \"answer\"");
    for (size_t i = 0; i < json_array_size(value); i++)
        TRY(add_answer(record, json_array_get(value, i)));
    return STATUS_OK;
}

/* The question, with its choices below it where it has four. */
static enum status read_input(struct eval_record *record)
{
    const char *question = text_of(record->root, "input", "question");
    size_t bytes = 0;
    if (!question)
        return fail(STATUS_INVALID_ARGUMENT, "it has no text \"input\" or \"question\"");
    FILE *file = open_memstream(&record->input, &bytes);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a question");
    fputs(question, file);
    for (char letter = 'A'; letter <= 'D'; letter++) {
        const char key[] = {'c', 'h', 'o', 'i', 'c', 'e', '_', letter, 0};
        const char *choice = text_of(record->root, key, key);
        if (choice)
            fprintf(file, "\n%c. %s", letter, choice);
    }
    return fclose(file) == 0 ? STATUS_OK
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a question");
}

/* Of letters, digits and the like, as it becomes a part of files' names. */
static void read_name(struct eval_record *record)
{
    const char *name = text_of(record->root, "dataset", "task");
    size_t bytes = 0;
    for (; name && name[bytes] && bytes < EVAL_RECORD_NAME_BYTES - 1; bytes++) {
        const char c = name[bytes];
        const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_';
        record->name[bytes] = kept ? c : '_';
    }
    record->name[bytes] = 0;
    if (bytes == 0)
        snprintf(record->name, sizeof record->name, "file");
}

static enum status read_fields(struct eval_record *record)
{
    const char *context = text_of(record->root, "context", "context");
    const char *prefix = text_of(record->root, "answer_prefix", "gen_prefix");
    record->context = context ? context : "";
    record->prefix = prefix ? prefix : "";
    read_name(record);
    TRY(read_answers(record));
    return read_input(record);
}

enum status eval_record_parse(struct eval_record *record, const char *text, size_t bytes)
{
    json_error_t error;
    *record = (struct eval_record){.input = NULL};
    if (bytes > EVAL_RECORD_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "it has %zu bytes; %d are most", bytes,
                    EVAL_RECORD_BYTES_MAX);
    record->root =
        json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    if (!json_is_object(record->root)) {
        const enum status status =
            record->root ? fail(STATUS_INVALID_ARGUMENT, "it is no JSON object")
                         : fail(STATUS_INVALID_ARGUMENT, "it is no JSON: %s", error.text);
        json_decref(record->root);
        return status;
    }
    const enum status status = read_fields(record);
    if (status != STATUS_OK)
        eval_record_deinit(record);
    return status;
}

void eval_record_deinit(struct eval_record *record)
{
    free(record->input);
    json_decref(record->root);
    *record = (struct eval_record){.input = NULL};
}

/* ---- the prompt ---- */

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* `kept` bytes of the context, half from either end, whole characters each. */
static void write_context(FILE *file, const char *context, size_t kept)
{
    const size_t bytes = strlen(context);
    if (kept >= bytes) {
        fputs(context, file);
        return;
    }
    size_t end = kept / 2, begin = bytes - kept / 2;
    while (end > 0 && continues(context[end]))
        end--;
    while (begin < bytes && continues(context[begin]))
        begin++;
    fwrite(context, 1, end, file);
    fwrite(context + begin, 1, bytes - begin, file);
}

static enum status build(struct eval_prompt *prompt, const struct eval_record_args *args,
                         size_t kept)
{
    static const char context_mark[] = "{context}", input_mark[] = "{input}";
    const struct eval_record *record = args->record;
    const char *form = args->form;
    if (!form)
        form = record->context[0] ? "{context}\n\n{input}" : "{input}";
    eval_prompt_deinit(prompt);
    TRY(eval_prompt_begin(prompt));
    for (const char *at = form; *at;) {
        if (strncmp(at, context_mark, sizeof context_mark - 1) == 0) {
            write_context(prompt->file, record->context, kept);
            at += sizeof context_mark - 1;
        } else if (strncmp(at, input_mark, sizeof input_mark - 1) == 0) {
            fputs(record->input, prompt->file);
            at += sizeof input_mark - 1;
        } else {
            fputc(*at++, prompt->file);
        }
    }
    fputs(record->prefix, prompt->file);
    for (size_t i = 0; i < record->answer_count; i++)
        eval_prompt_answer(prompt, -1, "%s", record->answers[i]);
    return eval_prompt_finish(prompt);
}

static enum status try_bytes(struct eval_prompt *prompt, int64_t *tokens, size_t kept,
                             const struct eval_record_args *args)
{
    TRY(build(prompt, args, kept));
    return args->count(args->counting, tokens, prompt->text, prompt->bytes);
}

enum status eval_record_fit(struct eval_prompt *prompt, int64_t *tokens,
                            const struct eval_record_args *args)
{
    size_t fits = 0, over = strlen(args->record->context);
    TRY(try_bytes(prompt, tokens, over, args));
    if (*tokens <= args->tokens)
        return STATUS_OK;
    TRY(try_bytes(prompt, tokens, 0, args));
    if (*tokens > args->tokens)
        return fail(STATUS_OUT_OF_RANGE,
                    "its question alone has %" PRId64 " tokens; %" PRId64
                    " are left by --lengths and the answer",
                    *tokens, args->tokens);
    while (over - fits > 1) {
        const size_t middle = fits + (over - fits) / 2;
        TRY(try_bytes(prompt, tokens, middle, args));
        if (*tokens <= args->tokens)
            fits = middle;
        else
            over = middle;
    }
    return try_bytes(prompt, tokens, fits, args);
}
