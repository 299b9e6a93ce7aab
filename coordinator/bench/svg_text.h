/* Texts in an SVG file. */
#pragma once

#include <stdio.h>

/* With XML's escapes; what is no character becomes U+FFFD. */
void svg_text_escape(FILE *file, const char *text);

/* `more`: further attributes, with a space before them. */
void svg_text_write(FILE *file, double x, double y, const char *more, const char *text);

/* Pixels at 12, about, in letters as they are mixed in texts. */
double svg_text_width(const char *text);
