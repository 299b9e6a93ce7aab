/* Owns the patterns that cut text into words. Promises that the words cover the text, and time
 * linear in its length: every repetition is possessive, but for white space, which gives back at
 * most one character.
 *
 * The classes are spelt out because the oracle (PyPI `tokenizers` 0.23) and Debian's PCRE2 (10.42)
 * differ: PCRE2's \s holds U+180E, and its Unicode 14 lacks the letters and numbers that versions
 * 15 to 17 added. tests/unit/ tokenizer_test.c pins a sample; all 1,112,064 code points were
 * compared (docs/tokenizer.md).
 */
#include "coordinator/text/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* White_Space, without the brackets of a class; and the same without the two that end a line. */
#define SPACE "\\p{Z}\\t-\\r\\x{85}"
#define SPACE_IN_LINE "\\p{Z}\\t\\x{0B}\\x{0C}\\x{85}"

#define LETTER                                                                                     \
    "\\p{L}"                                                                                       \
    "\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}\\x{105C0}-\\x{105F3}"               \
    "\\x{10D4A}-\\x{10D65}\\x{10D6F}-\\x{10D85}\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}"         \
    "\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}" \
    "\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}\\x{1342F}"          \
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D40}-\\x{16D6C}"         \
    "\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{"      \
    "1E4EB}"                                                                                       \
    "\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"

#define NUMBER                                                                                     \
    "\\p{N}"                                                                                       \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}"         \
    "\\x{16130}-\\x{16139}\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}"         \
    "\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"

/* What cuts numbers one by one knows Unicode 17; the patterns know 16. */
#define NUMBER_17 NUMBER "\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}"

/* "smollm" is two steps: every number by itself, then GPT-2's pattern on what lies between. In one
 * step, white space before a number counts as white space at the end. */
#define SMOLLM                                                                                     \
    "[" NUMBER_17 "]"                                                                              \
    "|'(?:s|t|re|ve|m|ll|d)"                                                                       \
    "| ?[" LETTER "]++"                                                                            \
    "| ?[^" SPACE LETTER NUMBER_17 "]++"                                                           \
    "|[" SPACE "]+(?![^" SPACE NUMBER_17 "])"                                                      \
    "|[" SPACE "]++"

#define GPT_2                                                                                      \
    "'(?:s|t|re|ve|m|ll|d)"                                                                        \
    "| ?[" LETTER "]++"                                                                            \
    "| ?[" NUMBER "]++"                                                                            \
    "| ?[^" SPACE LETTER NUMBER "]++"                                                              \
    "|[" SPACE "]+(?![^" SPACE "])"                                                                \
    "|[" SPACE "]++"

/* White space up to the last end of a line in it is written as lines, so that no step is ever taken
 * back. Without regard to case, s is also the long s. */
#define LLAMA_3_WITH(digits)                                                                       \
    "'(?i:s|t|re|ve|m|ll|d)"                                                                       \
    "|[^\\r\\n" LETTER NUMBER "]?+[" LETTER "]++"                                                  \
    "|[" NUMBER "]" digits "| ?[^" SPACE LETTER NUMBER "]++[\\r\\n]*+"                             \
    "|(?:[" SPACE_IN_LINE "]*+[\\r\\n]++)++"                                                       \
    "|[" SPACE "]+(?![^" SPACE "])"                                                                \
    "|[" SPACE "]++"

#define LLAMA_3 LLAMA_3_WITH("{1,3}+")
#define QWEN_2 LLAMA_3_WITH("")

static const struct known {
    const char *name;
    const char *pattern;
    bool ignores_merges;
    bool adds_bos;
    bool normalises;
} known[] = {
    {.name = "smollm", SMOLLM},
    {.name = "gpt-2", GPT_2},
    {.name = "phi-2", GPT_2},
    {.name = "llama-bpe", LLAMA_3, .ignores_merges = true, .adds_bos = true},
    {.name = "llama3", LLAMA_3, .ignores_merges = true, .adds_bos = true},
    {.name = "llama-v3", LLAMA_3, .ignores_merges = true, .adds_bos = true},
    {.name = "qwen2", QWEN_2, .normalises = true},
};

struct pretokenizer {
    const struct known *known;
    pcre2_code *code;
};

struct pretokenizer_walk {
    const pcre2_code *code;
    pcre2_match_data *match;
    PCRE2_SPTR text;
    size_t bytes;
    size_t place;
};

static const struct known *find(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == name_bytes && memcmp(known[i].name, name, name_bytes) == 0)
            return &known[i];
    return NULL;
}

enum status pretokenizer_create(struct pretokenizer **pretokenizer, const char *name,
                                size_t name_bytes)
{
    const struct known *found = find(name, name_bytes);
    if (!found)
        return fail(STATUS_UNIMPLEMENTED,
                    "pre-tokenizer \"%.*s\" (tokenizer.ggml.pre) is not supported; "
                    "known: " PRETOKENIZER_NAMES,
                    (int)(name_bytes < 64 ? name_bytes : 64), name);
    int error;
    PCRE2_SIZE place;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)found->pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &place, NULL);
    if (!code)
        return fail(STATUS_INTERNAL,
                    "PCRE2 refuses the pattern of a pre-tokenizer: error %d at %zu", error, place);
    /* Where memory may not be made executable, matching goes on without JIT, five times slower. */
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    struct pretokenizer *created = malloc(sizeof *created);
    if (!created) {
        pcre2_code_free(code);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a pre-tokenizer");
    }
    *created = (struct pretokenizer){found, code};
    *pretokenizer = created;
    return STATUS_OK;
}

bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->known->ignores_merges;
}

bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->known->adds_bos;
}

bool pretokenizer_normalises(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->known->normalises;
}

void pretokenizer_destroy(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer)
        return;
    pcre2_code_free(pretokenizer->code);
    free(pretokenizer);
}

enum status pretokenizer_walk_create(struct pretokenizer_walk **walk,
                                     const struct pretokenizer *pretokenizer)
{
    struct pretokenizer_walk *created = calloc(1, sizeof *created);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!created || !match) {
        free(created);
        pcre2_match_data_free(match);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to walk over a text");
    }
    created->code = pretokenizer->code;
    created->match = match;
    *walk = created;
    return STATUS_OK;
}

void pretokenizer_walk_destroy(struct pretokenizer_walk *walk)
{
    if (!walk)
        return;
    pcre2_match_data_free(walk->match);
    free(walk);
}

void pretokenizer_walk_begin(struct pretokenizer_walk *walk, const char *text, size_t bytes)
{
    walk->text = (PCRE2_SPTR)text;
    walk->bytes = bytes;
    walk->place = 0;
}

enum status pretokenizer_walk_next(struct pretokenizer_walk *walk, const char **word, size_t *bytes)
{
    *word = (const char *)walk->text + walk->place;
    *bytes = 0;
    if (walk->place == walk->bytes)
        return STATUS_OK;
    int found = pcre2_match(walk->code, walk->text, walk->bytes, walk->place, PCRE2_NO_UTF_CHECK,
                            walk->match, NULL);
    if (found <= 0)
        return fail(STATUS_INTERNAL, "the pre-tokenizer found no word at byte %zu: PCRE2 error %d",
                    walk->place, found);
    size_t end = pcre2_get_ovector_pointer(walk->match)[1];
    if (end <= walk->place || end > walk->bytes)
        return fail(STATUS_INTERNAL, "the pre-tokenizer found an empty word at byte %zu",
                    walk->place);
    *bytes = end - walk->place;
    walk->place = end;
    return STATUS_OK;
}
