/* Owns nothing. Promises that a list is complete and consistent or not there at all, and that no
 * secret is ever taken for a digest: a line that holds one is refused. */
#include "coordinator/access/access_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"

enum { WORDS_MAX = 16, SHOWN = 40 };

/* A line on its way, for what is wrong with it. */
struct line {
    const char *file;
    int number;
    char *words[WORDS_MAX];
    size_t count;
};

static const struct {
    const char *name;
    unsigned scope;
} scopes[] = {
    {"inference", ACCESS_INFERENCE}, {"batches", ACCESS_BATCHES}, {"documents", ACCESS_DOCUMENTS},
    {"metrics", ACCESS_METRICS},     {"admin", ACCESS_ADMIN},
};

enum { SCOPES = sizeof scopes / sizeof scopes[0] };

bool access_is_name(const char *name)
{
    const size_t bytes = strlen(name);
    if (bytes == 0 || bytes >= ACCESS_TENANT_BYTES || name[0] < 'a' || name[0] > 'z' ||
        name[bytes - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == bytes;
}

enum status access_parse_scopes(unsigned *mask, const char *text, size_t bytes)
{
    unsigned found = 0;
    for (size_t at = 0; at <= bytes;) {
        const char *comma = memchr(text + at, ',', bytes - at);
        const size_t length = comma ? (size_t)(comma - text) - at : bytes - at;
        size_t i = 0;
        while (i < SCOPES &&
               (strlen(scopes[i].name) != length || memcmp(scopes[i].name, text + at, length) != 0))
            i++;
        if (i == SCOPES)
            return fail(STATUS_INVALID_ARGUMENT,
                        "\"%.*s\" is no scope; they are inference, batches, documents, metrics, "
                        "admin",
                        (int)(length < SHOWN ? length : SHOWN), text + at);
        found |= scopes[i].scope;
        at += length + 1;
    }
    *mask = found;
    return STATUS_OK;
}

const struct access_tenant *access_list_find(const struct access_list *list, const char *name)
{
    for (size_t i = 0; i < list->tenant_count; i++)
        if (strcmp(list->tenants[i].name, name) == 0)
            return &list->tenants[i];
    return NULL;
}

void access_list_deinit(struct access_list *list)
{
    free(list->tenants);
    free(list->tokens);
    *list = (struct access_list){0};
}

/* ---- words ---- */

__attribute__((format(printf, 2, 3))) static enum status wrong(const struct line *line,
                                                               const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return fail(STATUS_INVALID_ARGUMENT, "%s:%d: %s", line->file, line->number, sentence);
}

static enum status read_count(const struct line *line, int64_t *count, const char *key,
                              const char *text, int64_t least, int64_t most)
{
    int64_t value = 0;
    const size_t digits = strspn(text, "0123456789");
    bool good = digits > 0 && !text[digits];
    for (size_t i = 0; i < digits && good; i++)
        good = !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, text[i] - '0', &value);
    if (!good || value < least || value > most)
        return wrong(line, "%s is \"%.*s\"; must be a number from %" PRId64 " to %" PRId64, key,
                     SHOWN, text, least, most);
    *count = value;
    return STATUS_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is no digest is not quoted: it may be the secret itself. */
static enum status read_digest(const struct line *line, uint8_t digest[ACCESS_DIGEST_BYTES],
                               const char *text)
{
    bool good = strlen(text) == (size_t)2 * ACCESS_DIGEST_BYTES;
    for (size_t i = 0; i < ACCESS_DIGEST_BYTES && good; i++) {
        const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        good = high >= 0 && low >= 0;
        digest[i] = (uint8_t)(good ? high << 4 | low : 0);
    }
    return good ? STATUS_OK
                : wrong(line,
                        "sha256 is no digest: that is %d hexadecimal digits in lower case, "
                        "as `longhaul token` prints them",
                        2 * ACCESS_DIGEST_BYTES);
}

/* Parts "KEY=VALUE" in place. */
static enum status part_word(const struct line *line, char *word, const char **value)
{
    char *equals = strchr(word, '=');
    if (!equals)
        return wrong(line, "\"%.*s\" is not KEY=VALUE", SHOWN, word);
    *equals = 0;
    *value = equals + 1;
    return STATUS_OK;
}

static enum status unknown_key(const struct line *line, const char *key, const char *const *keys,
                               size_t count)
{
    const char *near = nearest_name(key, keys, count);
    return wrong(line, "unknown key \"%.*s\"%s%s%s", SHOWN, key, near ? "; did you mean " : "",
                 near ? near : "", near ? "?" : "");
}

/* ---- lines ---- */

static enum status read_tenant(struct access_list *list, const struct line *line)
{
    static const char *const keys[] = {"weight",           "queued-requests", "queued-tokens",
                                       "running-requests", "stored-bytes",    "session-tokens"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    int64_t values[KEYS] = {1};
    bool given[KEYS] = {false};
    if (list->tenant_count == ACCESS_TENANTS_MAX)
        return wrong(line, "more than %d tenants", ACCESS_TENANTS_MAX);
    if (access_list_find(list, line->words[1]))
        return wrong(line, "tenant %s stands above already", line->words[1]);
    for (size_t i = 2; i < line->count; i++) {
        const char *value = NULL;
        TRY(part_word(line, line->words[i], &value));
        size_t key = 0;
        while (key < KEYS && strcmp(keys[key], line->words[i]) != 0)
            key++;
        if (key == KEYS)
            return unknown_key(line, line->words[i], keys, KEYS);
        if (given[key])
            return wrong(line, "%s is given twice", keys[key]);
        given[key] = true;
        TRY(read_count(line, &values[key], keys[key], value, 1,
                       key == 0 ? ACCESS_WEIGHT_MOST : INT64_MAX));
    }
    struct access_tenant *tenant = &list->tenants[list->tenant_count++];
    *tenant = (struct access_tenant){
        .weight = (int)values[0],
        .quotas = {values[1], values[2], values[3], values[4], values[5]},
    };
    memcpy(tenant->name, line->words[1], strlen(line->words[1]) + 1);
    return STATUS_OK;
}

static enum status read_token(struct access_list *list, const struct line *line)
{
    static const char *const keys[] = {"sha256", "scopes"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    const struct access_tenant *tenant = access_list_find(list, line->words[1]);
    const char *values[KEYS] = {NULL};
    if (!tenant)
        return wrong(line, "no line \"tenant %s\" stands above", line->words[1]);
    if (list->token_count == ACCESS_TOKENS_MAX)
        return wrong(line, "more than %d tokens", ACCESS_TOKENS_MAX);
    for (size_t i = 2; i < line->count; i++) {
        const char *value = NULL;
        TRY(part_word(line, line->words[i], &value));
        size_t key = 0;
        while (key < KEYS && strcmp(keys[key], line->words[i]) != 0)
            key++;
        if (key == KEYS)
            return unknown_key(line, line->words[i], keys, KEYS);
        if (values[key])
            return wrong(line, "%s is given twice", keys[key]);
        values[key] = value;
    }
    struct access_token token = {
        .tenant = (size_t)(tenant - list->tenants),
        .scopes = ACCESS_INFERENCE | ACCESS_BATCHES | ACCESS_DOCUMENTS,
    };
    if (!values[0])
        return wrong(line, "the token has no sha256=HEX");
    TRY(read_digest(line, token.digest, values[0]));
    if (values[1] && access_parse_scopes(&token.scopes, values[1], strlen(values[1])) != STATUS_OK)
        return wrong(line, "%s", status_message());
    for (size_t i = 0; i < list->token_count; i++)
        if (memcmp(list->tokens[i].digest, token.digest, sizeof token.digest) == 0)
            return wrong(line, "the token stands above already");
    list->tokens[list->token_count++] = token;
    return STATUS_OK;
}

static enum status read_line(struct access_list *list, struct line *line, char *text)
{
    text[strcspn(text, "#")] = 0;
    line->count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
        if (line->count == WORDS_MAX)
            return wrong(line, "more than %d words", WORDS_MAX);
        line->words[line->count++] = word;
    }
    if (line->count == 0)
        return STATUS_OK;
    const bool is_tenant = strcmp(line->words[0], "tenant") == 0;
    if (!is_tenant && strcmp(line->words[0], "token") != 0)
        return wrong(line, "\"%.*s\" begins no line: that is \"tenant\" or \"token\"", SHOWN,
                     line->words[0]);
    if (line->count < 2 || !access_is_name(line->words[1]))
        return wrong(line,
                     "a tenant's name must follow: lower-case letters, digits and \"-\", "
                     "a letter first, no \"-\" last, at most %d",
                     ACCESS_TENANT_BYTES - 1);
    return is_tenant ? read_tenant(list, line) : read_token(list, line);
}

enum status access_file_parse(struct access_list *list, const char *name, const char *text,
                              size_t bytes)
{
    *list = (struct access_list){0};
    struct line line = {.file = name, .number = 1};
    if (bytes > ACCESS_FILE_BYTES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%s: longer than %d bytes", name,
                    ACCESS_FILE_BYTES_MAX);
    if (memchr(text, 0, bytes))
        return fail(STATUS_INVALID_ARGUMENT, "%s: holds a zero byte; it must be text", name);
    char *copy = malloc(bytes + 1);
    list->tenants = calloc(ACCESS_TENANTS_MAX, sizeof *list->tenants);
    list->tokens = calloc(ACCESS_TOKENS_MAX, sizeof *list->tokens);
    enum status status = STATUS_OK;
    if (!copy || !list->tenants || !list->tokens)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", name), free_copy);
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    for (char *at = copy, *next; at; at = next, line.number++) {
        next = strchr(at, '\n');
        if (next)
            *next++ = 0;
        TRY_ELSE(read_line(list, &line, at), free_copy);
    }
free_copy:
    free(copy);
    return status;
}
