/* Renders chat templates for tests that compare with jinja2: a line of JSON on standard input holds
 * {"template": text, "variables": object}, what is answered for it {"text": text, "own": [[first,
 * end], ...]} with the bytes that the template's author wrote, or {"status": name, "error": text}.
 * bos_token and eos_token are own text, as the coordinator has it. The date is 26 July 2024. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_template.h"
#include "tests/support/jinja_json.h"

static json_t *failure(enum status status)
{
    return json_pack("{s:s,s:s}", "status", status_name(status), "error", status_message());
}

static json_t *success(const struct jinja_string *string, struct jinja_arena *arena)
{
    const char *text;
    json_t *own = json_array();
    size_t offset = 0;
    if (jinja_string_flat(arena, &text, string) != STATUS_OK)
        return failure(STATUS_OUT_OF_RANGE);
    for (size_t i = 0; i < string->count; i++) {
        const size_t bytes = string->pieces[i].bytes;
        if (string->pieces[i].is_own)
            json_array_append_new(
                own, json_pack("[I,I]", (json_int_t)offset, (json_int_t)(offset + bytes)));
        offset += bytes;
    }
    return json_pack("{s:s%,s:o}", "text", text, string->bytes, "own", own);
}

static enum status make_variables(struct jinja_value *variables, struct jinja_arena *arena,
                                  const json_t *json)
{
    static const char *const own[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    TRY(jinja_json_value(variables, arena, json));
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        const char *text = json_string_value(json_object_get(json, own[i]));
        struct jinja_value value;
        if (!text)
            continue;
        TRY(jinja_value_text(&value, arena, text, strlen(text), true));
        TRY(jinja_dict_put_named(variables->dict, own[i], value));
    }
    return STATUS_OK;
}

static json_t *render(const struct jinja_template *template, const json_t *json, size_t bytes)
{
    static const struct tm july = {
        .tm_year = 124, .tm_mon = 6, .tm_mday = 26, .tm_wday = 5, .tm_yday = 207};
    struct jinja_arena arena = jinja_template_arena(bytes);
    const struct jinja_string *text = NULL;
    struct jinja_value variables;
    enum status status = make_variables(&variables, &arena, json);
    if (status == STATUS_OK)
        status = jinja_template_render(template, &text, &arena,
                                       &(struct jinja_template_args){variables.dict, bytes, &july});
    json_t *answer = status == STATUS_OK ? success(text, &arena) : failure(status);
    jinja_arena_deinit(&arena);
    return answer;
}

static json_t *answer(const json_t *line, size_t bytes)
{
    const json_t *source = json_object_get(line, "template");
    const json_t *variables = json_object_get(line, "variables");
    struct jinja_template *template;
    if (!json_is_string(source) || !json_is_object(variables))
        return json_pack("{s:s,s:s}", "status", "TEST", "error", "no template or no variables");
    enum status status =
        jinja_template_create(&template, json_string_value(source), json_string_length(source));
    if (status != STATUS_OK)
        return failure(status);
    json_t *made = render(template, variables, bytes);
    jinja_template_destroy(template);
    return made;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;
    while ((bytes = getline(&line, &room, stdin)) > 0) {
        json_t *json = json_loadb(line, (size_t)bytes, JSON_ALLOW_NUL, NULL);
        json_t *made = answer(json, (size_t)bytes);
        json_dumpf(made, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(made);
        json_decref(json);
    }
    free(line);
    return 0;
}
