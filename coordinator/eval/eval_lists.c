/* RULER's vt, cwe and fwe: variables, a numbered list of words, coded words. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/eval/eval_builders.h"
#include "coordinator/eval/eval_words.h"

enum {
    VARIABLES = 5, /* a chain of 4 hops */
    LETTERS_MOST = 8,
    EXAMPLE_LETTERS = 3,
    ASKED_LETTERS = 5,
    EXAMPLE_LINES = 10,
};

/* ---- vt ---- */

struct chain {
    char names[VARIABLES][LETTERS_MOST];
    uint32_t value;
};

static void draw_letters(char name[LETTERS_MOST], struct eval_random *random, int letters,
                         char first)
{
    for (int i = 0; i < letters; i++)
        name[i] = (char)(first + (char)eval_random_below(random, 26));
    name[letters] = 0;
}

static void draw_chain(struct chain *chain, struct eval_random *random, int letters)
{
    for (int i = 0; i < VARIABLES; i++) {
        draw_letters(chain->names[i], random, letters, 'A');
        for (int k = 0; k < i; k++)
            if (strcmp(chain->names[k], chain->names[i]) == 0) {
                draw_letters(chain->names[i], random, letters, 'A');
                k = -1;
            }
    }
    chain->value = 10000 + eval_random_below(random, 89999);
}

static void write_assignment(FILE *file, const struct chain *chain, int number)
{
    if (number == 0)
        fprintf(file, "VAR %s = %" PRIu32, chain->names[0], chain->value);
    else
        fprintf(file, "VAR %s = VAR %s ", chain->names[number], chain->names[number - 1]);
}

/* The task with its question and the beginning of the answer; `places` [VARIABLES] are ascending
 * lines before which the assignments stand. */
static void write_variables(FILE *file, const struct chain *chain, const uint32_t *places,
                            int64_t lines)
{
    int next = 0;
    fputs("Memorize and track the chain(s) of variable assignment hidden in the following "
          "text.\n\n",
          file);
    for (int64_t i = 0; i < lines; i++) {
        for (; next < VARIABLES && places[next] == i; next++) {
            write_assignment(file, chain, next);
            fputc(' ', file);
        }
        fprintf(file, "%s\n%s", eval_material_noise, i + 1 < lines ? " " : "");
    }
    fprintf(file,
            "\nQuestion: Find all variables that are assigned the value %" PRIu32
            " in the text above. Answer: According to the chain(s) of variable assignment in the "
            "text above, %d variables are assgined the value %" PRIu32 ", they are: ",
            chain->value, VARIABLES, chain->value);
}

static void write_example(FILE *file, const struct eval_case *of)
{
    struct chain chain;
    struct eval_random random;
    uint32_t places[EXAMPLE_LINES];
    eval_random_begin(&random, &of->key, "example");
    draw_chain(&chain, &random, EXAMPLE_LETTERS);
    eval_random_choose(&random, places, VARIABLES, EXAMPLE_LINES);
    write_variables(file, &chain, places, EXAMPLE_LINES);
    for (int i = 0; i < VARIABLES; i++)
        fprintf(file, "%s%s", i ? " " : "", chain.names[i]);
    fputs("\n\n\n\n", file);
}

enum status eval_variables(struct eval_prompt *prompt, const struct eval_case *of, int64_t units)
{
    struct chain chain;
    struct eval_random random;
    uint32_t *places = calloc((size_t)units, sizeof *places);
    if (!places)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %" PRId64 " lines", units);
    eval_random_begin(&random, &of->key, "chain");
    draw_chain(&chain, &random, ASKED_LETTERS);
    eval_random_choose(&random, places, VARIABLES, (size_t)units);
    const enum status status = eval_prompt_begin(prompt);
    if (status == STATUS_OK) {
        write_example(prompt->file, of);
        write_variables(prompt->file, &chain, places, units);
        for (int i = 0; i < VARIABLES; i++)
            eval_prompt_answer(prompt, -1, "%s", chain.names[i]);
    }
    free(places);
    return status == STATUS_OK ? eval_prompt_finish(prompt) : status;
}

/* ---- cwe ---- */

/* Of `words` different words `common` come `often` times, the others `seldom`. */
struct word_list {
    const char *const *words; /* all that there are */
    uint32_t *chosen;         /* [word_count]: indices, the common ones first */
    size_t words_used, common;
    uint32_t often, seldom;
};

static enum status write_words(FILE *file, const struct word_list *list, struct eval_random *random)
{
    const size_t entries =
        list->common * list->often + (list->words_used - list->common) * list->seldom;
    uint32_t *order = calloc(entries, sizeof *order);
    size_t count = 0;
    if (!order)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu words", entries);
    for (size_t i = 0; i < list->words_used; i++)
        for (uint32_t k = 0; k < (i < list->common ? list->often : list->seldom); k++)
            order[count++] = list->chosen[i];
    eval_random_shuffle(random, order, entries);
    fputs("Below is a numbered list of words. In these words, some appear more often than others. "
          "Memorize the ones that appear most often.\n",
          file);
    for (size_t i = 0; i < entries; i++)
        fprintf(file, "%s%zu. %s", i ? " " : "", i + 1, list->words[order[i]]);
    fputs(
        "\nQuestion: What are the 10 most common words in the above list? Answer: The top 10 words "
        "that appear most often in the list are:",
        file);
    free(order);
    return STATUS_OK;
}

/* Different words in an order that is drawn, for the list and for its example. */
static void choose_words(uint32_t *chosen, size_t count, const struct eval_case *of,
                         const char *part, struct eval_random *random)
{
    eval_random_begin(random, &of->key, part);
    for (size_t i = 0; i < count; i++)
        chosen[i] = (uint32_t)i;
    eval_random_shuffle(random, chosen, count);
}

static enum status write_both(struct eval_prompt *prompt, const struct eval_case *of,
                              struct word_list *list, size_t word_count, size_t asked)
{
    const bool small = of->key.length < 4096;
    struct eval_random random;
    TRY(eval_prompt_begin(prompt));
    choose_words(list->chosen, word_count, of, "example", &random);
    list->words_used = small ? 20 : 40;
    list->often = small ? 3 : 10;
    list->seldom = small ? 1 : 3;
    TRY(write_words(prompt->file, list, &random));
    for (size_t i = 0; i < list->common; i++)
        fprintf(prompt->file, " %zu. %s", i + 1, list->words[list->chosen[i]]);
    fputc('\n', prompt->file);
    choose_words(list->chosen, word_count, of, "words", &random);
    list->words_used = asked;
    list->often = small ? 6 : 30;
    list->seldom = small ? 1 : 3;
    TRY(write_words(prompt->file, list, &random));
    for (size_t i = 0; i < list->common; i++)
        eval_prompt_answer(prompt, -1, "%s", list->words[list->chosen[i]]);
    return eval_prompt_finish(prompt);
}

size_t eval_lists_words(const struct eval_material *material)
{
    size_t count = material->word_count;
    if (!material->words)
        (void)eval_words_all(&count);
    return count;
}

enum status eval_common_words(struct eval_prompt *prompt, const struct eval_case *of, int64_t units)
{
    struct word_list list = {.words = of->material->words, .common = (size_t)of->task->count};
    size_t word_count = of->material->word_count;
    if (!list.words)
        list.words = eval_words_all(&word_count);
    assert((size_t)units <= word_count);
    list.chosen = calloc(word_count, sizeof *list.chosen);
    if (!list.chosen)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu words", word_count);
    const enum status status = write_both(prompt, of, &list, word_count, (size_t)units);
    free(list.chosen);
    return status;
}

/* ---- fwe ---- */

enum { CODED_LETTERS = 6, CODED_LEAST = 8 };

/* zeta(2) */
static const double zeta = 1.6449340668482264;

/* Different coded words; the first one stands for dots. */
static void draw_coded(char (*words)[LETTERS_MOST], size_t count, struct eval_random *random)
{
    for (size_t i = 0; i < count; i++) {
        draw_letters(words[i], random, CODED_LETTERS, 'a');
        for (size_t k = 0; k < i; k++)
            if (strcmp(words[k], words[i]) == 0) {
                draw_letters(words[i], random, CODED_LETTERS, 'a');
                k = (size_t)-1;
            }
    }
    snprintf(words[0], LETTERS_MOST, "...");
}

/* How often word k of 1, 2, ... comes: units k^-2 / zeta(2), by Zipf's law with alpha 2. */
static double share_of(size_t k, int64_t units)
{
    return (double)units / ((double)k * (double)k) / zeta;
}

/* How many words of `fit` are ever written: those behind them would be drawn in vain. */
static size_t coded_needed(size_t fit, int64_t units)
{
    size_t count = fit > CODED_LEAST ? fit : CODED_LEAST;
    while (count > CODED_LEAST && share_of(count, units) < 1)
        count--;
    return count;
}

/* Each word comes as often as its share, rounded down. */
static size_t count_coded(uint32_t *order, size_t words, int64_t units)
{
    size_t entries = 0;
    for (size_t k = 1; k <= words; k++) {
        const int64_t times = (int64_t)share_of(k, units);
        for (int64_t i = 0; i < times; i++)
            order[entries++] = (uint32_t)(k - 1);
    }
    return entries;
}

static enum status write_coded(struct eval_prompt *prompt, char (*words)[LETTERS_MOST],
                               const uint32_t *order, size_t entries)
{
    TRY(eval_prompt_begin(prompt));
    fputs(
        "Read the following coded text and track the frequency of each coded word. Find the three "
        "most frequently appeared coded words. ",
        prompt->file);
    for (size_t i = 0; i < entries; i++)
        fprintf(prompt->file, "%s%s", i ? " " : "", words[order[i]]);
    fputs("\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the "
          "three most frequently appeared words in the above coded text? Answer: According to the "
          "coded text above, the three most frequently appeared words are:",
          prompt->file);
    for (size_t i = 1; i <= 3; i++)
        eval_prompt_answer(prompt, -1, "%s", words[i]);
    return eval_prompt_finish(prompt);
}

enum status eval_coded_words(struct eval_prompt *prompt, const struct eval_case *of, int64_t units)
{
    struct eval_random random;
    const size_t count = coded_needed((size_t)(of->key.length / 50), units);
    char(*words)[LETTERS_MOST] = calloc(count, sizeof *words);
    uint32_t *order = calloc((size_t)units + 1, sizeof *order);
    enum status status = STATUS_OK;
    if (!words || !order)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu coded words", count), deinit);
    eval_random_begin(&random, &of->key, "words");
    draw_coded(words, count, &random);
    const size_t entries = count_coded(order, count, units);
    eval_random_begin(&random, &of->key, "order");
    eval_random_shuffle(&random, order, entries);
    status = write_coded(prompt, words, order, entries);
deinit:
    free(words);
    free(order);
    return status;
}
