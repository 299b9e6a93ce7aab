/* Owns a template's tree, and the limits of a rendering. */
#include "coordinator/jinja/jinja_template.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_execute.h"
#include "coordinator/jinja/jinja_lexer.h"
#include "coordinator/jinja/jinja_machine.h"
#include "coordinator/jinja/jinja_parser.h"
#include "coordinator/jinja/jinja_statements.h"
#include "proto/utf8_check.h"

/* A tree takes some 300 bytes for each token. */
enum { TREE_BYTES_MAX = 128 << 20 };

/* A rendering: so much for any conversation, and so much for each byte of it. */
enum {
    RENDER_BYTES = 64 << 20,
    RENDER_BYTES_EACH = 16,
    STEPS = 20000000,
    STEPS_EACH = 1,
    OUTPUT_BYTES = 16 << 20,
    OUTPUT_BYTES_EACH = 4
};

struct jinja_template {
    struct jinja_arena arena;
    struct jinja_nodes nodes;
    struct jinja_name *names;
    struct jinja_words words;
};

static enum status parse(struct jinja_template *template, const char *source, size_t bytes)
{
    struct jinja_parser parser = {.arena = &template->arena};
    if (bytes > JINJA_TEMPLATE_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "a chat template of %zu bytes; the limit is %d", bytes,
                    JINJA_TEMPLATE_BYTES_MAX);
    TRY(utf8_check(source, bytes, "the chat template"));
    TRY(jinja_lexer_read(&template->arena, &parser.token, source, bytes));
    TRY(jinja_parser_name(&parser, &template->words.loop, "loop", strlen("loop")));
    TRY(jinja_parser_name(&parser, &template->words.caller, "caller", strlen("caller")));
    TRY(jinja_statements_read(&parser, &template->nodes));
    template->names = parser.names;
    return STATUS_OK;
}

enum status jinja_template_create(struct jinja_template **template, const char *source,
                                  size_t bytes)
{
    struct jinja_template *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template");
    created->arena.bytes_max = TREE_BYTES_MAX;
    const enum status status = parse(created, source, bytes);
    if (status != STATUS_OK) {
        jinja_template_destroy(created);
        return status;
    }
    *template = created;
    return STATUS_OK;
}

void jinja_template_destroy(struct jinja_template *template)
{
    if (!template)
        return;
    jinja_arena_deinit(&template->arena);
    free(template);
}

struct jinja_arena jinja_template_arena(size_t input_bytes)
{
    return (struct jinja_arena){.bytes_max = RENDER_BYTES + RENDER_BYTES_EACH * input_bytes};
}

/* Variables that the template does not name are left out. */
static enum status put_variables(struct jinja_machine *machine,
                                 const struct jinja_template *template,
                                 const struct jinja_dict *variables)
{
    TRY(jinja_machine_open_scope(machine, NULL));
    for (const struct jinja_name *name = template->names; name; name = name->next) {
        const struct jinja_value *value = jinja_dict_find_text(variables, name->text, name->bytes);
        if (value)
            TRY(jinja_machine_put(machine, name, *value));
    }
    return STATUS_OK;
}

enum status jinja_template_render(const struct jinja_template *template,
                                  const struct jinja_string **text, struct jinja_arena *arena,
                                  const struct jinja_template_args *args)
{
    struct jinja_text out = {
        .arena = arena,
        .bytes_max = OUTPUT_BYTES + OUTPUT_BYTES_EACH * args->input_bytes,
    };
    struct jinja_machine machine = {
        .arena = arena,
        .words = &template->words,
        .out = &out,
        .steps_left = STEPS + STEPS_EACH * (int64_t)args->input_bytes,
        .now = args->now,
    };
    TRY(put_variables(&machine, template, args->variables));
    TRY(jinja_execute(&machine, &template->nodes));
    return jinja_text_string(&out, text);
}
