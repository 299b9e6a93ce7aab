/* Filters that compare items with each other. Texts are compared without regard to case, unless
 * case_sensitive is asked for. */
#pragma once

#include "coordinator/jinja/jinja_call.h"

jinja_function jinja_sort_sort;
jinja_function jinja_sort_unique;
jinja_function jinja_sort_min;
jinja_function jinja_sort_max;
jinja_function jinja_sort_dict;
