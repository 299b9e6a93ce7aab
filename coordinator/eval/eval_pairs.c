/* kv: the value of one key in a JSON object of uuids. The object is the same for every depth of a
 * sample, so that it is read once. */
#include "coordinator/eval/eval_builders.h"
#include "coordinator/eval/eval_uuid.h"

enum status eval_pairs(struct eval_prompt *prompt, const struct eval_case *of, int64_t units)
{
    char key[EVAL_UUID_BYTES], value[EVAL_UUID_BYTES], asked[EVAL_UUID_BYTES] = "";
    const int64_t place = ((units - 1) * of->depth + 50) / 100;
    struct eval_random random;
    eval_random_begin(&random, &of->key, "pairs");
    TRY(eval_prompt_begin(prompt));
    fputs("Extract the value corresponding to the specified key in the JSON object below.\n\n{",
          prompt->file);
    for (int64_t i = 0; i < units; i++) {
        eval_uuid_draw(key, &random);
        eval_uuid_draw(value, &random);
        fprintf(prompt->file, "%s\"%s\": \"%s\"", i ? ", " : "", key, value);
        if (i == place) {
            snprintf(asked, sizeof asked, "%s", key);
            eval_prompt_answer(prompt, of->depth, "%s", value);
        }
    }
    fprintf(prompt->file,
            "}\n\nKey: \"%s\"\nThe value associated with the specified key is:", asked);
    return eval_prompt_finish(prompt);
}
