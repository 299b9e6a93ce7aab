/* Owns the cases and answers while they are joined. Promises the same bytes for the same
 * answers, in whichever order they came. */
#include "coordinator/cli/eval_results.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/eval_cases.h"
#include "coordinator/cli/eval_files.h"
#include "proto/json_writer.h"

enum { ERROR_BYTES = 256 };

struct joining {
    json_t *answers; /* by custom_id */
    json_t *cases;   /* an array */
    size_t failed;
    char error[ERROR_BYTES]; /* of the first that failed */
};

/* ---- reading ---- */

typedef enum status take_line(struct joining *joining, json_t *line, const char *path);

static enum status read_lines(struct joining *joining, const char *path, take_line *take)
{
    char *text = NULL;
    size_t room = 0;
    enum status status = STATUS_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    for (ssize_t bytes; status == STATUS_OK && (bytes = getline(&text, &room, file)) > 0;) {
        /* A seed may be beyond the integers of jansson; what is read here is not. */
        json_t *line =
            json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
        status = line ? take(joining, line, path)
                      : fail(STATUS_DATA_LOSS, "%s: a line of it is no JSON", path);
        json_decref(line);
    }
    free(text);
    fclose(file);
    return status;
}

static enum status take_answer(struct joining *joining, json_t *line, const char *path)
{
    const char *id = json_string_value(json_object_get(line, "custom_id"));
    if (!id || json_object_set(joining->answers, id, line) != 0)
        return fail(STATUS_DATA_LOSS, "%s: a line of it is no result", path);
    return STATUS_OK;
}

static enum status take_case(struct joining *joining, json_t *line, const char *path)
{
    if (json_array_append(joining->cases, line) != 0)
        return fail(STATUS_DATA_LOSS, "%s: a line of it is no case", path);
    return STATUS_OK;
}

/* ---- one result ---- */

static int64_t integer_of(const json_t *object, const char *key)
{
    return (int64_t)json_number_value(json_object_get(object, key));
}

static size_t read_texts(const char *texts[EVAL_ANSWERS_MAX], const json_t *array)
{
    size_t count = 0;
    for (; count < json_array_size(array) && count < EVAL_ANSWERS_MAX; count++) {
        texts[count] = json_string_value(json_array_get(array, count));
        if (!texts[count])
            break;
    }
    return count;
}

static void write_found(struct json_writer *writer, const json_t *of, const char *answer)
{
    const char *expected[EVAL_ANSWERS_MAX];
    const json_t *depths = json_object_get(of, "depths");
    const size_t count = read_texts(expected, json_object_get(of, "expected"));
    if (json_array_size(depths) != count || count == 0)
        return;
    json_writer_begin_array(writer, "depths");
    for (size_t i = 0; i < count; i++)
        json_writer_integer(writer, NULL, (int64_t)json_number_value(json_array_get(depths, i)));
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "found");
    for (size_t i = 0; i < count; i++)
        json_writer_integer(writer, NULL, eval_score_holds(answer, expected[i]));
    json_writer_end_array(writer);
}

static void write_judged(struct json_writer *writer, const json_t *of, const char *answer)
{
    const char *expected[EVAL_ANSWERS_MAX];
    const size_t count = read_texts(expected, json_object_get(of, "expected"));
    const char *name = json_string_value(json_object_get(of, "metric"));
    enum eval_metric metric = EVAL_MATCH_ALL;
    (void)eval_metric_named(&metric, name ? name : "");
    json_writer_text(writer, "answer", answer);
    json_writer_begin_array(writer, "expected");
    for (size_t i = 0; i < count; i++)
        json_writer_text(writer, NULL, expected[i]);
    json_writer_end_array(writer);
    json_writer_real(writer, "score", eval_score(metric, answer, expected, count));
    write_found(writer, of, answer);
}

/* Why there is no answer: the error's own words, or that of the status. */
static void write_failed(struct json_writer *writer, struct joining *joining, const json_t *body,
                         int64_t status_code)
{
    const char *message =
        json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    char text[64];
    snprintf(text, sizeof text, "status %" PRId64, status_code);
    if (joining->failed++ == 0)
        snprintf(joining->error, sizeof joining->error, "%s", message ? message : text);
    json_writer_null(writer, "score");
    json_writer_text(writer, "error", message ? message : text);
}

static enum status check_count(const json_t *of, const json_t *body)
{
    const int64_t made = integer_of(of, "prompt_tokens");
    const int64_t counted = integer_of(json_object_get(body, "usage"), "prompt_tokens");
    if (made == counted)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "a prompt of %" PRId64 " tokens by --model was read as %" PRId64
                ": the coordinator serves another model, or in another chat form",
                made, counted);
}

static enum status write_result(FILE *file, struct joining *joining, const json_t *of,
                                const json_t *line, const char *method)
{
    struct json_writer writer = {.file = file};
    const json_t *response = json_object_get(line, "response");
    const json_t *body = json_object_get(response, "body");
    const char *answer = json_string_value(json_object_get(body, "text"));
    const char *task = json_string_value(json_object_get(of, "task"));
    const char *hex = json_string_value(json_object_get(of, "prompt_xxh3"));
    if (!task || !hex)
        return fail(STATUS_DATA_LOSS, EVAL_CASES_FILE ": a case without its task");
    if (answer)
        TRY(check_count(of, body));
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "task", task);
    json_writer_text(&writer, "method", method);
    json_writer_integer(&writer, "length", integer_of(of, "length"));
    if (json_is_number(json_object_get(of, "depth")))
        json_writer_integer(&writer, "depth", integer_of(of, "depth"));
    json_writer_integer(&writer, "sample", integer_of(of, "sample"));
    json_writer_integer(&writer, "prompt_tokens", integer_of(of, "prompt_tokens"));
    json_writer_text(&writer, "prompt_xxh3", hex);
    if (answer)
        write_judged(&writer, of, answer);
    else
        write_failed(&writer, joining, body, integer_of(response, "status_code"));
    json_writer_end_object(&writer);
    fputc('\n', file);
    return STATUS_OK;
}

/* ---- all of them ---- */

static enum status write_all(FILE *file, struct joining *joining,
                             const struct eval_settings *settings)
{
    char id[64];
    for (size_t m = 0; m < settings->methods.count; m++)
        for (size_t i = 0; i < json_array_size(joining->cases); i++) {
            snprintf(id, sizeof id, "%zu/%zu", m, i);
            TRY(write_result(file, joining, json_array_get(joining->cases, i),
                             json_object_get(joining->answers, id),
                             settings->methods.spellings[m]));
        }
    return STATUS_OK;
}

static enum status join(struct joining *joining, const struct eval_settings *settings,
                        const char *folder)
{
    char cases[PATH_MAX], answers[PATH_MAX], results[PATH_MAX];
    FILE *file = NULL;
    if (!joining->answers || !joining->cases)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the answers");
    TRY(eval_files_path(cases, folder, EVAL_CASES_FILE));
    TRY(eval_files_path(answers, folder, EVAL_ANSWERS_FILE));
    TRY(eval_files_path(results, folder, EVAL_RESULTS_FILE));
    TRY(read_lines(joining, cases, take_case));
    TRY(read_lines(joining, answers, take_answer));
    TRY(eval_files_begin(&file, results));
    return eval_files_end(file, results, write_all(file, joining, settings));
}

enum status eval_results_make(const struct eval_settings *settings, const char *folder)
{
    struct joining joining = {.answers = json_object(), .cases = json_array()};
    const enum status status = join(&joining, settings, folder);
    if (status == STATUS_OK && joining.failed > 0)
        console_say("longhaul eval: %zu failed and are in no mean; the first: %s", joining.failed,
                    joining.error);
    json_decref(joining.answers);
    json_decref(joining.cases);
    return status;
}
