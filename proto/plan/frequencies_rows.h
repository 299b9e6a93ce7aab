/* How frequencies are spelt behind a method's plus: their names and parameters. */
#pragma once

#include "proto/plan/frequencies.h"
#include "proto/plan/parameter.h"

/* INVALID_ARGUMENT says which there are. */
MUST_CHECK enum status frequencies_rows_find(enum frequencies_kind *kind, const char *name);

/* Of any kind but FREQUENCIES_OF_MODEL. */
struct parameter_list frequencies_rows_parameters(enum frequencies_kind kind);

/* Between the struct and the numbers of its list. Sets field by field, for choices are compared as
 * memory. */
void frequencies_rows_make(struct frequencies *frequencies, enum frequencies_kind kind,
                           const union parameter_number *numbers);
void frequencies_rows_numbers(union parameter_number numbers[PARAMETER_LIST_MAX],
                              const struct frequencies *frequencies);
