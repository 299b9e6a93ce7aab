/* Owns a prompt while its size is looked for. Promises that what it hands out was counted as it
 * is. */
#include "coordinator/eval/eval_fit.h"

#include <inttypes.h>

/* One size that was tried. */
struct tried {
    int64_t units, tokens;
};

static enum status try_units(struct eval_prompt *prompt, struct tried *tried, int64_t units,
                             const struct eval_fit_args *args)
{
    eval_prompt_deinit(prompt);
    tried->units = units;
    TRY(args->of->task->build(prompt, args->of, units));
    return args->count(args->context, &tried->tokens, prompt->text, prompt->bytes);
}

/* Between what fits and what does not, where a straight line through both reaches the budget; in
 * the middle where `middle`, so that a bad line does not make it slow. */
static int64_t guess(const struct tried *fits, const struct tried *over, int64_t budget,
                     bool middle)
{
    const int64_t room = over->units - fits->units, rise = over->tokens - fits->tokens;
    int64_t step = room / 2;
    if (!middle && rise > 0)
        step = (int64_t)((double)room * (double)(budget - fits->tokens) / (double)rise);
    step = step < 1 ? 1 : step > room - 1 ? room - 1 : step;
    return fits->units + step;
}

/* Doubles until it is over the budget, or there is no more; then `over` is what fits. */
static enum status find_over(struct eval_prompt *prompt, struct tried *fits, struct tried *over,
                             int64_t budget, const struct eval_fit_args *args)
{
    const int64_t most = eval_task_most_units(args->of);
    *over = *fits;
    while (over->tokens <= budget && over->units < most) {
        int64_t units = 2 * over->units;
        *fits = *over;
        if (fits->units > args->of->task->least_units) /* a tenth more than a line says */
            units =
                (int64_t)(1.1 * (double)fits->units * (double)budget / (double)fits->tokens) + 1;
        units = units > 2 * fits->units || units <= fits->units ? 2 * fits->units : units;
        units = units > most ? most : units;
        TRY(try_units(prompt, over, units, args));
    }
    if (over->tokens <= budget)
        return fail(STATUS_OUT_OF_RANGE, "%s of %" PRId64 " tokens needs more than there is: %s",
                    args->of->task->name, args->of->key.length, args->of->task->shortage);
    return STATUS_OK;
}

enum status eval_fit(struct eval_prompt *prompt, int64_t *tokens, const struct eval_fit_args *args)
{
    const struct eval_task *task = args->of->task;
    const int64_t budget = args->of->key.length - args->answer_tokens;
    struct tried fits, over, next;
    TRY(try_units(prompt, &fits, task->least_units, args));
    if (fits.tokens > budget)
        return fail(STATUS_OUT_OF_RANGE,
                    "%s: the shortest prompt has %" PRId64 " tokens and its answer %" PRId64
                    "; --lengths %" PRId64 " is less",
                    task->name, fits.tokens, args->answer_tokens, args->of->key.length);
    TRY(find_over(prompt, &fits, &over, budget, args));
    for (bool middle = false; over.units - fits.units > 1; middle = !middle) {
        TRY(try_units(prompt, &next, guess(&fits, &over, budget, middle), args));
        if (next.tokens <= budget)
            fits = next;
        else
            over = next;
    }
    TRY(try_units(prompt, &fits, fits.units, args));
    *tokens = fits.tokens;
    return STATUS_OK;
}
