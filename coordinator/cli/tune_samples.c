/* Owns the texts. Promises the same text for the same round, whatever the method. */
#include "coordinator/cli/tune_samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/text_file.h"
#include "coordinator/eval/eval_fit.h"

enum {
    SEED = 1,
    ANSWER_ROOM = 16,
    QUESTION = 64, /* tokens, at most, of the question behind the text */
};

static const char task_name[] = "niah_1";

/* In an order in which few rounds are spread already. */
static const int depths[TUNE_ROUNDS_MAX] = {10, 60, 35, 85, 25, 75, 50, 95,
                                            5,  65, 40, 90, 20, 70, 45, 80};

enum status tune_samples_open(struct tune_samples *samples, const char *model_path,
                              const char *text_path, int64_t length)
{
    char *text = NULL;
    size_t bytes = 0;
    *samples = (struct tune_samples){.length = length};
    TRY(text_file_read(&text, &bytes, text_path));
    TRY(eval_material_take_text(&samples->material, text, text_path));
    return eval_counter_open(&samples->counter, model_path, false, "");
}

void tune_samples_close(struct tune_samples *samples)
{
    for (size_t i = 0; i < TUNE_ROUNDS_MAX; i++)
        free(samples->texts[i]);
    eval_counter_close(&samples->counter);
    eval_material_deinit(&samples->material);
}

static enum status join(struct tune_samples *samples, size_t round,
                        const struct eval_prompt *prompt)
{
    const size_t bytes = prompt->bytes + strlen(prompt->answers[0]) + 3;
    char *text = malloc(bytes);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a text of %zu bytes", bytes);
    samples->texts[round] = text;
    snprintf(text, bytes, "%s %s.", prompt->text, prompt->answers[0]);
    return eval_counter_count(&samples->counter, &samples->tokens[round], text, strlen(text));
}

enum status tune_samples_make(struct tune_samples *samples, size_t round)
{
    const struct eval_task *task = eval_task_find(task_name);
    const struct eval_case of = {.task = task,
                                 .material = &samples->material,
                                 .key = {SEED, task_name, samples->length, (int64_t)round},
                                 .depth = depths[round]};
    const struct eval_fit_args args = {.of = &of,
                                       .answer_tokens = ANSWER_ROOM,
                                       .count = eval_counter_count,
                                       .context = &samples->counter};
    struct eval_prompt prompt = {.text = NULL};
    if (samples->texts[round])
        return STATUS_OK;
    enum status status = eval_fit(&prompt, &samples->prompt_tokens[round], &args);
    if (status == STATUS_OK)
        status = join(samples, round, &prompt);
    eval_prompt_deinit(&prompt);
    return status;
}

static double mean_loss(const float *logprobs, int64_t first, int64_t end)
{
    double sum = 0;
    for (int64_t i = first; i < end; i++)
        sum -= (double)logprobs[i];
    return sum / (double)(end - first);
}

enum status tune_samples_judge(const struct tune_samples *samples, struct tune_loss *loss,
                               size_t round, const float *logprobs, size_t count)
{
    const int64_t prompt = samples->prompt_tokens[round], all = samples->tokens[round];
    if ((int64_t)count != all - 1 || all <= prompt || prompt <= 2 * QUESTION)
        return fail(STATUS_INTERNAL, "%zu losses of a text of %lld tokens", count, (long long)all);
    /* Entry t is of token t + 1. */
    loss->text = mean_loss(logprobs, (prompt - QUESTION) * 3 / 4, prompt - QUESTION);
    loss->answer = mean_loss(logprobs, prompt - 1, all - 1);
    return STATUS_OK;
}
