/* Owns the grammar of expressions. Promises jinja2's precedence, which is not Python's everywhere:
 * ~ binds tighter than +, and a filter behind a sign takes the number with its sign. */
#include "coordinator/jinja/jinja_expressions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES_MAX = 64 };

typedef enum status reader(struct jinja_parser *, const struct jinja_node **);

static enum status read_unary(struct jinja_parser *parser, const struct jinja_node **node,
                              bool with_filters);
static enum status read_primary(struct jinja_parser *parser, const struct jinja_node **node);
static enum status read_postfix(struct jinja_parser *parser, const struct jinja_node **node);

static enum status make_two(struct jinja_parser *parser, const struct jinja_node **node,
                            enum jinja_node_kind kind, const struct jinja_token *at,
                            const struct jinja_node *b)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, kind, at));
    made->a = *node;
    made->b = b;
    TRY(jinja_parser_close(parser, made));
    *node = made;
    return STATUS_OK;
}

struct operator_row {
    const char *text;
    enum jinja_operation operation;
};

/* Operands of `read` with operators of the table between them, from left to right. */
static enum status read_chain(struct jinja_parser *parser, const struct jinja_node **node,
                              reader *read, const struct operator_row *rows, size_t count)
{
    TRY(read(parser, node));
    for (;;) {
        const struct jinja_token *at = parser->token;
        size_t row = 0;
        while (row < count && !jinja_parser_take(parser, rows[row].text))
            row++;
        if (row == count)
            return STATUS_OK;
        const struct jinja_node *right;
        struct jinja_node *made;
        TRY(read(parser, &right));
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_BINARY, at));
        made->operation = rows[row].operation;
        made->a = *node;
        made->b = right;
        TRY(jinja_parser_close(parser, made));
        *node = made;
    }
}

static enum status read_filtered_unary(struct jinja_parser *parser, const struct jinja_node **node)
{
    return read_unary(parser, node, true);
}

static enum status read_power(struct jinja_parser *parser, const struct jinja_node **node)
{
    static const struct operator_row rows[] = {{"**", JINJA_POWER}};
    return read_chain(parser, node, read_filtered_unary, rows, 1);
}

static enum status read_product(struct jinja_parser *parser, const struct jinja_node **node)
{
    static const struct operator_row rows[] = {{"*", JINJA_MULTIPLY},
                                               {"/", JINJA_DIVIDE},
                                               {"//", JINJA_FLOOR_DIVIDE},
                                               {"%", JINJA_REMAINDER}};
    return read_chain(parser, node, read_power, rows, 4);
}

static enum status read_concat(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token;
    TRY(read_product(parser, node));
    if (!jinja_parser_at(parser, "~"))
        return STATUS_OK;
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_CONCAT, at));
    TRY(jinja_parser_add(parser, &made->items, *node));
    while (jinja_parser_take(parser, "~")) {
        TRY(read_product(parser, node));
        TRY(jinja_parser_add(parser, &made->items, *node));
    }
    *node = made;
    return jinja_parser_close(parser, made);
}

static enum status read_sum(struct jinja_parser *parser, const struct jinja_node **node)
{
    static const struct operator_row rows[] = {{"+", JINJA_ADD}, {"-", JINJA_SUBTRACT}};
    return read_chain(parser, node, read_concat, rows, 2);
}

static bool take_comparison(struct jinja_parser *parser, enum jinja_operation *operation)
{
    static const struct operator_row rows[] = {
        {"==", JINJA_EQUAL}, {"!=", JINJA_NOT_EQUAL}, {"<=", JINJA_LESS_EQUAL},
        {"<", JINJA_LESS},   {">", JINJA_GREATER},    {">=", JINJA_GREATER_EQUAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (jinja_parser_take(parser, rows[i].text)) {
            *operation = rows[i].operation;
            return true;
        }
    *operation = JINJA_IN;
    if (jinja_parser_take_name(parser, "in"))
        return true;
    const struct jinja_token *next = parser->token + 1;
    *operation = JINJA_NOT_IN;
    if (!jinja_parser_at_name(parser, "not") || next->kind != JINJA_TOKEN_NAME ||
        next->bytes != 2 || memcmp(next->text, "in", 2) != 0)
        return false;
    parser->token += 2;
    return true;
}

static enum status read_compare(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token;
    enum jinja_operation operation;
    struct jinja_node *made = NULL;
    TRY(read_sum(parser, node));
    while (take_comparison(parser, &operation)) {
        struct jinja_node *operand;
        if (!made)
            TRY(jinja_parser_node(parser, &made, JINJA_NODE_COMPARE, at));
        TRY(jinja_parser_node(parser, &operand, JINJA_NODE_BINARY, parser->token));
        operand->operation = operation;
        TRY(read_sum(parser, &operand->b));
        TRY(jinja_parser_close(parser, operand));
        TRY(jinja_parser_add(parser, &made->items, operand));
    }
    if (!made)
        return STATUS_OK;
    made->a = *node;
    *node = made;
    return jinja_parser_close(parser, made);
}

static enum status read_not(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token;
    if (!jinja_parser_take_name(parser, "not"))
        return read_compare(parser, node);
    TRY(jinja_parser_enter(parser));
    TRY(read_not(parser, node));
    jinja_parser_leave(parser);
    return make_two(parser, node, JINJA_NODE_NOT, at, NULL);
}

static enum status read_and(struct jinja_parser *parser, const struct jinja_node **node)
{
    TRY(read_not(parser, node));
    while (jinja_parser_at_name(parser, "and")) {
        const struct jinja_token *at = parser->token++;
        const struct jinja_node *right;
        TRY(read_not(parser, &right));
        TRY(make_two(parser, node, JINJA_NODE_AND, at, right));
    }
    return STATUS_OK;
}

static enum status read_unconditional(struct jinja_parser *parser, const struct jinja_node **node)
{
    TRY(jinja_parser_enter(parser));
    TRY(read_and(parser, node));
    while (jinja_parser_at_name(parser, "or")) {
        const struct jinja_token *at = parser->token++;
        const struct jinja_node *right;
        TRY(read_and(parser, &right));
        TRY(make_two(parser, node, JINJA_NODE_OR, at, right));
    }
    jinja_parser_leave(parser);
    return STATUS_OK;
}

enum status jinja_expressions_read(struct jinja_parser *parser, const struct jinja_node **node)
{
    TRY(jinja_parser_enter(parser));
    TRY(read_unconditional(parser, node));
    while (jinja_parser_at_name(parser, "if")) {
        struct jinja_node *made;
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_CONDITION, parser->token++));
        made->a = *node;
        TRY(read_unconditional(parser, &made->c));
        if (jinja_parser_take_name(parser, "else"))
            TRY(jinja_expressions_read(parser, &made->b));
        TRY(jinja_parser_close(parser, made));
        *node = made;
    }
    jinja_parser_leave(parser);
    return STATUS_OK;
}

/* One argument, by name where a name and "=" stand there. */
static enum status read_argument(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token, *next = at + 1;
    if (jinja_parser_at(parser, "**"))
        return fail(STATUS_UNIMPLEMENTED,
                    "chat template, line %d, column %d: arguments by ** are not supported",
                    at->line, at->column);
    if (jinja_parser_take(parser, "*")) {
        TRY(jinja_expressions_read(parser, node));
        return make_two(parser, node, JINJA_NODE_SPREAD, at, NULL);
    }
    if (at->kind != JINJA_TOKEN_NAME || next->kind != JINJA_TOKEN_OPERATOR || next->bytes != 1 ||
        *next->text != '=')
        return jinja_expressions_read(parser, node);
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_KEYWORD, at));
    TRY(jinja_parser_expect_name(parser, &made->name));
    parser->token++;
    TRY(jinja_expressions_read(parser, &made->a));
    *node = made;
    return jinja_parser_close(parser, made);
}

/* From behind the bracket to behind the one that closes it. */
static enum status read_items(struct jinja_parser *parser, struct jinja_nodes *items, reader *read,
                              const char *closing)
{
    while (!jinja_parser_take(parser, closing)) {
        const struct jinja_node *item;
        if (items->count > 0)
            TRY(jinja_parser_expect(parser, ","));
        if (items->count > 0 && jinja_parser_take(parser, closing))
            break;
        TRY(read(parser, &item));
        TRY(jinja_parser_add(parser, items, item));
    }
    return STATUS_OK;
}

static enum status read_call(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_CALL, parser->token++));
    made->a = *node;
    TRY(read_items(parser, &made->items, read_argument, ")"));
    *node = made;
    return jinja_parser_close(parser, made);
}

/* How a filter or test is named: jinja2 takes "a.b" too, and no such one is known here. */
static enum status read_undotted(struct jinja_parser *parser, const struct jinja_name **name)
{
    TRY(jinja_parser_expect_name(parser, name));
    return jinja_parser_at(parser, ".") ? jinja_parser_refuse(parser, "a name with a point")
                                        : STATUS_OK;
}

static enum status read_filter(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_FILTER, parser->token));
    TRY(read_undotted(parser, &made->name));
    made->a = *node;
    if (jinja_parser_take(parser, "("))
        TRY(read_items(parser, &made->items, read_argument, ")"));
    *node = made;
    return jinja_parser_close(parser, made);
}

enum status jinja_expressions_read_filters(struct jinja_parser *parser,
                                           const struct jinja_node **node)
{
    *node = NULL;
    do
        TRY(read_filter(parser, node));
    while (jinja_parser_take(parser, "|"));
    return STATUS_OK;
}

/* Whether a test's argument without brackets stands there. */
static bool at_test_argument(const struct jinja_parser *parser)
{
    switch (parser->token->kind) {
    case JINJA_TOKEN_NAME:
        return !jinja_parser_at_name(parser, "else") && !jinja_parser_at_name(parser, "or") &&
               !jinja_parser_at_name(parser, "and");
    case JINJA_TOKEN_STRING:
    case JINJA_TOKEN_INTEGER:
    case JINJA_TOKEN_FLOAT:
        return true;
    default:
        return jinja_parser_at(parser, "[") || jinja_parser_at(parser, "{");
    }
}

static enum status read_test(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token++;
    const bool is_negated = jinja_parser_take_name(parser, "not");
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_TEST, at));
    TRY(read_undotted(parser, &made->name));
    made->a = *node;
    if (jinja_parser_take(parser, "(")) {
        TRY(read_items(parser, &made->items, read_argument, ")"));
    } else if (at_test_argument(parser)) {
        const struct jinja_node *argument;
        if (jinja_parser_at_name(parser, "is"))
            return jinja_parser_refuse(parser, "a test behind a test");
        TRY(read_primary(parser, &argument));
        TRY(read_postfix(parser, &argument));
        TRY(jinja_parser_add(parser, &made->items, argument));
    }
    TRY(jinja_parser_close(parser, made));
    *node = made;
    return is_negated ? make_two(parser, node, JINJA_NODE_NOT, at, NULL) : STATUS_OK;
}

/* One or several of an expression's filters, tests and calls. */
static enum status read_filters_and_tests(struct jinja_parser *parser,
                                          const struct jinja_node **node)
{
    for (;;) {
        if (jinja_parser_take(parser, "|"))
            TRY(read_filter(parser, node));
        else if (jinja_parser_at_name(parser, "is"))
            TRY(read_test(parser, node));
        else if (jinja_parser_at(parser, "("))
            TRY(read_call(parser, node));
        else
            return STATUS_OK;
    }
}

/* Behind "[": an index, or a slice. */
static enum status read_index(struct jinja_parser *parser, const struct jinja_node **index)
{
    const struct jinja_token *at = parser->token;
    const struct jinja_node *first = NULL;
    if (!jinja_parser_at(parser, ":"))
        TRY(jinja_expressions_read(parser, &first));
    if (!jinja_parser_take(parser, ":")) {
        *index = first;
        return STATUS_OK;
    }
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_SLICE, at));
    made->a = first;
    if (!jinja_parser_at(parser, ":") && !jinja_parser_at(parser, "]"))
        TRY(jinja_expressions_read(parser, &made->b));
    if (jinja_parser_take(parser, ":") && !jinja_parser_at(parser, "]"))
        TRY(jinja_expressions_read(parser, &made->c));
    *index = made;
    return jinja_parser_close(parser, made);
}

static enum status make_const(struct jinja_parser *parser, const struct jinja_node **node,
                              const struct jinja_token *at, struct jinja_value value)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_CONST, at));
    made->value = value;
    made->height = 1;
    *node = made;
    return STATUS_OK;
}

/* The next token, without underscores and ended by 0. */
static enum status take_number(struct jinja_parser *parser, char *text)
{
    const struct jinja_token *token = parser->token;
    size_t count = 0;
    if (token->bytes >= NUMBER_BYTES_MAX)
        return jinja_parser_refuse(parser, "a number of more than %d digits", NUMBER_BYTES_MAX - 1);
    for (size_t i = 0; i < token->bytes; i++)
        if (token->text[i] != '_')
            text[count++] = token->text[i];
    text[count] = 0;
    return STATUS_OK;
}

static enum status read_number(struct jinja_parser *parser, const struct jinja_node **node)
{
    char text[NUMBER_BYTES_MAX];
    struct jinja_value value = {.kind = JINJA_FLOAT};
    TRY(take_number(parser, text));
    errno = 0;
    if (parser->token->kind == JINJA_TOKEN_FLOAT)
        value.real = strtod(text, NULL);
    else
        value = jinja_value_int(strtoll(text, NULL, 10));
    if (value.kind == JINJA_INT && errno == ERANGE)
        return jinja_parser_refuse(parser, "a whole number of more than 64 bits");
    return make_const(parser, node, parser->token++, value);
}

/* Strings that follow each other are one. */
static enum status read_strings(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token;
    struct jinja_text text = {.arena = parser->arena};
    const struct jinja_string *string;
    const char *flat;
    for (; parser->token->kind == JINJA_TOKEN_STRING; parser->token++)
        TRY(jinja_text_add(&text, parser->token->text, parser->token->bytes, true));
    TRY(jinja_text_string(&text, &string));
    TRY(jinja_string_flat(parser->arena, &flat, string));
    TRY(jinja_string_make(parser->arena, &string, flat, string->bytes, true));
    return make_const(parser, node, at, jinja_value_string(string));
}

static enum status read_name(struct jinja_parser *parser, const struct jinja_node **node)
{
    static const struct {
        const char *name;
        struct jinja_value value;
    } words[] = {
        {"true", {.kind = JINJA_BOOL, .truth = true}},
        {"True", {.kind = JINJA_BOOL, .truth = true}},
        {"false", {.kind = JINJA_BOOL}},
        {"False", {.kind = JINJA_BOOL}},
        {"none", {.kind = JINJA_NONE}},
        {"None", {.kind = JINJA_NONE}},
    };
    const struct jinja_token *at = parser->token;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (jinja_parser_take_name(parser, words[i].name))
            return make_const(parser, node, at, words[i].value);
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_NAME, at));
    made->height = 1;
    *node = made;
    return jinja_parser_expect_name(parser, &made->name);
}

static enum status read_dict(struct jinja_parser *parser, const struct jinja_node **node)
{
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_DICT, parser->token++));
    while (!jinja_parser_take(parser, "}")) {
        const struct jinja_node *key, *value;
        if (made->items.count > 0)
            TRY(jinja_parser_expect(parser, ","));
        if (made->items.count > 0 && jinja_parser_take(parser, "}"))
            break;
        TRY(jinja_expressions_read(parser, &key));
        TRY(jinja_parser_expect(parser, ":"));
        TRY(jinja_expressions_read(parser, &value));
        TRY(jinja_parser_add(parser, &made->items, key));
        TRY(jinja_parser_add(parser, &made->items, value));
    }
    *node = made;
    return jinja_parser_close(parser, made);
}

/* Whether a tuple without brackets ends here. */
static bool at_end_of_tuple(const struct jinja_parser *parser)
{
    return parser->token->kind == JINJA_TOKEN_OUTPUT_END ||
           parser->token->kind == JINJA_TOKEN_BLOCK_END || jinja_parser_at(parser, ")") ||
           jinja_parser_at(parser, "=") || jinja_parser_at_name(parser, "in") ||
           jinja_parser_at_name(parser, "recursive");
}

static enum status read_tuple(struct jinja_parser *parser, const struct jinja_node **node,
                              reader *read)
{
    const struct jinja_token *at = parser->token;
    TRY(read(parser, node));
    if (!jinja_parser_at(parser, ","))
        return STATUS_OK;
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_TUPLE, at));
    TRY(jinja_parser_add(parser, &made->items, *node));
    while (jinja_parser_take(parser, ",") && !at_end_of_tuple(parser)) {
        TRY(read(parser, node));
        TRY(jinja_parser_add(parser, &made->items, *node));
    }
    *node = made;
    return jinja_parser_close(parser, made);
}

enum status jinja_expressions_read_tuple(struct jinja_parser *parser,
                                         const struct jinja_node **node, bool is_conditional)
{
    return read_tuple(parser, node, is_conditional ? jinja_expressions_read : read_unconditional);
}

static enum status read_primary(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token;
    struct jinja_node *made;
    switch (at->kind) {
    case JINJA_TOKEN_NAME:
        return read_name(parser, node);
    case JINJA_TOKEN_STRING:
        return read_strings(parser, node);
    case JINJA_TOKEN_INTEGER:
    case JINJA_TOKEN_FLOAT:
        return read_number(parser, node);
    default:
        break;
    }
    if (jinja_parser_at(parser, "{"))
        return read_dict(parser, node);
    if (jinja_parser_take(parser, "[")) {
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_LIST, at));
        TRY(read_items(parser, &made->items, jinja_expressions_read, "]"));
        *node = made;
        return jinja_parser_close(parser, made);
    }
    if (!jinja_parser_take(parser, "("))
        return jinja_parser_refuse(parser, "an expression is missing");
    if (jinja_parser_take(parser, ")")) {
        TRY(jinja_parser_node(parser, &made, JINJA_NODE_TUPLE, at));
        *node = made;
        return jinja_parser_close(parser, made);
    }
    TRY(read_tuple(parser, node, jinja_expressions_read));
    return jinja_parser_expect(parser, ")");
}

static enum status read_dot(struct jinja_parser *parser, const struct jinja_node **node)
{
    const struct jinja_token *at = parser->token++;
    if (parser->token->kind == JINJA_TOKEN_INTEGER) {
        const struct jinja_node *index;
        TRY(read_number(parser, &index));
        return make_two(parser, node, JINJA_NODE_ITEM, at, index);
    }
    struct jinja_node *made;
    TRY(jinja_parser_node(parser, &made, JINJA_NODE_ATTRIBUTE, at));
    made->a = *node;
    TRY(jinja_parser_expect_name(parser, &made->name));
    *node = made;
    return jinja_parser_close(parser, made);
}

static enum status read_postfix(struct jinja_parser *parser, const struct jinja_node **node)
{
    for (;;) {
        const struct jinja_token *at = parser->token;
        if (jinja_parser_at(parser, ".")) {
            TRY(read_dot(parser, node));
        } else if (jinja_parser_take(parser, "[")) {
            const struct jinja_node *index;
            TRY(read_index(parser, &index));
            if (jinja_parser_at(parser, ","))
                return jinja_parser_refuse(parser, "an index of several parts");
            TRY(jinja_parser_expect(parser, "]"));
            TRY(make_two(parser, node, JINJA_NODE_ITEM, at, index));
        } else if (jinja_parser_at(parser, "(")) {
            TRY(read_call(parser, node));
        } else {
            return STATUS_OK;
        }
    }
}

static enum status read_unary(struct jinja_parser *parser, const struct jinja_node **node,
                              bool with_filters)
{
    const struct jinja_token *at = parser->token;
    TRY(jinja_parser_enter(parser));
    if (jinja_parser_take(parser, "-")) {
        TRY(read_unary(parser, node, false));
        TRY(make_two(parser, node, JINJA_NODE_MINUS, at, NULL));
    } else if (jinja_parser_take(parser, "+")) {
        TRY(read_unary(parser, node, false));
        TRY(make_two(parser, node, JINJA_NODE_PLUS, at, NULL));
    } else {
        TRY(read_primary(parser, node));
    }
    TRY(read_postfix(parser, node));
    if (with_filters)
        TRY(read_filters_and_tests(parser, node));
    jinja_parser_leave(parser);
    return STATUS_OK;
}

static enum status read_one_target(struct jinja_parser *parser, const struct jinja_node **node)
{
    const bool is_bracketed = jinja_parser_take(parser, "(");
    if (is_bracketed) {
        TRY(jinja_parser_enter(parser));
        TRY(read_tuple(parser, node, read_one_target));
        jinja_parser_leave(parser);
        return jinja_parser_expect(parser, ")");
    }
    if (parser->token->kind != JINJA_TOKEN_NAME)
        return jinja_parser_refuse(parser, "the name of a variable is missing");
    TRY(read_name(parser, node));
    if ((*node)->kind != JINJA_NODE_NAME)
        return jinja_parser_refuse(parser, "a constant cannot be set");
    return jinja_parser_at(parser, ".") ? read_dot(parser, node) : STATUS_OK;
}

enum status jinja_expressions_read_target(struct jinja_parser *parser,
                                          const struct jinja_node **node)
{
    return read_tuple(parser, node, read_one_target);
}

enum status jinja_expressions_read_call(struct jinja_parser *parser, const struct jinja_node **node)
{
    TRY(jinja_expressions_read(parser, node));
    return (*node)->kind == JINJA_NODE_CALL ? STATUS_OK
                                            : jinja_parser_refuse(parser, "a call is missing");
}
