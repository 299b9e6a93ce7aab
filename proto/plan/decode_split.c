/* Owns the words for what decode splits. */
#include "proto/plan/decode_split.h"

#include <stdio.h>
#include <string.h>

int decode_split_wanted(const char *setting)
{
    if (!setting)
        return -1;
    if (strcmp(setting, "whole") == 0 || strcmp(setting, "home") == 0)
        return 0;
    return strcmp(setting, "split") == 0 ? DECODE_SPLIT_ALL : -1;
}

void decode_split_print(char text[DECODE_SPLIT_TEXT_BYTES], unsigned set)
{
    static const char *const names[] = {"q|k|v", "output", "gate|up", "down", "logits"};
    size_t bytes = 0;
    text[0] = '\0';
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++, set >>= 1)
        if (set & 1)
            bytes += (size_t)snprintf(text + bytes, DECODE_SPLIT_TEXT_BYTES - bytes, "%s%s",
                                      bytes == 0 ? "" : (set >> 1 ? ", " : " and "), names[n]);
}
