/* Owns the texts that prompts are filled with. */
#include "coordinator/eval/eval_material.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/eval/eval_words.h"

enum { WORDS_LEAST = 100, WORD_BYTES_LEAST = 3, WORD_BYTES_MOST = 16 };

const char eval_material_noise[] =
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* How many bytes of white space stand there; `*empty_line`, whether one holds two line feeds. */
static size_t spaces(const char *text, bool *empty_line)
{
    size_t bytes = 0;
    int lines = 0;
    for (; is_space(text[bytes]); bytes++)
        lines += text[bytes] == '\n';
    *empty_line = lines > 1;
    return bytes;
}

static enum status add_sentence(struct eval_material *material, size_t *room, const char *text,
                                size_t bytes)
{
    if (bytes == 0)
        return STATUS_OK;
    if (material->sentence_count == *room) {
        *room = *room ? 2 * *room : 1024;
        struct eval_sentence *grown =
            reallocarray(material->sentences, *room, sizeof *material->sentences);
        if (!grown)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu sentences", *room);
        material->sentences = grown;
    }
    material->sentences[material->sentence_count++] = (struct eval_sentence){text, bytes};
    return STATUS_OK;
}

/* Sentences are moved together in place: a run of white space becomes one space. */
static enum status split(struct eval_material *material)
{
    char *text = material->text, *to = text, *begun = text;
    size_t room = 0;
    for (const char *at = text; *at;) {
        bool empty_line = false;
        const size_t skipped = spaces(at, &empty_line);
        const bool ends = to > begun && (to[-1] == '.' || to[-1] == '!' || to[-1] == '?');
        if (skipped > 0 && (ends || empty_line || !at[skipped])) {
            TRY(add_sentence(material, &room, begun, (size_t)(to - begun)));
            begun = to;
        } else if (skipped > 0 && to > begun) {
            *to++ = ' ';
        }
        at += skipped;
        if (*at)
            *to++ = *at++;
    }
    return add_sentence(material, &room, begun, (size_t)(to - begun));
}

enum status eval_material_take_text(struct eval_material *material, char *text, const char *path)
{
    material->text = text;
    TRY(split(material));
    if (material->sentence_count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "%s: there is no sentence in it", path);
    return STATUS_OK;
}

/* ---- words ---- */

static bool is_word(const char *text, size_t bytes)
{
    bool small = bytes >= WORD_BYTES_LEAST && bytes <= WORD_BYTES_MOST;
    for (size_t i = 0; small && i < bytes; i++)
        small = text[i] >= 'a' && text[i] <= 'z';
    return small;
}

static int by_spelling(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static size_t drop_repeated(char **words, size_t count)
{
    size_t kept = 0;
    qsort(words, count, sizeof *words, by_spelling);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(words[kept - 1], words[i]) != 0)
            words[kept++] = words[i];
    return kept;
}

enum status eval_material_take_words(struct eval_material *material, char *text, const char *path)
{
    size_t lines = 1, count = 0;
    material->word_text = text;
    for (const char *at = text; *at; at++)
        lines += *at == '\n' || *at == '\r';
    material->own_words = calloc(lines, sizeof *material->own_words);
    if (!material->own_words)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu words", lines);
    for (char *at = text; *at;) {
        const size_t bytes = strcspn(at, "\r\n");
        char *next = at + bytes + strspn(at + bytes, "\r\n");
        if (is_word(at, bytes)) {
            at[bytes] = 0;
            material->own_words[count++] = at;
        }
        at = next;
    }
    count = count ? drop_repeated(material->own_words, count) : 0;
    if (count < WORDS_LEAST)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s: %zu words of 3 to 16 small letters, one a line; give %d at least", path,
                    count, WORDS_LEAST);
    material->words = (const char *const *)material->own_words;
    material->word_count = count;
    return STATUS_OK;
}

void eval_material_deinit(struct eval_material *material)
{
    free(material->sentences);
    free(material->text);
    free(material->own_words);
    free(material->word_text);
    *material = (struct eval_material){.sentence_count = 0};
}

struct eval_sentence eval_material_sentence(const struct eval_material *material, size_t first,
                                            size_t number)
{
    if (material->sentence_count == 0)
        return (struct eval_sentence){eval_material_noise, sizeof eval_material_noise - 1};
    return material->sentences[(first + number) % material->sentence_count];
}
