/* A table of a user's own: which earlier tokens a token sees and at which distance, as bands by the
 * distance d = i - j, of ordinary keys and of the first few, the sinks. As text a class of keys is
 *
 *     RULE[:NUMBER[:NUMBER]][..END]/RULE.../RULE        plain..4096/shift:-2048..8192/hidden
 *
 * each band from where the one before it ends up to END, the last one without an end. The rules, by
 * the effective distance e of a pair:
 *
 *     plain         e = d
 *     shift:o       e = d + o
 *     fixed:c       e = c
 *     anchor:c      e = c - j                               of sinks alone
 *     scale:b:k     e = b + (d - b) / k
 *     group:g:o     e = floor(i / g) - floor(j / g) + o
 *     hidden        not visible
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/status.h"

enum {
    OWN_TABLE_BANDS_MAX = 7,    /* of a class of keys */
    OWN_TABLE_TEXT_BYTES = 160, /* of both classes together, with their ends */
    OWN_TABLE_NUMBERS_MAX = 2,
    OWN_TABLE_SENTENCE_BYTES = 192,
};

struct own_table_rule {
    const char *name;
    const char *numbers[OWN_TABLE_NUMBERS_MAX]; /* what a file calls them; NULL: no more */
};

extern const struct own_table_rule own_table_rules[];
extern const int own_table_rules_count;

struct own_table_band {
    int64_t end; /* BANDS_OPEN: none */
    int64_t rule;
    double numbers[OWN_TABLE_NUMBERS_MAX];
};

/* All bytes of unused bands are 0. */
struct own_table {
    int64_t count[2]; /* by enum band_class; 0: a class without bands */
    struct own_table_band list[2][OWN_TABLE_BANDS_MAX];
};

/* A rule by name; the sentence of the refusal says which there are. */
MUST_CHECK enum status own_table_find_rule(int64_t *rule, const char *name);

/* Reads the bands of one class. INVALID_ARGUMENT says which band is wrong and what is possible. */
MUST_CHECK enum status own_table_parse(struct own_table *table, enum band_class key_class,
                                       const char *text);

/* Writes them as own_table_parse reads them; "" where the class has none. */
void own_table_print(const struct own_table *table, enum band_class key_class,
                     char text[OWN_TABLE_TEXT_BYTES]);

/* Where a table breaks a rule, and which one. */
struct own_table_fault {
    enum band_class key_class;
    int band; /* of the class; -1: none of them alone */
    char sentence[OWN_TABLE_SENTENCE_BYTES];
};

/* Whether every token sees itself, no distance is missing or below 0, and there are frames, bands
 * and text for all of it. */
bool own_table_check(const struct own_table *table, int64_t sinks, struct own_table_fault *fault);

/* The bands of a table that passed its check. Sinks that are in sight beyond all other keys are
 * read from where sinks alone are kept. */
void own_table_bands(const struct own_table *table, int64_t sinks, struct bands *bands);
