/* A template as a tree. What a node's members mean is said beside its kind; those that are not
 * named there are unused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/jinja/jinja_value.h"

/* One for each spelling in a template, so that names are equal where their pointers are. */
struct jinja_name {
    const char *text; /* ended by 0 */
    size_t bytes;
    const struct jinja_string *string; /* the same, as own text */
    struct jinja_name *next;
};

enum jinja_node_kind {
    /* expressions */
    JINJA_NODE_CONST,     /* value */
    JINJA_NODE_NAME,      /* name */
    JINJA_NODE_LIST,      /* items */
    JINJA_NODE_TUPLE,     /* items; as a target also names and members of namespaces */
    JINJA_NODE_DICT,      /* items: key, value, key, value */
    JINJA_NODE_NOT,       /* a */
    JINJA_NODE_MINUS,     /* a */
    JINJA_NODE_PLUS,      /* a */
    JINJA_NODE_AND,       /* a, b */
    JINJA_NODE_OR,        /* a, b */
    JINJA_NODE_COMPARE,   /* a, items: BINARY nodes with b, each compared with the one before */
    JINJA_NODE_BINARY,    /* operation, a, b */
    JINJA_NODE_CONCAT,    /* items */
    JINJA_NODE_CONDITION, /* a if it holds, else b, or undefined; c: the condition */
    JINJA_NODE_ATTRIBUTE, /* a, name */
    JINJA_NODE_ITEM,      /* a, b */
    JINJA_NODE_SLICE,     /* a: first, b: end, c: step; each may be NULL. Only in ITEM */
    JINJA_NODE_CALL,      /* a, items: arguments */
    JINJA_NODE_FILTER,    /* a (NULL: what a block wrote), name, items: arguments */
    JINJA_NODE_TEST,      /* a, name, items: arguments */
    JINJA_NODE_KEYWORD,   /* name, a: an argument by name, or a parameter with its default */
    JINJA_NODE_SPREAD,    /* a: a list whose items are arguments */
    /* statements */
    JINJA_NODE_TEXT,         /* value */
    JINJA_NODE_OUTPUT,       /* a */
    JINJA_NODE_FOR,          /* a: target, b: what is walked, c: condition or NULL; items: body,
                                others: where nothing was walked */
    JINJA_NODE_IF,           /* items: BRANCH nodes, others: else */
    JINJA_NODE_BRANCH,       /* a: condition, items: body */
    JINJA_NODE_SET,          /* a: target, b */
    JINJA_NODE_SET_BLOCK,    /* a: target, b: FILTER or NULL, items: body */
    JINJA_NODE_MACRO,        /* name, items: parameters (NAME or KEYWORD), others: body */
    JINJA_NODE_CALL_BLOCK,   /* a: CALL, items: parameters, others: body */
    JINJA_NODE_FILTER_BLOCK, /* b: FILTER, items: body */
    JINJA_NODE_WITH,         /* items: SET nodes, others: body */
    JINJA_NODE_GENERATION,   /* items: body */
    JINJA_NODE_BREAK,
    JINJA_NODE_CONTINUE,
};

enum jinja_operation {
    JINJA_ADD,
    JINJA_SUBTRACT,
    JINJA_MULTIPLY,
    JINJA_DIVIDE,
    JINJA_FLOOR_DIVIDE,
    JINJA_REMAINDER,
    JINJA_POWER,
    JINJA_EQUAL,
    JINJA_NOT_EQUAL,
    JINJA_LESS,
    JINJA_LESS_EQUAL,
    JINJA_GREATER,
    JINJA_GREATER_EQUAL,
    JINJA_IN,
    JINJA_NOT_IN,
};

struct jinja_node;

struct jinja_nodes {
    const struct jinja_node **items; /* [count] */
    size_t count;
    size_t room;
};

struct jinja_node {
    enum jinja_node_kind kind;
    enum jinja_operation operation;
    int line;
    int column;
    int height; /* of the tree below it */
    const struct jinja_name *name;
    struct jinja_value value;
    const struct jinja_node *a;
    const struct jinja_node *b;
    const struct jinja_node *c;
    struct jinja_nodes items;
    struct jinja_nodes others;
};
