/* Owns the spelling of methods. Promises that every method, however it came, has passed its row's
 * ranges and checks. */
#include "proto/plan/method.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"
#include "proto/plan/method_rows.h"

enum { WORD_BYTES = 32, LIST_BYTES = 256, NAMES_MAX = 32 };

/* ---- names ---- */

static const struct method_row *row_of(const struct method *method)
{
    return &method_rows[method->kind];
}

static int parameter_count(const struct method_row *row)
{
    int count = 0;
    while (count < METHOD_PARAMETERS_MAX && row->parameters[count].name)
        count++;
    return count;
}

/* "a, b and c". */
static void list_names(char list[LIST_BYTES], const char *const *names, int count)
{
    size_t used = 0;
    for (int i = 0; i < count && used < LIST_BYTES; i++)
        used += (size_t)snprintf(list + used, LIST_BYTES - used, "%s%s",
                                 i == 0           ? ""
                                 : i == count - 1 ? " and "
                                                  : ", ",
                                 names[i]);
}

static enum status find_kind(enum method_kind *kind, const char *word)
{
    const char *names[NAMES_MAX];
    char list[LIST_BYTES];
    assert(method_rows_count <= NAMES_MAX);
    for (int i = 0; i < method_rows_count; i++) {
        names[i] = method_rows[i].name;
        if (strcmp(word, names[i]) == 0) {
            *kind = (enum method_kind)i;
            return STATUS_OK;
        }
    }
    const char *near = nearest_name(word, names, (size_t)method_rows_count);
    list_names(list, names, method_rows_count);
    return fail(STATUS_INVALID_ARGUMENT, "unknown method \"%s\"%s%s%s There are %s", word,
                near ? ": did you mean \"" : ".", near ? near : "", near ? "\"?" : "", list);
}

static enum status find_parameter(int *index, const struct method_row *row, const char *word)
{
    const char *names[METHOD_PARAMETERS_MAX];
    char list[LIST_BYTES];
    const int count = parameter_count(row);
    for (int i = 0; i < count; i++) {
        names[i] = row->parameters[i].name;
        if (strcmp(word, names[i]) == 0) {
            *index = i;
            return STATUS_OK;
        }
    }
    if (count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "method %s: takes no parameters, but \"%s\" is given",
                    row->name, word);
    const char *near = nearest_name(word, names, (size_t)count);
    if (near)
        return fail(STATUS_INVALID_ARGUMENT,
                    "method %s: unknown parameter \"%s\": did you mean \"%s\"?", row->name, word,
                    near);
    list_names(list, names, count);
    return fail(STATUS_INVALID_ARGUMENT, "method %s: unknown parameter \"%s\": it has %s",
                row->name, word, list);
}

/* ---- values ---- */

static int64_t *tokens_at(struct method *method, const struct method_parameter *parameter)
{
    return (int64_t *)(void *)((char *)method + parameter->offset);
}

static double *real_at(struct method *method, const struct method_parameter *parameter)
{
    return (double *)(void *)((char *)method + parameter->offset);
}

static int64_t tokens_of(const struct method *method, const struct method_parameter *parameter)
{
    return *(const int64_t *)(const void *)((const char *)method + parameter->offset);
}

static double real_of(const struct method *method, const struct method_parameter *parameter)
{
    return *(const double *)(const void *)((const char *)method + parameter->offset);
}

/* A parameter's text in a spelling. */
struct spelt {
    const struct method_row *row;
    const struct method_parameter *parameter;
    const char *text;
};

static enum status parse_tokens(int64_t *tokens, const struct spelt *spelt)
{
    int64_t value = 0;
    for (const char *c = spelt->text; *c; c++) {
        if (*c < '0' || *c > '9')
            return fail(STATUS_INVALID_ARGUMENT, "method %s: %s=%s is not a number of tokens",
                        spelt->row->name, spelt->parameter->name, spelt->text);
        value = value * 10 + (*c - '0');
        if (value > METHOD_TOKENS_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "method %s: %s=%s is too large: at most %lld",
                        spelt->row->name, spelt->parameter->name, spelt->text,
                        (long long)METHOD_TOKENS_MAX);
    }
    *tokens = value;
    return STATUS_OK;
}

static enum status parse_real(double *real, const struct spelt *spelt)
{
    char *end;
    const double value = strtod(spelt->text, &end);
    if (*end || !isfinite(value) || strspn(spelt->text, "0123456789.eE+-") != strlen(spelt->text))
        return fail(STATUS_INVALID_ARGUMENT, "method %s: %s=%s is not a number", spelt->row->name,
                    spelt->parameter->name, spelt->text);
    *real = value;
    return STATUS_OK;
}

/* Sets *given to false for the word that stands for the default. */
static enum status parse_share(int64_t *tokens, bool *given, const struct spelt *spelt,
                               int64_t trained_tokens)
{
    double fraction;
    *given = strcmp(spelt->text, "auto") != 0;
    if (!*given)
        return STATUS_OK;
    if (!strchr(spelt->text, '.'))
        return parse_tokens(tokens, spelt);
    TRY(parse_real(&fraction, spelt));
    if (fraction <= 0 || fraction >= 1)
        return fail(STATUS_INVALID_ARGUMENT,
                    "method %s: %s=%s: a fraction of the trained length lies between 0 and 1",
                    spelt->row->name, spelt->parameter->name, spelt->text);
    *tokens = (int64_t)(fraction * (double)trained_tokens);
    return STATUS_OK;
}

static enum status parse_value(struct method *method, bool *given, const struct spelt *spelt,
                               int64_t trained_tokens)
{
    const struct method_parameter *parameter = spelt->parameter;
    *given = true;
    switch (parameter->type) {
    case METHOD_TOKENS:
        return parse_tokens(tokens_at(method, parameter), spelt);
    case METHOD_TRAINED_SHARE:
        return parse_share(tokens_at(method, parameter), given, spelt, trained_tokens);
    case METHOD_REAL:
        if (parameter->word && strcmp(spelt->text, parameter->word) == 0) {
            *real_at(method, parameter) = parameter->word_real;
            return STATUS_OK;
        }
        return parse_real(real_at(method, parameter), spelt);
    }
    return fail(STATUS_INTERNAL, "method %s: %s has no parser", spelt->row->name, parameter->name);
}

/* ---- checking ---- */

static enum status check_parameter(const struct method *method,
                                   const struct method_parameter *parameter)
{
    if (parameter->type == METHOD_REAL) {
        const double real = real_of(method, parameter);
        if (real > parameter->above && real <= parameter->at_most) /* NaN is neither */
            return STATUS_OK;
        return fail(STATUS_INVALID_ARGUMENT, "method %s: %s=%g must be above %g and at most %g",
                    row_of(method)->name, parameter->name, real, parameter->above,
                    parameter->at_most);
    }
    const int64_t tokens = tokens_of(method, parameter);
    if (tokens >= parameter->least && tokens <= parameter->most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "method %s: %s=%lld must be between %lld and %lld",
                row_of(method)->name, parameter->name, (long long)tokens,
                (long long)parameter->least, (long long)parameter->most);
}

enum status method_check(const struct method *method)
{
    if ((int)method->kind < 0 || (int)method->kind >= method_rows_count)
        return fail(STATUS_INVALID_ARGUMENT, "method: there is no kind %d", (int)method->kind);
    const struct method_row *row = row_of(method);
    for (int i = 0; i < parameter_count(row); i++)
        TRY(check_parameter(method, &row->parameters[i]));
    return row->check ? row->check(method) : STATUS_OK;
}

/* Fills in what is absent, in the row's order: a default may follow from a parameter before it. */
static enum status settle(struct method *method, const bool given[METHOD_PARAMETERS_MAX],
                          int64_t trained_tokens)
{
    const struct method_row *row = row_of(method);
    for (int i = 0; i < parameter_count(row); i++) {
        const struct method_parameter *parameter = &row->parameters[i];
        if (given[i])
            continue;
        if (parameter->type == METHOD_REAL) {
            *real_at(method, parameter) = parameter->absent_real;
            continue;
        }
        const int64_t tokens = parameter->absent(method, trained_tokens);
        if (tokens < parameter->least && trained_tokens == 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "method %s: the model does not say its trained length: give %s in tokens",
                        row->name, parameter->name);
        *tokens_at(method, parameter) = tokens;
    }
    return method_check(method);
}

/* ---- spelling ---- */

/* So many bytes of `text` that fit a word and end no UTF-8 character in its middle. */
static int shown_bytes(const char *text, size_t bytes)
{
    if (bytes < WORD_BYTES)
        return (int)bytes;
    int shown = WORD_BYTES - 1;
    while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    return shown;
}

/* One `key=value`. */
struct option {
    char key[WORD_BYTES];
    char value[WORD_BYTES];
};

/* Takes the next option off *text; each ends with a comma or with the text. */
static enum status next_option(struct option *option, const char **text)
{
    const size_t bytes = strcspn(*text, ",");
    const char *equals = memchr(*text, '=', bytes);
    const size_t key_bytes = equals ? (size_t)(equals - *text) : 0;
    const size_t value_bytes = equals ? bytes - key_bytes - 1 : 0;
    if (key_bytes == 0 || value_bytes == 0 || key_bytes >= WORD_BYTES || value_bytes >= WORD_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "method: \"%.*s\" is not a parameter: write key=value",
                    shown_bytes(*text, bytes), *text);
    memcpy(option->key, *text, key_bytes);
    option->key[key_bytes] = '\0';
    memcpy(option->value, equals + 1, value_bytes);
    option->value[value_bytes] = '\0';
    *text += bytes;
    return STATUS_OK;
}

static enum status parse_options(struct method *method, bool given[METHOD_PARAMETERS_MAX],
                                 const char *text, int64_t trained_tokens)
{
    const struct method_row *row = row_of(method);
    bool named[METHOD_PARAMETERS_MAX] = {false};
    for (;;) {
        struct option option;
        int index = 0;
        TRY(next_option(&option, &text));
        TRY(find_parameter(&index, row, option.key));
        if (named[index])
            return fail(STATUS_INVALID_ARGUMENT, "method %s: %s is given twice", row->name,
                        option.key);
        named[index] = true;
        const struct spelt spelt = {row, &row->parameters[index], option.value};
        TRY(parse_value(method, &given[index], &spelt, trained_tokens));
        if (*text == '\0')
            return STATUS_OK;
        text++;
    }
}

enum status method_parse(struct method *method, const char *text, int64_t trained_tokens)
{
    char name[WORD_BYTES];
    const size_t bytes = strcspn(text, ":");
    struct method parsed = {.logit_scale = 1};
    bool given[METHOD_PARAMETERS_MAX] = {false};
    snprintf(name, sizeof name, "%.*s", shown_bytes(text, bytes), text);
    TRY(find_kind(&parsed.kind, name));
    if (text[bytes] == ':')
        TRY(parse_options(&parsed, given, text + bytes + 1, trained_tokens));
    TRY(settle(&parsed, given, trained_tokens));
    *method = parsed;
    return STATUS_OK;
}

enum status method_make(struct method *method, const char *name, const struct method_value *values,
                        size_t count, int64_t trained_tokens)
{
    struct method made = {.logit_scale = 1};
    bool given[METHOD_PARAMETERS_MAX] = {false};
    TRY(find_kind(&made.kind, name));
    for (size_t i = 0; i < count; i++) {
        int index = 0;
        TRY(find_parameter(&index, row_of(&made), values[i].name));
        const struct method_parameter *parameter = &row_of(&made)->parameters[index];
        given[index] = true;
        if (parameter->type == METHOD_REAL)
            *real_at(&made, parameter) = values[i].real;
        else
            *tokens_at(&made, parameter) = values[i].tokens;
    }
    TRY(settle(&made, given, trained_tokens));
    *method = made;
    return STATUS_OK;
}

/* The fewest digits that read back as the same number. */
static void print_real(char text[WORD_BYTES], double real)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, WORD_BYTES, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            return;
    }
}

void method_print(const struct method *method, char text[METHOD_TEXT_BYTES])
{
    const struct method_row *row = row_of(method);
    int used = snprintf(text, METHOD_TEXT_BYTES, "%s", row->name);
    for (int i = 0; i < parameter_count(row); i++) {
        const struct method_parameter *parameter = &row->parameters[i];
        char value[WORD_BYTES];
        if (parameter->type == METHOD_REAL)
            print_real(value, real_of(method, parameter));
        else
            snprintf(value, sizeof value, "%lld", (long long)tokens_of(method, parameter));
        used += snprintf(text + used, METHOD_TEXT_BYTES - (size_t)used, "%c%s=%s",
                         i == 0 ? ':' : ',', parameter->name, value);
        assert(used < METHOD_TEXT_BYTES);
    }
}

void method_bands(const struct method *method, struct bands *bands)
{
    *bands = (struct bands){0};
    row_of(method)->bands(method, bands);
}
