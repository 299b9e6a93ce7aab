/* Owns nothing. Promises well-formed XML whatever the texts hold. */
#include "coordinator/bench/svg_text.h"

#include <stdbool.h>
#include <string.h>

#include "proto/utf8.h"

static const double CHARACTER = 6.9; /* pixels at 12, about, of one letter among many */

/* What XML 1.0 takes: no control characters but tab and newlines, no U+FFFE, no U+FFFF. */
static bool is_character(const char *text, int bytes)
{
    const unsigned char first = (unsigned char)text[0];
    if (bytes == 1)
        return first >= 0x20 ? first != 0x7f : first == '\t' || first == '\n' || first == '\r';
    return bytes != 3 || memcmp(text, "\xef\xbf", 2) != 0 || (unsigned char)text[2] < 0xbe;
}

void svg_text_escape(FILE *file, const char *text)
{
    for (size_t bytes = strlen(text), at = 0; at < bytes;) {
        int step = utf8_sequence(text + at, bytes - at);
        const bool whole = step > 0 && is_character(text + at, step);
        if (step <= 0)
            step = step < 0 ? -step : (int)(bytes - at);
        const char c = text[at];
        if (!whole)
            fputs(UTF8_REPLACEMENT, file);
        else if (c == '&')
            fputs("&amp;", file);
        else if (c == '<')
            fputs("&lt;", file);
        else if (c == '>')
            fputs("&gt;", file);
        else if (c == '"')
            fputs("&quot;", file);
        else
            fwrite(text + at, 1, (size_t)step, file);
        at += (size_t)step;
    }
}

double svg_text_width(const char *text)
{
    double characters = 0;
    for (; *text; text++)
        characters += ((unsigned char)*text & 0xc0) != 0x80;
    return characters * CHARACTER;
}

void svg_text_write(FILE *file, double x, double y, const char *more, const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, more);
    svg_text_escape(file, text);
    fputs("</text>\n", file);
}
