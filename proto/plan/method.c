/* Owns the spelling of methods. Promises that every method, however it came, has passed its row's
 * ranges and checks. */
#include "proto/plan/method.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/nearest.h"
#include "proto/plan/frequencies_rows.h"
#include "proto/plan/method_rows.h"

enum { ROWS_MAX = 32 };

/* ---- rows ---- */

/* What any method takes, last of its list. */
static const struct parameter logn_parameter = {.name = "logn",
                                                .type = PARAMETER_TOKENS,
                                                .least.tokens = 2,
                                                .most.tokens = PARAMETER_TOKENS_MAX,
                                                .zero_is_none = true};

static struct parameter_list parameters_of(const struct method_row *row)
{
    struct parameter_list list = {.what = "method", .name = row->name};
    while (row->parameters[list.count].name) {
        list.at[list.count] = &row->parameters[list.count];
        list.count++;
        assert(list.count < PARAMETER_LIST_MAX);
    }
    list.at[list.count++] = &logn_parameter;
    return list;
}

static enum status find_row(const struct method_row **row, const char *word)
{
    const char *names[ROWS_MAX];
    char all[PARAMETER_NAMES_BYTES];
    assert(method_rows_count <= ROWS_MAX);
    for (int i = 0; i < method_rows_count; i++) {
        names[i] = method_rows[i]->name;
        if (strcmp(word, names[i]) == 0) {
            *row = method_rows[i];
            return STATUS_OK;
        }
    }
    const char *near = nearest_name(word, names, (size_t)method_rows_count);
    parameter_names(all, names, method_rows_count);
    return fail(STATUS_INVALID_ARGUMENT, "unknown method \"%s\"%s%s%s There are %s", word,
                near ? ": did you mean \"" : ".", near ? near : "", near ? "\"?" : "", all);
}

/* ---- checking ---- */

static enum status check_frequencies(const struct frequencies *frequencies)
{
    if (frequencies->kind == FREQUENCIES_OF_MODEL)
        return STATUS_OK;
    const struct parameter_list list = frequencies_rows_parameters(frequencies->kind);
    union parameter_number numbers[PARAMETER_LIST_MAX];
    frequencies_rows_numbers(numbers, frequencies);
    return parameter_check(&list, numbers);
}

static bool waits_for_length(const struct parameter *parameter, union parameter_number number)
{
    return parameter->of_request && number.tokens == 0;
}

enum status method_check(const struct method *method)
{
    if (!method->row)
        return fail(STATUS_INVALID_ARGUMENT, "no method is given");
    const struct parameter_list list = parameters_of(method->row);
    TRY(parameter_check(&list, method->numbers));
    for (int i = 0; i < list.count; i++)
        if (waits_for_length(list.at[i], method->numbers[i]))
            return fail(STATUS_INVALID_ARGUMENT, "method %s: give %s=..., the tokens of the text",
                        list.name, list.at[i]->name);
    if (method->row->check)
        TRY(method->row->check(method));
    return check_frequencies(&method->frequencies);
}

/* Takes over a draft of the row's list. */
static enum status settle(struct method *method, struct parameter_draft *draft,
                          int64_t trained_tokens)
{
    const struct parameter_list list = parameters_of(method->row);
    TRY(parameter_settle(draft, &list, trained_tokens));
    memcpy(method->numbers, draft->numbers, sizeof draft->numbers);
    return method->row->check ? method->row->check(method) : STATUS_OK;
}

/* ---- spelling ---- */

/* The name at the front of `text`, and where its options are; NULL without any. */
static const char *split_name(char name[PARAMETER_WORD_BYTES], const char *text)
{
    const size_t bytes = strcspn(text, ":");
    snprintf(name, PARAMETER_WORD_BYTES, "%.*s", parameter_shown_bytes(text, bytes), text);
    return text[bytes] == ':' ? text + bytes + 1 : NULL;
}

/* Bytes of `text` before the plus of its frequencies: one of a number's exponent has a digit behind
 * it. */
static size_t method_bytes(const char *text)
{
    size_t bytes = strcspn(text, "+");
    while (text[bytes] == '+' && text[bytes + 1] >= '0' && text[bytes + 1] <= '9')
        bytes += 1 + strcspn(text + bytes + 1, "+");
    return bytes;
}

static enum status parse_frequencies(struct frequencies *frequencies, const char *text,
                                     int64_t trained_tokens)
{
    char name[PARAMETER_WORD_BYTES];
    enum frequencies_kind kind = FREQUENCIES_OF_MODEL;
    struct parameter_draft draft = {0};
    const char *options = split_name(name, text);
    TRY(frequencies_rows_find(&kind, name));
    const struct parameter_list list = frequencies_rows_parameters(kind);
    if (options)
        TRY(parameter_parse(&draft, &list, options, trained_tokens));
    TRY(parameter_settle(&draft, &list, trained_tokens));
    frequencies_rows_make(frequencies, kind, draft.numbers);
    return STATUS_OK;
}

/* ---- a user's own table ---- */

static const char *const table_keys[] = {[BAND_ORDINARY] = "keys=", [BAND_SINK] = "sink_keys="};

/* Takes an option that is a class of a table; *taken says whether it was one. */
static enum status take_class(struct own_table *table, bool *taken, const char *option)
{
    *taken = false;
    for (int c = BAND_ORDINARY; c <= BAND_SINK && !*taken; c++) {
        const size_t bytes = strlen(table_keys[c]);
        if (strncmp(option, table_keys[c], bytes) != 0)
            continue;
        if (table->count[c] > 0)
            return fail(STATUS_INVALID_ARGUMENT, "method table: %.*s is given twice",
                        (int)bytes - 1, table_keys[c]);
        TRY(own_table_parse(table, (enum band_class)c, option + bytes));
        *taken = true;
    }
    return STATUS_OK;
}

/* Reads the table's classes out of `options`, and leaves the others in `rest`. */
static enum status take_table(struct own_table *table, char rest[METHOD_TEXT_BYTES],
                              const char *options)
{
    size_t used = 0;
    rest[0] = '\0';
    for (const char *at = options;; at++) {
        char option[METHOD_TEXT_BYTES];
        bool taken = false;
        const size_t bytes = strcspn(at, ",");
        if (bytes == 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "method table: \"\" is not a parameter: write key=value");
        snprintf(option, sizeof option, "%.*s", (int)bytes, at);
        TRY(take_class(table, &taken, option));
        if (!taken)
            used += (size_t)snprintf(rest + used, METHOD_TEXT_BYTES - used, "%s%s",
                                     used > 0 ? "," : "", option);
        at += bytes;
        if (*at == '\0')
            return STATUS_OK;
    }
}

static size_t print_table(char *text, size_t bytes, const struct own_table *table, bool first)
{
    size_t used = 0;
    for (int c = BAND_ORDINARY; c <= BAND_SINK; c++) {
        char one[OWN_TABLE_TEXT_BYTES];
        if (table->count[c] == 0)
            continue;
        own_table_print(table, (enum band_class)c, one);
        used += (size_t)snprintf(text + used, bytes - used, "%c%s%s",
                                 first && used == 0 ? ':' : ',', table_keys[c], one);
        assert(used < bytes);
    }
    return used;
}

static enum status parse_row(struct method *method, const char *text, int64_t trained_tokens)
{
    char name[PARAMETER_WORD_BYTES];
    struct parameter_draft draft = {0};
    const char *options = split_name(name, text);
    char rest[METHOD_TEXT_BYTES];
    TRY(find_row(&method->row, name));
    const struct parameter_list list = parameters_of(method->row);
    if (options && method->row->has_table) {
        TRY(take_table(&method->table, rest, options));
        options = rest[0] ? rest : NULL;
    }
    if (options)
        TRY(parameter_parse(&draft, &list, options, trained_tokens));
    return settle(method, &draft, trained_tokens);
}

enum status method_parse(struct method *method, const char *text, int64_t trained_tokens)
{
    struct method parsed = {0};
    char front[METHOD_TEXT_BYTES];
    const size_t bytes = method_bytes(text);
    if (bytes >= sizeof front)
        return fail(STATUS_INVALID_ARGUMENT, "method \"%.*s...\": longer than %d bytes",
                    parameter_shown_bytes(text, bytes), text, METHOD_TEXT_BYTES - 1);
    memcpy(front, text, bytes);
    front[bytes] = '\0';
    TRY(parse_row(&parsed, front, trained_tokens));
    if (text[bytes] == '+')
        TRY(parse_frequencies(&parsed.frequencies, text + bytes + 1, trained_tokens));
    *method = parsed;
    return STATUS_OK;
}

enum status method_make(struct method *method, const char *name, const struct method_value *values,
                        size_t count, int64_t trained_tokens)
{
    struct method made = {0};
    struct parameter_draft draft = {0};
    TRY(find_row(&made.row, name));
    const struct parameter_list list = parameters_of(made.row);
    for (size_t i = 0; i < count; i++) {
        int index = 0;
        TRY(parameter_find(&index, &list, values[i].name));
        draft.given[index] = true;
        if (list.at[index]->type == PARAMETER_REAL)
            draft.numbers[index].real = values[i].real;
        else
            draft.numbers[index].tokens = values[i].tokens;
    }
    TRY(settle(&made, &draft, trained_tokens));
    *method = made;
    return STATUS_OK;
}

void method_print(const struct method *method, char text[METHOD_TEXT_BYTES])
{
    const struct parameter_list list = parameters_of(method->row);
    size_t used = (size_t)snprintf(text, METHOD_TEXT_BYTES, "%s", list.name);
    const size_t options =
        parameter_print(text + used, METHOD_TEXT_BYTES - used, &list, method->numbers);
    used += options;
    used += print_table(text + used, METHOD_TEXT_BYTES - used, &method->table, options == 0);
    if (method->frequencies.kind == FREQUENCIES_OF_MODEL)
        return;
    const struct parameter_list behind = frequencies_rows_parameters(method->frequencies.kind);
    union parameter_number numbers[PARAMETER_LIST_MAX];
    frequencies_rows_numbers(numbers, &method->frequencies);
    used += (size_t)snprintf(text + used, METHOD_TEXT_BYTES - used, "+%s", behind.name);
    parameter_print(text + used, METHOD_TEXT_BYTES - used, &behind, numbers);
}

/* ---- what it means ---- */

bool method_follows_length(const struct method *method)
{
    const struct parameter_list list = parameters_of(method->row);
    bool follows = false;
    for (int i = 0; i < list.count; i++)
        follows = follows || waits_for_length(list.at[i], method->numbers[i]);
    return follows;
}

void method_fit(struct method *method, int64_t tokens)
{
    const struct parameter_list list = parameters_of(method->row);
    for (int i = 0; i < list.count; i++)
        if (waits_for_length(list.at[i], method->numbers[i]))
            method->numbers[i].tokens =
                tokens > list.at[i]->least.tokens ? tokens : list.at[i]->least.tokens;
}

void method_bands(const struct method *method, struct bands *bands)
{
    method->row->bands(method, bands);
}

int64_t method_local_heads(const struct method *method)
{
    return method->row->local_heads ? method->row->local_heads(method) : 0;
}

void method_local_bands(const struct method *method, struct bands *bands)
{
    method->row->local_bands(method, bands);
}

double method_logit_scale(const struct method *method)
{
    return method->row->logit_scale ? method->row->logit_scale(method) : 1;
}

int64_t method_logn(const struct method *method)
{
    return method->numbers[parameters_of(method->row).count - 1].tokens;
}

bool method_is_plain_rope(const struct method *method)
{
    return method->row == &method_rope && method->frequencies.kind == FREQUENCIES_OF_MODEL;
}
