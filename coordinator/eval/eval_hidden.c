/* passkey and number: a number in lines of noise. */
#include <string.h>

#include "coordinator/eval/eval_builders.h"

enum { DIGITS_MOST = 16 };

struct hidden {
    const char *instruction, *before, *between, *after, *question;
};

static void write_key(struct eval_prompt *prompt, const struct hidden *hidden, const char *key)
{
    fprintf(prompt->file, "%s%s%s%s%s\n", hidden->before, key, hidden->between, key, hidden->after);
}

/* The key stands behind the line that brings the lines before it to the depth. */
static enum status build(struct eval_prompt *prompt, const struct eval_case *of, int64_t units,
                         const struct hidden *hidden, const char *key)
{
    const int64_t before = (units * of->depth + 50) / 100;
    TRY(eval_prompt_begin(prompt));
    fprintf(prompt->file, "%s\n\n", hidden->instruction);
    for (int64_t i = 0; i <= units; i++) {
        if (i == before)
            write_key(prompt, hidden, key);
        if (i < units)
            fprintf(prompt->file, "%s\n", eval_material_noise);
    }
    fprintf(prompt->file, "\n%s", hidden->question);
    eval_prompt_answer(prompt, of->depth, "%s", key);
    return eval_prompt_finish(prompt);
}

/* Its first digit is not 0. */
static void draw_key(char key[DIGITS_MOST], const struct eval_case *of, bool alike)
{
    struct eval_random random;
    eval_random_begin(&random, &of->key, "key");
    for (int i = 0; i < of->task->count; i++) {
        const bool again = alike && i > 0 && eval_random_below(&random, 2) == 0;
        const uint32_t least = i == 0;
        key[i] = again ? key[i - 1] : (char)('0' + least + eval_random_below(&random, 10 - least));
    }
    key[of->task->count] = 0;
}

enum status eval_hidden_passkey(struct eval_prompt *prompt, const struct eval_case *of,
                                int64_t units)
{
    static const struct hidden hidden = {
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize "
        "it. I will quiz you about the important information there.",
        "The pass key is ", ". Remember it. ", " is the pass key.",
        "What is the pass key? The pass key is"};
    char key[DIGITS_MOST];
    draw_key(key, of, false);
    return build(prompt, of, units, &hidden, key);
}

enum status eval_hidden_number(struct eval_prompt *prompt, const struct eval_case *of,
                               int64_t units)
{
    static const struct hidden hidden = {
        "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz "
        "you about the important information there.",
        "The sequence of digits is ", ". Remember it. ", " is the sequence of digits.",
        "What is the sequence of digits? The sequence of digits is"};
    char key[DIGITS_MOST];
    draw_key(key, of, true);
    return build(prompt, of, units, &hidden, key);
}
