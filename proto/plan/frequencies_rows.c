/* Owns the list of frequencies. */
#include "proto/plan/frequencies_rows.h"

#include <math.h>
#include <string.h>

#include "proto/nearest.h"

enum { FACTOR, ORIGINAL, ATTENTION }; /* the order in every list; linear and ntk end early */

static union parameter_number yarn_original(const union parameter_number *numbers,
                                            int64_t trained_tokens)
{
    (void)numbers;
    return (union parameter_number){.tokens = trained_tokens};
}

/* Peng et al., 2023, equation 22: sqrt(1 / t) = 0.1 ln s + 1. */
static union parameter_number yarn_attention(const union parameter_number *numbers,
                                             int64_t trained_tokens)
{
    (void)trained_tokens;
    return (union parameter_number){.real = 0.1 * log(numbers[FACTOR].real) + 1};
}

static const struct parameter parameters[] = {
    [FACTOR] = {.name = "factor",
                .type = PARAMETER_REAL,
                .least.real = 1,
                .most.real = 1e6,
                .required = true},
    [ORIGINAL] = {.name = "original",
                  .type = PARAMETER_TRAINED_SHARE,
                  .least.tokens = 1,
                  .most.tokens = 1 << 30, /* as many as a model may be trained for */
                  .follows = yarn_original},
    [ATTENTION] = {.name = "attention",
                   .type = PARAMETER_REAL,
                   .least.real = 0,
                   .above = true,
                   .most.real = 100,
                   .follows = yarn_attention},
};

static const struct row {
    const char *name;
    int count;
} rows[] = {
    [FREQUENCIES_LINEAR] = {"linear", 1},
    [FREQUENCIES_NTK] = {"ntk", 1},
    [FREQUENCIES_YARN] = {"yarn", 3},
    [FREQUENCIES_LONG] = {"long", 0},
};
enum { KINDS = sizeof rows / sizeof rows[0] };

enum status frequencies_rows_find(enum frequencies_kind *kind, const char *name)
{
    const char *names[KINDS];
    char all[PARAMETER_NAMES_BYTES];
    for (int i = FREQUENCIES_LINEAR; i < KINDS; i++) {
        names[i - FREQUENCIES_LINEAR] = rows[i].name;
        if (strcmp(name, rows[i].name) == 0) {
            *kind = (enum frequencies_kind)i;
            return STATUS_OK;
        }
    }
    const int count = KINDS - FREQUENCIES_LINEAR;
    const char *near = nearest_name(name, names, (size_t)count);
    parameter_names(all, names, count);
    return fail(STATUS_INVALID_ARGUMENT, "unknown frequencies \"%s\"%s%s%s There are %s", name,
                near ? ": did you mean \"" : ".", near ? near : "", near ? "\"?" : "", all);
}

struct parameter_list frequencies_rows_parameters(enum frequencies_kind kind)
{
    struct parameter_list list = {"frequencies", rows[kind].name, .count = rows[kind].count};
    for (int i = 0; i < list.count; i++)
        list.at[i] = &parameters[i];
    return list;
}

void frequencies_rows_make(struct frequencies *frequencies, enum frequencies_kind kind,
                           const union parameter_number *numbers)
{
    frequencies->kind = kind;
    frequencies->factor = numbers[FACTOR].real;
    frequencies->original_tokens = numbers[ORIGINAL].tokens; /* 0 in a draft of a shorter list */
    frequencies->attention = numbers[ATTENTION].real;
}

void frequencies_rows_numbers(union parameter_number numbers[PARAMETER_LIST_MAX],
                              const struct frequencies *frequencies)
{
    numbers[FACTOR].real = frequencies->factor;
    numbers[ORIGINAL].tokens = frequencies->original_tokens;
    numbers[ATTENTION].real = frequencies->attention;
}
