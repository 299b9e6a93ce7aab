/* A line of a file of questions, and an answer, over any bytes: what is read becomes a prompt of
 * the length that was asked for, in UTF-8; a score stays within 0 and 1. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/eval/eval_record.h"
#include "coordinator/eval/eval_score.h"
#include "proto/utf8_check.h"
#include "tests/fuzz/fuzz.h"

enum { TOKENS = 40 };

static const char *const seeds[] = {
    "{\"input\": \"Who?\", \"context\": \"It was n12345, the \\u00e4lteste of all that came and "
    "went.\","
    " \"answers\": [\"n12345\", \"the oldest\"], \"dataset\": \"qa\", \"length\": 12}",
    "{\"index\": 0, \"input\": \"List: 1. a 2. b\", \"outputs\": [\"a\"], \"answer_prefix\": \" "
    "They are\"}",
    "{\"question\": \"Which?\", \"choice_A\": \"x\", \"choice_D\": \"y\", \"answer\": \"D\", "
    "\"context\": \"z\"}",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0] || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

static enum status count(void *context, int64_t *tokens, const char *text, size_t bytes)
{
    (void)context;
    (void)text;
    *tokens = (int64_t)bytes / 2;
    return STATUS_OK;
}

static void judge(const struct eval_record *record, const char *answer)
{
    for (int metric = EVAL_MATCH_ALL; metric <= EVAL_CHOICE; metric++) {
        const double score =
            eval_score((enum eval_metric)metric, answer, record->answers, record->answer_count);
        if (!(score >= 0 && score <= 1))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct eval_record record;
    if (eval_record_parse(&record, (const char *)data, bytes) != STATUS_OK)
        return 0;
    if (record.answer_count == 0 || !record.name[0])
        abort();
    const struct eval_record_args args = {.record = &record, .tokens = TOKENS, .count = count};
    struct eval_prompt prompt = {.text = NULL};
    int64_t tokens = 0;
    if (eval_record_fit(&prompt, &tokens, &args) == STATUS_OK &&
        (tokens > TOKENS || utf8_check(prompt.text, prompt.bytes, "prompt") != STATUS_OK))
        abort();
    if (prompt.text)
        judge(&record, prompt.text);
    eval_prompt_deinit(&prompt);
    eval_record_deinit(&record);
    return 0;
}
