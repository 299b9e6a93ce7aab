/* What a method shows a token, for people and for programs: a plan's answer to who sees what, at
 * which distance, and why. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "proto/json_writer.h"

/* By a canonical spelling, of a text of `tokens` tokens, prompt and answer; a spelling that this
 * version does not know draws nothing. A model's own sliding window is not in it. */
void sight_drawing_print(FILE *file, const char *spelling, int64_t tokens);

/* The same as the member "sight": an array of what the last token sees, or null. */
void sight_drawing_json(struct json_writer *writer, const char *spelling, int64_t tokens);
