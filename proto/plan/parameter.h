/* Named numbers in a spelling, `key=value,key=value`: their types, ranges and defaults. A method
 * has such a list, and so have the frequencies behind its plus. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum {
    PARAMETER_LIST_MAX = 6,
    PARAMETER_WORD_BYTES = 32, /* of a key or a value, with its end */
    PARAMETER_NAMES_BYTES = 256
};

/* Largest number of tokens anywhere: sums of two stay far from overflow. */
#define PARAMETER_TOKENS_MAX ((int64_t)1 << 40)

union parameter_number {
    int64_t tokens;
    double real;
};

enum parameter_type {
    PARAMETER_TOKENS,        /* a number of tokens */
    PARAMETER_TRAINED_SHARE, /* the same; also a fraction of the trained length, or `auto` */
    PARAMETER_REAL,
};

struct parameter {
    const char *name;
    enum parameter_type type;
    union parameter_number least, most; /* its range, ends included */
    bool above;                         /* but for the lower one */
    bool required;                      /* there is no default */
    /* The default: a number, or what follows from the numbers before it in the list and from the
     * trained length, which is 0 where the model does not say it. */
    union parameter_number absent;
    union parameter_number (*follows)(const union parameter_number *numbers,
                                      int64_t trained_tokens);
    bool zero_is_none; /* 0 is in range whatever `least` is, and not printed */
    bool of_request;   /* with zero_is_none: 0 stands for the tokens of a request (method_fit) */
    const char *word;  /* stands for one real number; NULL: none does */
    double word_real;
};

/* What they are parameters of: a "method" or "frequencies", and its name. */
struct parameter_list {
    const char *what, *name;
    const struct parameter *at[PARAMETER_LIST_MAX];
    int count;
};

/* Numbers of a list in the making, by its order. */
struct parameter_draft {
    union parameter_number numbers[PARAMETER_LIST_MAX];
    bool given[PARAMETER_LIST_MAX];
};

/* INVALID_ARGUMENT says what there is, and the nearest name. */
MUST_CHECK enum status parameter_find(int *index, const struct parameter_list *list,
                                      const char *word);

/* Reads the options up to the end of `text`. */
MUST_CHECK enum status parameter_parse(struct parameter_draft *draft,
                                       const struct parameter_list *list, const char *text,
                                       int64_t trained_tokens);

/* Fills in what is absent, in the list's order, and checks all. */
MUST_CHECK enum status parameter_settle(struct parameter_draft *draft,
                                        const struct parameter_list *list, int64_t trained_tokens);

MUST_CHECK enum status parameter_check(const struct parameter_list *list,
                                       const union parameter_number *numbers);

/* ":key=value,key=value", every number in the fewest digits that read back as the same number; ""
 * where there is nothing to say. Returns its length. */
size_t parameter_print(char *text, size_t bytes, const struct parameter_list *list,
                       const union parameter_number *numbers);

/* "a, b and c". */
void parameter_names(char names[PARAMETER_NAMES_BYTES], const char *const *list, int count);

/* So many of `bytes` bytes of text that fit a word and end no UTF-8 character in its middle. */
int parameter_shown_bytes(const char *text, size_t bytes);
