/* Owns the names of a template and the making of nodes. Promises that no tree is higher than the
 * limit, so that whoever walks it may recurse. */
#include "coordinator/jinja/jinja_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 256 };

static enum status no_memory(void)
{
    return fail(STATUS_OUT_OF_RANGE, "the chat template needs more memory than it may take");
}

enum status jinja_parser_refuse(const struct jinja_parser *parser, const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return fail(STATUS_INVALID_ARGUMENT, "chat template, line %d, column %d: %s",
                parser->token->line, parser->token->column, message);
}

enum status jinja_parser_enter(struct jinja_parser *parser)
{
    if (++parser->depth > JINJA_PARSER_DEPTH_MAX)
        return jinja_parser_refuse(parser, "more than %d things in each other",
                                   JINJA_PARSER_DEPTH_MAX);
    return STATUS_OK;
}

void jinja_parser_leave(struct jinja_parser *parser)
{
    parser->depth--;
}

static bool token_is(const struct jinja_token *token, enum jinja_token_kind kind, const char *text)
{
    return token->kind == kind && token->bytes == strlen(text) &&
           memcmp(token->text, text, token->bytes) == 0;
}

bool jinja_parser_at(const struct jinja_parser *parser, const char *operator)
{
    return token_is(parser->token, JINJA_TOKEN_OPERATOR, operator);
}

bool jinja_parser_at_name(const struct jinja_parser *parser, const char *name)
{
    return token_is(parser->token, JINJA_TOKEN_NAME, name);
}

bool jinja_parser_take(struct jinja_parser *parser, const char *operator)
{
    const bool there = jinja_parser_at(parser, operator);
    parser->token += there;
    return there;
}

bool jinja_parser_take_name(struct jinja_parser *parser, const char *name)
{
    const bool there = jinja_parser_at_name(parser, name);
    parser->token += there;
    return there;
}

enum status jinja_parser_expect(struct jinja_parser *parser, const char *operator)
{
    if (jinja_parser_take(parser, operator))
        return STATUS_OK;
    return jinja_parser_refuse(parser, "\"%s\" is missing", operator);
}

enum status jinja_parser_expect_name(struct jinja_parser *parser, const struct jinja_name **name)
{
    const struct jinja_token *token = parser->token;
    if (token->kind != JINJA_TOKEN_NAME)
        return jinja_parser_refuse(parser, "a name is missing");
    parser->token++;
    return jinja_parser_name(parser, name, token->text, token->bytes);
}

enum status jinja_parser_name(struct jinja_parser *parser, const struct jinja_name **name,
                              const char *text, size_t bytes)
{
    for (struct jinja_name *known = parser->names; known; known = known->next)
        if (known->bytes == bytes && memcmp(known->text, text, bytes) == 0) {
            *name = known;
            return STATUS_OK;
        }
    if (parser->names_count++ == JINJA_PARSER_NAMES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "chat template, line %d, column %d: more than %d names",
                    parser->token->line, parser->token->column, JINJA_PARSER_NAMES_MAX);
    struct jinja_name *made = jinja_arena_take(parser->arena, sizeof *made);
    char *copy = jinja_arena_take(parser->arena, bytes + 1);
    if (!made || !copy)
        return no_memory();
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    *made = (struct jinja_name){.text = copy, .bytes = bytes, .next = parser->names};
    TRY(jinja_string_make(parser->arena, &made->string, copy, bytes, true));
    parser->names = made;
    *name = made;
    return STATUS_OK;
}

enum status jinja_parser_node(struct jinja_parser *parser, struct jinja_node **node,
                              enum jinja_node_kind kind, const struct jinja_token *at)
{
    struct jinja_node *made = jinja_arena_take(parser->arena, sizeof *made);
    if (!made)
        return no_memory();
    *made = (struct jinja_node){.kind = kind, .line = at->line, .column = at->column};
    *node = made;
    return STATUS_OK;
}

enum status jinja_parser_add(struct jinja_parser *parser, struct jinja_nodes *nodes,
                             const struct jinja_node *node)
{
    if (nodes->count == nodes->room) {
        const size_t room = nodes->room ? 2 * nodes->room : 4;
        const struct jinja_node **items = jinja_arena_take(parser->arena, room * sizeof *items);
        if (!items)
            return no_memory();
        if (nodes->count > 0)
            memcpy(items, nodes->items, nodes->count * sizeof *items);
        nodes->items = items;
        nodes->room = room;
    }
    nodes->items[nodes->count++] = node;
    return STATUS_OK;
}

static int higher(int height, const struct jinja_node *node)
{
    return node && node->height > height ? node->height : height;
}

enum status jinja_parser_close(struct jinja_parser *parser, struct jinja_node *node)
{
    int height = higher(higher(higher(0, node->a), node->b), node->c);
    for (size_t i = 0; i < node->items.count; i++)
        height = higher(height, node->items.items[i]);
    for (size_t i = 0; i < node->others.count; i++)
        height = higher(height, node->others.items[i]);
    node->height = height + 1;
    if (node->height > JINJA_PARSER_DEPTH_MAX)
        return jinja_parser_refuse(parser, "more than %d operations in each other",
                                   JINJA_PARSER_DEPTH_MAX);
    return STATUS_OK;
}
