/* Owns nothing. Promises a value in [0, 1] for any bytes. */
#include "coordinator/eval/eval_score.h"

#include <stdlib.h>
#include <string.h>

enum { NODE_DIGITS = 5, WORDS_MAX = 4096, NODES_MAX = 256 };

static const struct {
    enum eval_metric metric;
    const char *name;
} names[] = {
    {EVAL_MATCH_ALL, "match_all"},
    {EVAL_MATCH_PART, "match_part"},
    {EVAL_FIRST_INTEGER, "first_integer"},
    {EVAL_NODES_F1, "nodes_f1"},
    {EVAL_WORDS_F1, "words_f1"},
    {EVAL_EXACT, "exact"},
    {EVAL_CHOICE, "choice"},
};

enum { NAMES = sizeof names / sizeof names[0] };

const char *eval_metric_name(enum eval_metric metric)
{
    for (size_t i = 0; i < NAMES; i++)
        if (names[i].metric == metric)
            return names[i].name;
    return "";
}

bool eval_metric_named(enum eval_metric *metric, const char *name)
{
    for (size_t i = 0; i < NAMES; i++)
        if (strcmp(names[i].name, name) == 0) {
            *metric = names[i].metric;
            return true;
        }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return small(c) >= 'a' && small(c) <= 'z';
}

bool eval_score_holds(const char *answer, const char *reference)
{
    for (; *answer || !*reference; answer++) {
        size_t at = 0;
        while (reference[at] && small(reference[at]) == small(answer[at]))
            at++;
        if (!reference[at])
            return true;
        if (!*answer)
            break;
    }
    return false;
}

static double f1(size_t common, size_t answered, size_t expected)
{
    return common ? 2 * (double)common / (double)(answered + expected) : 0;
}

static double held(const char *answer, const char *const *references, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += eval_score_holds(answer, references[i]);
    return (double)found / (double)count;
}

static bool first_integer(const char *answer, const char *reference)
{
    while (*answer && !is_digit(*answer))
        answer++;
    size_t digits = 0;
    while (is_digit(answer[digits]))
        digits++;
    return digits > 0 && digits == strlen(reference) && memcmp(answer, reference, digits) == 0;
}

/* ---- nodes ---- */

/* The node that begins there, with nothing of a word before or behind it. */
static bool is_node(const char *text, size_t at)
{
    if (small(text[at]) != 'n' || (at > 0 && (is_letter(text[at - 1]) || is_digit(text[at - 1]))))
        return false;
    for (size_t i = 1; i <= NODE_DIGITS; i++)
        if (!is_digit(text[at + i]))
            return false;
    return !is_digit(text[at + NODE_DIGITS + 1]);
}

/* Whether a node of that number is in the list, which may hold what is no node. */
static bool is_among(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_node(list[i], 0) && strncmp(name, list[i] + 1, NODE_DIGITS) == 0)
            return true;
    return false;
}

static double nodes_f1(const char *answer, const char *const *references, size_t count)
{
    const char *named[NODES_MAX];
    size_t answered = 0, common = 0;
    for (size_t at = 0; answer[at] && answered < NODES_MAX; at++) {
        if (!is_node(answer, at) || is_among(answer + at + 1, named, answered))
            continue;
        named[answered++] = answer + at;
        common += is_among(answer + at + 1, references, count);
    }
    return f1(common, answered, count);
}

/* ---- words, made alike: small letters, no punctuation, no articles ---- */

struct words {
    char *text;
    char *list[WORDS_MAX];
    size_t count;
};

static bool is_punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static bool is_article(const char *word)
{
    return strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0;
}

/* False where there is no memory: then nothing is alike. */
static bool read_words(struct words *words, const char *text)
{
    char *to = words->text = malloc(strlen(text) + 1);
    words->count = 0;
    if (!to)
        return false;
    for (; *text; text++)
        if (!is_punctuation(*text))
            *to++ = small(*text);
    *to = 0;
    for (char *at = words->text; words->count < WORDS_MAX;) {
        at += strspn(at, " \t\r\n\f\v");
        const size_t bytes = strcspn(at, " \t\r\n\f\v");
        if (bytes == 0)
            break;
        char *next = at + bytes + (at[bytes] != 0);
        at[bytes] = 0;
        if (!is_article(at))
            words->list[words->count++] = at;
        at = next;
    }
    return true;
}

static double words_f1_of(struct words *answer, struct words *reference)
{
    size_t common = 0;
    for (size_t i = 0; i < reference->count; i++)
        for (size_t k = 0; k < answer->count; k++)
            if (answer->list[k] && strcmp(answer->list[k], reference->list[i]) == 0) {
                answer->list[k] = NULL; /* each counts once */
                common++;
                break;
            }
    return f1(common, answer->count, reference->count);
}

static double same_words(const struct words *answer, const struct words *reference)
{
    bool same = answer->count == reference->count;
    for (size_t i = 0; same && i < answer->count; i++)
        same = strcmp(answer->list[i], reference->list[i]) == 0;
    return same;
}

static double by_words(enum eval_metric metric, const char *answer, const char *reference)
{
    struct words *both = calloc(2, sizeof *both);
    double score = 0;
    if (both && read_words(&both[0], answer) && read_words(&both[1], reference))
        score =
            metric == EVAL_EXACT ? same_words(&both[0], &both[1]) : words_f1_of(&both[0], &both[1]);
    if (both) {
        free(both[0].text);
        free(both[1].text);
    }
    free(both);
    return score;
}

/* ---- choices ---- */

static bool chosen(const char *answer, const char *reference)
{
    for (size_t at = 0; answer[at]; at++)
        if (answer[at] >= 'A' && answer[at] <= 'D' && (at == 0 || !is_letter(answer[at - 1])) &&
            !is_letter(answer[at + 1]))
            return answer[at] == reference[0] && !reference[1];
    return false;
}

static double score_of_one(enum eval_metric metric, const char *answer, const char *reference)
{
    switch (metric) {
    case EVAL_MATCH_PART:
        return eval_score_holds(answer, reference);
    case EVAL_FIRST_INTEGER:
        return first_integer(answer, reference);
    case EVAL_CHOICE:
        return chosen(answer, reference);
    default:
        return by_words(metric, answer, reference);
    }
}

double eval_score(enum eval_metric metric, const char *answer, const char *const *references,
                  size_t count)
{
    double best = 0;
    if (count == 0)
        return 0;
    if (metric == EVAL_MATCH_ALL)
        return held(answer, references, count);
    if (metric == EVAL_NODES_F1)
        return nodes_f1(answer, references, count);
    for (size_t i = 0; i < count; i++) {
        const double score = score_of_one(metric, answer, references[i]);
        best = score > best ? score : best;
    }
    return best;
}
