/* Owns a prompt's text while it is written. */
#include "coordinator/eval/eval_prompt.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

enum status eval_prompt_begin(struct eval_prompt *prompt)
{
    prompt->text = NULL;
    prompt->bytes = prompt->answer_count = 0;
    prompt->file = open_memstream(&prompt->text, &prompt->bytes);
    return prompt->file ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt");
}

void eval_prompt_answer(struct eval_prompt *prompt, int depth, const char *format, ...)
{
    va_list arguments;
    assert(prompt->answer_count < EVAL_ANSWERS_MAX);
    va_start(arguments, format);
    const int bytes =
        vsnprintf(prompt->answers[prompt->answer_count], EVAL_ANSWER_BYTES, format, arguments);
    va_end(arguments);
    assert(bytes >= 0 && bytes < EVAL_ANSWER_BYTES);
    prompt->depths[prompt->answer_count++] = depth;
}

enum status eval_prompt_finish(struct eval_prompt *prompt)
{
    const int wrong = ferror(prompt->file);
    FILE *file = prompt->file;
    prompt->file = NULL;
    if (fclose(file) != 0 || wrong)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt");
    return STATUS_OK;
}

void eval_prompt_deinit(struct eval_prompt *prompt)
{
    if (prompt->file)
        fclose(prompt->file);
    free(prompt->text);
    prompt->file = NULL;
    prompt->text = NULL;
}
