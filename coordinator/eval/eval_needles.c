/* Needles in a haystack, as RULER writes them: one value of one key in noise or among other
 * needles, or several values of one key in sentences. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/eval/eval_builders.h"
#include "coordinator/eval/eval_uuid.h"
#include "coordinator/eval/eval_words.h"

enum { NAME_BYTES = 64, NEEDLES_MOST = 16 };

struct needle {
    char key[NAME_BYTES], value[NAME_BYTES];
};

/* "adjective-noun". */
static void draw_words(char name[NAME_BYTES], struct eval_random *random)
{
    const char *adjective = eval_words_adjectives[eval_random_below(random, EVAL_WORDS_ADJECTIVES)];
    const char *noun = eval_words_nouns[eval_random_below(random, EVAL_WORDS_NOUNS)];
    snprintf(name, NAME_BYTES, "%s-%s", adjective, noun);
}

static void draw_number(char name[NAME_BYTES], struct eval_random *random, int digits)
{
    uint32_t least = 1;
    for (int i = 1; i < digits; i++)
        least *= 10;
    snprintf(name, NAME_BYTES, "%" PRIu32, least + eval_random_below(random, 9 * least));
}

static void write_needle(FILE *file, const char *kind, const struct needle *needle)
{
    fprintf(file, "One of the special magic %s for %s is: %s.", kind, needle->key, needle->value);
}

/* RULER's words for one answer: A for Some, is for are, no plural. */
static void write_head(FILE *file, const char *kind, bool one)
{
    const int letters = (int)strlen(kind) - (one ? 1 : 0);
    fprintf(
        file,
        "%s special magic %.*s %s hidden within the following text. Make sure to memorize it. I "
        "will quiz you about the %.*s afterwards.\n",
        one ? "A" : "Some", letters, kind, one ? "is" : "are", letters, kind);
}

static void write_question(FILE *file, const char *kind, const char *key, bool one)
{
    const int letters = (int)strlen(kind) - (one ? 1 : 0);
    fprintf(file,
            "\nWhat %s the special magic %.*s for %s mentioned in the provided text? The special "
            "magic %.*s for %s mentioned in the provided text %s",
            one ? "is" : "are all", letters, kind, key, letters, kind, key, one ? "is" : "are");
}

/* ---- several values of one key in sentences ---- */

/* Needle n of `count` lies n / count of the text behind the first one, around its end, so that each
 * depth is asked for as often. */
static int depth_of(const struct eval_case *of, int n)
{
    const int depth = of->depth + 100 * n / of->task->count;
    return depth <= 100 ? depth : depth - 100;
}

static int by_depth(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static void draw_values(struct needle *needles, const struct eval_case *of)
{
    struct eval_random random;
    eval_random_begin(&random, &of->key, "needles");
    draw_words(needles[0].key, &random);
    for (int n = 0; n < of->task->count; n++) {
        memcpy(needles[n].key, needles[0].key, NAME_BYTES);
        draw_number(needles[n].value, &random, 6);
        for (int k = 0; k < n; k++)
            if (strcmp(needles[k].value, needles[n].value) == 0) {
                draw_number(needles[n].value, &random, 6);
                k = -1;
            }
    }
}

static void write_sentences(struct eval_prompt *prompt, const struct eval_case *of, int64_t units,
                            const struct needle *needles)
{
    const struct eval_material *material = of->material;
    const char between = material->sentence_count ? ' ' : '\n';
    const int count = of->task->count;
    int depths[NEEDLES_MOST], next = 0;
    struct eval_random random;
    eval_random_begin(&random, &of->key, "haystack");
    const uint32_t first = material->sentence_count
                               ? eval_random_below(&random, (uint32_t)material->sentence_count)
                               : 0;
    for (int n = 0; n < count; n++)
        depths[n] = depth_of(of, n);
    qsort(depths, (size_t)count, sizeof *depths, by_depth);
    for (int64_t i = 0; i <= units; i++) {
        for (; next < count && i >= (units * depths[next] + 50) / 100; next++) {
            write_needle(prompt->file, "numbers", &needles[next]);
            eval_prompt_answer(prompt, depths[next], "%s", needles[next].value);
            fputc(between, prompt->file);
        }
        if (i == units)
            break;
        const struct eval_sentence sentence = eval_material_sentence(material, first, (size_t)i);
        fwrite(sentence.text, 1, sentence.bytes, prompt->file);
        fputc(between, prompt->file);
    }
}

enum status eval_needles_of_one_key(struct eval_prompt *prompt, const struct eval_case *of,
                                    int64_t units)
{
    struct needle needles[NEEDLES_MOST];
    const bool one = of->task->count == 1;
    draw_values(needles, of);
    TRY(eval_prompt_begin(prompt));
    write_head(prompt->file, "numbers", one);
    write_sentences(prompt, of, units, needles);
    write_question(prompt->file, "numbers", needles[0].key, one);
    return eval_prompt_finish(prompt);
}

/* ---- RULER's: one needle at a place that is drawn, lines in between ---- */

typedef void draw_needle(struct needle *needle, struct eval_random *random);

static void draw_word_needle(struct needle *needle, struct eval_random *random)
{
    draw_words(needle->key, random);
    draw_number(needle->value, random, 7);
}

static void draw_uuid_needle(struct needle *needle, struct eval_random *random)
{
    eval_uuid_draw(needle->key, random);
    eval_uuid_draw(needle->value, random);
}

/* Line `number` of the haystack; `others` NULL: noise. Another needle of the asked key would be a
 * second answer, and is drawn again. */
static void write_line(FILE *file, const char *kind, draw_needle *others,
                       struct eval_random *random, const struct needle *asked)
{
    struct needle needle;
    if (!others) {
        fputs(eval_material_noise, file);
        return;
    }
    do
        others(&needle, random);
    while (strcmp(needle.key, asked->key) == 0);
    write_needle(file, kind, &needle);
}

static enum status build_lines(struct eval_prompt *prompt, const struct eval_case *of,
                               int64_t units, const char *kind, draw_needle *draw,
                               draw_needle *others)
{
    struct needle asked;
    struct eval_random random, hay;
    eval_random_begin(&random, &of->key, "needles");
    eval_random_begin(&hay, &of->key, "haystack");
    draw(&asked, &random);
    const int64_t place = (int64_t)(((uint64_t)units * eval_random_bits(&random)) >> 32);
    TRY(eval_prompt_begin(prompt));
    write_head(prompt->file, kind, true);
    for (int64_t i = 0; i < units; i++) {
        if (i == place) {
            write_needle(prompt->file, kind, &asked);
            fputc('\n', prompt->file);
        }
        write_line(prompt->file, kind, others, &hay, &asked);
        if (i + 1 < units)
            fputc('\n', prompt->file);
    }
    write_question(prompt->file, kind, asked.key, true);
    eval_prompt_answer(prompt, (int)(100 * place / units), "%s", asked.value);
    return eval_prompt_finish(prompt);
}

enum status eval_needles_single(struct eval_prompt *prompt, const struct eval_case *of,
                                int64_t units)
{
    return build_lines(prompt, of, units, "numbers", draw_word_needle, NULL);
}

enum status eval_needles_among_words(struct eval_prompt *prompt, const struct eval_case *of,
                                     int64_t units)
{
    return build_lines(prompt, of, units, "numbers", draw_word_needle, draw_word_needle);
}

enum status eval_needles_among_uuids(struct eval_prompt *prompt, const struct eval_case *of,
                                     int64_t units)
{
    return build_lines(prompt, of, units, "uuids", draw_uuid_needle, draw_uuid_needle);
}
