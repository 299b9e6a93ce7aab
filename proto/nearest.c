/* Owns nothing. Promises a suggestion only where a person would have made it too. */
#include "proto/nearest.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_BYTES = 64 };

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t a_bytes = strnlen(a, WORD_BYTES - 1);
    size_t b_bytes = strnlen(b, WORD_BYTES - 1);
    size_t edits[WORD_BYTES][WORD_BYTES]; /* [prefix of a, prefix of b] */
    for (size_t i = 0; i <= a_bytes; i++)
        edits[i][0] = i;
    for (size_t j = 0; j <= b_bytes; j++)
        edits[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t replace = edits[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            size_t best = least_of(edits[i - 1][j] + 1, edits[i][j - 1] + 1, replace);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && edits[i - 2][j - 2] + 1 < best)
                best = edits[i - 2][j - 2] + 1;
            edits[i][j] = best;
        }
    }
    return edits[a_bytes][b_bytes];
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
    size_t letters = strlen(word);
    size_t allowed = letters / 3 > 2 ? letters / 3 : 2;
    if (letters < 3)
        allowed = 1;
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = nearest_distance(word, names[i]);
        if (distance <= allowed) {
            best = names[i];
            allowed = distance ? distance - 1 : 0;
            if (distance == 0)
                break;
        }
    }
    return best;
}
