/* Owns nothing. Promises a suggestion only where a person would have made it too. */
#include "proto/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { WORD_BYTES = 64 };

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
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
            size_t replace = edits[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]);
            size_t best = least_of(edits[i - 1][j] + 1, edits[i][j - 1] + 1, replace);
            bool swapped = i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                           same_letter(a[i - 2], b[j - 1]);
            if (swapped && edits[i - 2][j - 2] + 1 < best)
                best = edits[i - 2][j - 2] + 1;
            edits[i][j] = best;
        }
    }
    return edits[a_bytes][b_bytes];
}

size_t nearest_edits_most(const char *word)
{
    size_t letters = strlen(word);
    return letters < 3 ? 0 : letters < 6 ? 1 : letters < 10 ? 2 : 3;
}

/* The only name that `word` begins; NULL for none or several. */
static const char *completed(const char *word, const char *const *names, size_t count)
{
    const char *found = NULL;
    size_t letters = strlen(word);
    for (size_t i = 0; letters >= 2 && i < count; i++) {
        if (strncasecmp(word, names[i], letters) != 0)
            continue;
        if (found)
            return NULL;
        found = names[i];
    }
    return found;
}

const char *nearest_name(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = nearest_edits_most(word) + 1;
    if (strlen(word) >= WORD_BYTES)
        return NULL; /* only its beginning would be compared */
    for (size_t i = 0; i < count; i++) {
        size_t distance = nearest_distance(word, names[i]);
        if (distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best ? best : completed(word, names, count);
}
