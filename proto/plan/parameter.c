/* Owns the spelling of parameters. Promises that a list that was settled or checked has every
 * number in its range. */
#include "proto/plan/parameter.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/nearest.h"

/* ---- names ---- */

void parameter_names(char names[PARAMETER_NAMES_BYTES], const char *const *list, int count)
{
    size_t used = 0;
    for (int i = 0; i < count && used < PARAMETER_NAMES_BYTES; i++)
        used += (size_t)snprintf(names + used, PARAMETER_NAMES_BYTES - used, "%s%s",
                                 i == 0           ? ""
                                 : i == count - 1 ? " and "
                                                  : ", ",
                                 list[i]);
}

enum status parameter_find(int *index, const struct parameter_list *list, const char *word)
{
    const char *names[PARAMETER_LIST_MAX];
    char all[PARAMETER_NAMES_BYTES];
    for (int i = 0; i < list->count; i++) {
        names[i] = list->at[i]->name;
        if (strcmp(word, names[i]) == 0) {
            *index = i;
            return STATUS_OK;
        }
    }
    const char *near = nearest_name(word, names, (size_t)list->count);
    if (near)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s %s: unknown parameter \"%s\": did you mean \"%s\"?", list->what, list->name,
                    word, near);
    parameter_names(all, names, list->count);
    return fail(STATUS_INVALID_ARGUMENT, "%s %s: unknown parameter \"%s\": it has %s", list->what,
                list->name, word, all);
}

int parameter_shown_bytes(const char *text, size_t bytes)
{
    if (bytes < PARAMETER_WORD_BYTES)
        return (int)bytes;
    int shown = PARAMETER_WORD_BYTES - 1;
    while (shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80)
        shown--;
    return shown;
}

/* ---- values ---- */

/* A parameter's text in a spelling. */
struct spelt {
    const struct parameter_list *list;
    const struct parameter *parameter;
    const char *text;
};

static enum status parse_tokens(int64_t *tokens, const struct spelt *spelt)
{
    int64_t value = 0;
    for (const char *c = spelt->text; *c; c++) {
        if (*c < '0' || *c > '9')
            return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s=%s is not a number of tokens",
                        spelt->list->what, spelt->list->name, spelt->parameter->name, spelt->text);
        value = value * 10 + (*c - '0');
        if (value > PARAMETER_TOKENS_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s=%s is too large: at most %lld",
                        spelt->list->what, spelt->list->name, spelt->parameter->name, spelt->text,
                        (long long)PARAMETER_TOKENS_MAX);
    }
    *tokens = value;
    return STATUS_OK;
}

static enum status parse_real(double *real, const struct spelt *spelt)
{
    const struct parameter *parameter = spelt->parameter;
    if (parameter->word && strcmp(spelt->text, parameter->word) == 0) {
        *real = parameter->word_real;
        return STATUS_OK;
    }
    char *end;
    const double value = strtod(spelt->text, &end);
    if (*end || !isfinite(value) || strspn(spelt->text, "0123456789.eE+-") != strlen(spelt->text))
        return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s=%s is not a number", spelt->list->what,
                    spelt->list->name, parameter->name, spelt->text);
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
                    "%s %s: %s=%s: a fraction of the trained length lies between 0 and 1",
                    spelt->list->what, spelt->list->name, spelt->parameter->name, spelt->text);
    *tokens = (int64_t)(fraction * (double)trained_tokens);
    return STATUS_OK;
}

static enum status parse_value(union parameter_number *number, bool *given,
                               const struct spelt *spelt, int64_t trained_tokens)
{
    *given = true;
    switch (spelt->parameter->type) {
    case PARAMETER_TOKENS:
        return parse_tokens(&number->tokens, spelt);
    case PARAMETER_TRAINED_SHARE:
        return parse_share(&number->tokens, given, spelt, trained_tokens);
    case PARAMETER_REAL:
        return parse_real(&number->real, spelt);
    }
    return fail(STATUS_INTERNAL, "%s %s: %s has no parser", spelt->list->what, spelt->list->name,
                spelt->parameter->name);
}

/* ---- checking ---- */

static enum status check_real(const struct parameter_list *list, const struct parameter *parameter,
                              double real)
{
    const double least = parameter->least.real;
    if ((parameter->above ? real > least : real >= least) &&
        real <= parameter->most.real) /* NaN is neither */
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s=%g must be %s %g and at most %g", list->what,
                list->name, parameter->name, real, parameter->above ? "above" : "at least", least,
                parameter->most.real);
}

static enum status check_tokens(const struct parameter_list *list,
                                const struct parameter *parameter, int64_t tokens)
{
    const int64_t least = parameter->least.tokens, most = parameter->most.tokens;
    if ((tokens >= least && tokens <= most) || (parameter->zero_is_none && tokens == 0))
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s=%lld must be between %lld and %lld%s",
                list->what, list->name, parameter->name, (long long)tokens, (long long)least,
                (long long)most, parameter->zero_is_none ? ", or 0 for none" : "");
}

enum status parameter_check(const struct parameter_list *list,
                            const union parameter_number *numbers)
{
    for (int i = 0; i < list->count; i++) {
        if (list->at[i]->type == PARAMETER_REAL)
            TRY(check_real(list, list->at[i], numbers[i].real));
        else
            TRY(check_tokens(list, list->at[i], numbers[i].tokens));
    }
    return STATUS_OK;
}

enum status parameter_settle(struct parameter_draft *draft, const struct parameter_list *list,
                             int64_t trained_tokens)
{
    for (int i = 0; i < list->count; i++) {
        const struct parameter *parameter = list->at[i];
        if (draft->given[i])
            continue;
        if (parameter->required)
            return fail(STATUS_INVALID_ARGUMENT, "%s %s: give %s=...", list->what, list->name,
                        parameter->name);
        draft->numbers[i] = parameter->follows ? parameter->follows(draft->numbers, trained_tokens)
                                               : parameter->absent;
        if (parameter->type != PARAMETER_REAL && trained_tokens == 0 && !parameter->zero_is_none &&
            draft->numbers[i].tokens < parameter->least.tokens)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s %s: the model does not say its trained length: give %s in tokens",
                        list->what, list->name, parameter->name);
    }
    return parameter_check(list, draft->numbers);
}

/* ---- spelling ---- */

/* One `key=value`. */
struct option {
    char key[PARAMETER_WORD_BYTES];
    char value[PARAMETER_WORD_BYTES];
};

/* Takes the next option off *text; each ends with a comma or with the text. */
static enum status next_option(struct option *option, const char **text,
                               const struct parameter_list *list)
{
    const size_t bytes = strcspn(*text, ",");
    const char *equals = memchr(*text, '=', bytes);
    const size_t key_bytes = equals ? (size_t)(equals - *text) : 0;
    const size_t value_bytes = equals ? bytes - key_bytes - 1 : 0;
    if (key_bytes == 0 || value_bytes == 0 || key_bytes >= PARAMETER_WORD_BYTES ||
        value_bytes >= PARAMETER_WORD_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "%s %s: \"%.*s\" is not a parameter: write key=value",
                    list->what, list->name, parameter_shown_bytes(*text, bytes), *text);
    memcpy(option->key, *text, key_bytes);
    option->key[key_bytes] = '\0';
    memcpy(option->value, equals + 1, value_bytes);
    option->value[value_bytes] = '\0';
    *text += bytes;
    return STATUS_OK;
}

enum status parameter_parse(struct parameter_draft *draft, const struct parameter_list *list,
                            const char *text, int64_t trained_tokens)
{
    bool named[PARAMETER_LIST_MAX] = {false};
    for (;;) {
        struct option option;
        int index = 0;
        TRY(next_option(&option, &text, list));
        TRY(parameter_find(&index, list, option.key));
        if (named[index])
            return fail(STATUS_INVALID_ARGUMENT, "%s %s: %s is given twice", list->what, list->name,
                        option.key);
        named[index] = true;
        const struct spelt spelt = {list, list->at[index], option.value};
        TRY(parse_value(&draft->numbers[index], &draft->given[index], &spelt, trained_tokens));
        if (*text == '\0')
            return STATUS_OK;
        text++;
    }
}

static void print_real(char text[PARAMETER_WORD_BYTES], double real)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, PARAMETER_WORD_BYTES, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            return;
    }
}

size_t parameter_print(char *text, size_t bytes, const struct parameter_list *list,
                       const union parameter_number *numbers)
{
    size_t used = 0;
    for (int i = 0; i < list->count; i++) {
        char value[PARAMETER_WORD_BYTES];
        const struct parameter *parameter = list->at[i];
        if (parameter->zero_is_none && numbers[i].tokens == 0)
            continue;
        if (parameter->type == PARAMETER_REAL)
            print_real(value, numbers[i].real);
        else
            snprintf(value, sizeof value, "%lld", (long long)numbers[i].tokens);
        used += (size_t)snprintf(text + used, bytes - used, "%c%s=%s", used == 0 ? ':' : ',',
                                 parameter->name, value);
        assert(used < bytes);
    }
    return used;
}
