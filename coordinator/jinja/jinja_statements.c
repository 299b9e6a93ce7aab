/* Owns the grammar of statements. */
#include "coordinator/jinja/jinja_statements.h"

#include <string.h>

#include "coordinator/jinja/jinja_expressions.h"

typedef enum status statement_reader(struct jinja_parser *, struct jinja_node *);

/* Bodies end at one of the names, which is passed; `ended_by` is its number. */
static enum status read_body(struct jinja_parser *parser, struct jinja_nodes *nodes,
                             const char *const *ends, int *ended_by);

static enum status end_tag(struct jinja_parser *parser)
{
    if (parser->token->kind != JINJA_TOKEN_BLOCK_END)
        return jinja_parser_refuse(parser, "\"%%}\" is missing");
    parser->token++;
    return STATUS_OK;
}

/* A body that ends at one name only, with its tag. */
static enum status read_whole_body(struct jinja_parser *parser, struct jinja_nodes *nodes,
                                   const char *end)
{
    const char *const ends[] = {end, NULL};
    int ended_by;
    TRY(end_tag(parser));
    TRY(read_body(parser, nodes, ends, &ended_by));
    return end_tag(parser);
}

static enum status read_for(struct jinja_parser *parser, struct jinja_node *node)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    int ended_by;
    node->kind = JINJA_NODE_FOR;
    TRY(jinja_expressions_read_target(parser, &node->a));
    if (!jinja_parser_take_name(parser, "in"))
        return jinja_parser_refuse(parser, "\"in\" is missing");
    TRY(jinja_expressions_read_tuple(parser, &node->b, false));
    if (jinja_parser_take_name(parser, "if"))
        TRY(jinja_expressions_read(parser, &node->c));
    if (jinja_parser_at_name(parser, "recursive"))
        return fail(STATUS_UNIMPLEMENTED,
                    "chat template, line %d, column %d: a recursive for is not supported",
                    node->line, node->column);
    TRY(end_tag(parser));
    parser->loops++;
    TRY(read_body(parser, &node->items, ends, &ended_by));
    parser->loops--;
    return ended_by == 0 ? end_tag(parser) : read_whole_body(parser, &node->others, "endfor");
}

static enum status read_if(struct jinja_parser *parser, struct jinja_node *node)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    int ended_by = 1;
    node->kind = JINJA_NODE_IF;
    while (ended_by == 1) {
        struct jinja_node *branch;
        TRY(jinja_parser_node(parser, &branch, JINJA_NODE_BRANCH, parser->token));
        TRY(jinja_expressions_read_tuple(parser, &branch->a, false));
        TRY(end_tag(parser));
        TRY(read_body(parser, &branch->items, ends, &ended_by));
        TRY(jinja_parser_close(parser, branch));
        TRY(jinja_parser_add(parser, &node->items, branch));
    }
    return ended_by == 0 ? end_tag(parser) : read_whole_body(parser, &node->others, "endif");
}

static enum status read_set(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_SET;
    TRY(jinja_expressions_read_target(parser, &node->a));
    if (jinja_parser_take(parser, "=")) {
        TRY(jinja_expressions_read_tuple(parser, &node->b, true));
        return end_tag(parser);
    }
    node->kind = JINJA_NODE_SET_BLOCK;
    if (jinja_parser_take(parser, "|"))
        TRY(jinja_expressions_read_filters(parser, &node->b));
    return read_whole_body(parser, &node->items, "endset");
}

/* "(a, b=1)": NAME and KEYWORD nodes. */
static enum status read_parameters(struct jinja_parser *parser, struct jinja_nodes *parameters)
{
    TRY(jinja_parser_expect(parser, "("));
    while (!jinja_parser_take(parser, ")")) {
        struct jinja_node *made;
        if (parameters->count > 0)
            TRY(jinja_parser_expect(parser, ","));
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_NAME, parser->token));
        TRY(jinja_parser_expect_name(parser, &made->name));
        if (jinja_parser_take(parser, "=")) {
            made->kind = JINJA_NODE_KEYWORD;
            TRY(jinja_expressions_read(parser, &made->a));
        } else if (parameters->count > 0 &&
                   parameters->items[parameters->count - 1]->kind == JINJA_NODE_KEYWORD) {
            return jinja_parser_refuse(parser, "a parameter without a default behind one with one");
        }
        TRY(jinja_parser_close(parser, made));
        TRY(jinja_parser_add(parser, parameters, made));
    }
    return STATUS_OK;
}

/* What stands in a macro is no part of the loops around it. */
static enum status read_macro_body(struct jinja_parser *parser, struct jinja_nodes *body,
                                   const char *end)
{
    const int loops = parser->loops;
    parser->loops = 0;
    TRY(read_whole_body(parser, body, end));
    parser->loops = loops;
    return STATUS_OK;
}

static enum status read_macro(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_MACRO;
    TRY(jinja_parser_expect_name(parser, &node->name));
    TRY(read_parameters(parser, &node->items));
    return read_macro_body(parser, &node->others, "endmacro");
}

static enum status read_call_block(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_CALL_BLOCK;
    if (jinja_parser_at(parser, "("))
        TRY(read_parameters(parser, &node->items));
    TRY(jinja_expressions_read_call(parser, &node->a));
    return read_macro_body(parser, &node->others, "endcall");
}

static enum status read_filter_block(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_FILTER_BLOCK;
    TRY(jinja_expressions_read_filters(parser, &node->b));
    return read_whole_body(parser, &node->items, "endfilter");
}

static enum status read_with(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_WITH;
    while (parser->token->kind != JINJA_TOKEN_BLOCK_END) {
        struct jinja_node *set;
        if (node->items.count > 0)
            TRY(jinja_parser_expect(parser, ","));
        TRY(jinja_parser_node(parser, &set, JINJA_NODE_SET, parser->token));
        TRY(jinja_expressions_read_target(parser, &set->a));
        TRY(jinja_parser_expect(parser, "="));
        TRY(jinja_expressions_read(parser, &set->b));
        TRY(jinja_parser_close(parser, set));
        TRY(jinja_parser_add(parser, &node->items, set));
    }
    return read_whole_body(parser, &node->others, "endwith");
}

static enum status read_generation(struct jinja_parser *parser, struct jinja_node *node)
{
    node->kind = JINJA_NODE_GENERATION;
    return read_macro_body(parser, &node->items, "endgeneration");
}

static enum status read_jump(struct jinja_parser *parser, struct jinja_node *node,
                             enum jinja_node_kind kind)
{
    node->kind = kind;
    if (parser->loops == 0)
        return jinja_parser_refuse(parser, "break or continue outside a loop");
    return end_tag(parser);
}

static enum status read_break(struct jinja_parser *parser, struct jinja_node *node)
{
    return read_jump(parser, node, JINJA_NODE_BREAK);
}

static enum status read_continue(struct jinja_parser *parser, struct jinja_node *node)
{
    return read_jump(parser, node, JINJA_NODE_CONTINUE);
}

static const struct {
    const char *name;
    statement_reader *read; /* NULL: jinja2 has it, a chat template has no use for it */
} statements[] = {
    {"for", read_for},
    {"if", read_if},
    {"set", read_set},
    {"macro", read_macro},
    {"call", read_call_block},
    {"filter", read_filter_block},
    {"with", read_with},
    {"generation", read_generation},
    {"break", read_break},
    {"continue", read_continue},
    {"include", NULL},
    {"import", NULL},
    {"from", NULL},
    {"extends", NULL},
    {"block", NULL},
    {"autoescape", NULL},
    {"print", NULL},
    {"do", NULL},
    {"trans", NULL},
};

/* Behind "{%". */
static enum status read_statement(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    const struct jinja_token *at = parser->token;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (!jinja_parser_take_name(parser, statements[i].name))
            continue;
        if (!statements[i].read)
            return fail(STATUS_UNIMPLEMENTED,
                        "chat template, line %d, column %d: the statement %s is not supported",
                        at->line, at->column, statements[i].name);
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_TEXT, at));
        TRY(jinja_parser_enter(parser));
        TRY(statements[i].read(parser, made));
        jinja_parser_leave(parser);
        *node = made;
        return jinja_parser_close(parser, made);
    }
    return jinja_parser_refuse(parser, "no statement of a template begins so: \"%.*s\"",
                               (int)(at->bytes < 40 ? at->bytes : 40), at->text);
}

static enum status read_text(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    const struct jinja_token *token = parser->token++;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_TEXT, token));
    TRY(jinja_value_text(&made->value, parser->arena, token->text, token->bytes, true));
    made->height = 1;
    *node = made;
    return STATUS_OK;
}

static enum status read_output(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_OUTPUT, parser->token++));
    TRY(jinja_expressions_read_tuple(parser, &made->a, true));
    if (parser->token->kind != JINJA_TOKEN_OUTPUT_END)
        return jinja_parser_refuse(parser, "\"}}\" is missing");
    parser->token++;
    *node = made;
    return jinja_parser_close(parser, made);
}

static bool take_end(struct jinja_parser *parser, const char *const *ends, int *ended_by)
{
    for (int i = 0; ends && ends[i]; i++)
        if (jinja_parser_take_name(parser, ends[i])) {
            *ended_by = i;
            return true;
        }
    return false;
}

static enum status read_body(struct jinja_parser *parser, struct jinja_nodes *nodes,
                             const char *const *ends, int *ended_by)
{
    for (;;) {
        const struct jinja_node *node = NULL;
        switch (parser->token->kind) {
        case JINJA_TOKEN_END:
            return ends ? jinja_parser_refuse(parser, "{%% %s %%} is missing", ends[0]) : STATUS_OK;
        case JINJA_TOKEN_TEXT:
            TRY(read_text(parser, &node));
            break;
        case JINJA_TOKEN_OUTPUT_BEGIN:
            TRY(read_output(parser, &node));
            break;
        default:
            parser->token++;
            if (take_end(parser, ends, ended_by))
                return STATUS_OK;
            TRY(read_statement(parser, &node));
        }
        TRY(jinja_parser_add(parser, nodes, node));
    }
}

enum status jinja_statements_read(struct jinja_parser *parser, struct jinja_nodes *nodes)
{
    int ended_by;
    return read_body(parser, nodes, NULL, &ended_by);
}
