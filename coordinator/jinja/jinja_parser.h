/* From tokens to a tree: what jinja_statements.c and jinja_expressions.c share. The grammar is
 * jinja2's. */
#pragma once

#include <stdbool.h>

#include "coordinator/jinja/jinja_lexer.h"
#include "coordinator/jinja/jinja_node.h"
#include "proto/status.h"

/* Of the tree, and of brackets and tags that are read in each other. */
enum { JINJA_PARSER_DEPTH_MAX = 150 };

/* Different ones in a template: published ones have some hundreds. */
enum { JINJA_PARSER_NAMES_MAX = 4096 };

struct jinja_parser {
    struct jinja_arena *arena;
    const struct jinja_token *token; /* the next one */
    struct jinja_name *names;
    int names_count;
    int depth;
    int loops; /* around what is read */
};

/* INVALID_ARGUMENT with the line and column of the next token. */
__attribute__((format(printf, 2, 3))) MUST_CHECK enum status
jinja_parser_refuse(const struct jinja_parser *parser, const char *format, ...);

MUST_CHECK enum status jinja_parser_enter(struct jinja_parser *parser);
void jinja_parser_leave(struct jinja_parser *parser);

/* Whether the next token is this operator, or this name. */
bool jinja_parser_at(const struct jinja_parser *parser, const char *operator);
bool jinja_parser_at_name(const struct jinja_parser *parser, const char *name);

/* The same, and passes it. */
bool jinja_parser_take(struct jinja_parser *parser, const char *operator);
bool jinja_parser_take_name(struct jinja_parser *parser, const char *name);

MUST_CHECK enum status jinja_parser_expect(struct jinja_parser *parser, const char *operator);

/* A name that is no reserved word of an expression. */
MUST_CHECK enum status jinja_parser_expect_name(struct jinja_parser *parser,
                                                const struct jinja_name **name);

/* The one spelling of a name. */
MUST_CHECK enum status jinja_parser_name(struct jinja_parser *parser,
                                         const struct jinja_name **name, const char *text,
                                         size_t bytes);

/* A node where `at` stands. */
MUST_CHECK enum status jinja_parser_node(struct jinja_parser *parser, struct jinja_node **node,
                                         enum jinja_node_kind kind, const struct jinja_token *at);

MUST_CHECK enum status jinja_parser_add(struct jinja_parser *parser, struct jinja_nodes *nodes,
                                        const struct jinja_node *node);

/* Measures a node whose members are all there. INVALID_ARGUMENT where the tree is too high. */
MUST_CHECK enum status jinja_parser_close(struct jinja_parser *parser, struct jinja_node *node);
