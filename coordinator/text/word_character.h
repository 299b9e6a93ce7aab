/* Letters, numbers, marks and connecting signs, as the \w of the oracle's regular expressions has
 * them (Unicode 16). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool word_character_is(int32_t point);
