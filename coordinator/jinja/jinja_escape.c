/* Owns the list of escapes. */
#include "coordinator/jinja/jinja_escape.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { SURROGATES = 0xD800, AFTER_SURROGATES = 0xE000, AFTER_UNICODE = 0x110000 };

/* Writes a character as UTF-8; returns its bytes. */
static size_t put_utf8(char *to, unsigned code_point)
{
    if (code_point < 0x80) {
        to[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        to[0] = (char)(0xC0 | code_point >> 6);
        to[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        to[0] = (char)(0xE0 | code_point >> 12);
        to[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | code_point >> 18);
    to[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    to[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    to[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

/* A number of `digits` digits, all there; `place` moves behind them. -1 where one is missing. */
static long read_hexadecimal(const char **place, const char *end, int digits)
{
    long number = 0;
    for (int i = 0; i < digits; i++) {
        if (*place == end || !isxdigit((unsigned char)**place))
            return -1;
        const char digit[2] = {**place, 0};
        number = number * 16 + strtol(digit, NULL, 16);
        ++*place;
    }
    return number;
}

static long read_octal(const char **place, const char *end)
{
    long number = 0;
    for (int i = 0; i < 3 && *place < end && **place >= '0' && **place <= '7'; i++)
        number = number * 8 + (*(*place)++ - '0');
    return number;
}

/* What one letter stands for; 0 where it is none of these. */
static char letter_of(char letter)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    const char *found = letter ? strchr(letters, letter) : NULL;
    return found ? meanings[found - letters] : 0;
}

const char *jinja_escape_read(char *to, size_t *to_bytes, const char *text, size_t bytes)
{
    const char *place = text, *end = text + bytes;
    char *out = to;
    while (place < end) {
        if (*place != '\\' || place + 1 == end) {
            *out++ = *place++;
            continue;
        }
        const char letter = place[1];
        long code_point;
        place += 2;
        if (letter == '\n')
            continue;
        if (letter_of(letter)) {
            *out++ = letter_of(letter);
            continue;
        }
        if (letter == 'N')
            return "an escape by a character's name (\\N) is not supported";
        if (letter >= '0' && letter <= '7') {
            place--;
            code_point = read_octal(&place, end);
        } else if (letter == 'x' || letter == 'u' || letter == 'U') {
            code_point = read_hexadecimal(&place, end, letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
        } else {
            *out++ = '\\';
            *out++ = letter;
            continue;
        }
        if (code_point < 0 || code_point >= AFTER_UNICODE ||
            (code_point >= SURROGATES && code_point < AFTER_SURROGATES))
            return "a string with an escape that is no character";
        out += put_utf8(out, (unsigned)code_point);
    }
    *to_bytes = (size_t)(out - to);
    return NULL;
}
