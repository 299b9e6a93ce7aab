/* What a template's variables hold. Values are small and copied; what they point to lies in an
 * arena and, but for namespaces and iterators, does not change once it is made. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/jinja/jinja_string.h"
#include "proto/status.h"

enum jinja_kind {
    JINJA_ABSENT, /* an argument that was not given; never the value of a variable */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_TUPLE,
    JINJA_VIEW,     /* the keys, values or items of a dict */
    JINJA_RANGE,    /* its numbers, made */
    JINJA_ITERATOR, /* what a filter such as map gives: it can be walked once */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_LOOP,
    JINJA_MACRO,
    JINJA_METHOD,
    JINJA_FUNCTION,
};

struct jinja_list;
struct jinja_dict;
struct jinja_loop;
struct jinja_macro;
struct jinja_method;
struct jinja_function_row;

struct jinja_value {
    enum jinja_kind kind;
    union {
        bool truth;
        int64_t integer;
        double real;
        const struct jinja_string *string; /* of an undefined value: what was looked for */
        struct jinja_list *list;           /* LIST, TUPLE, VIEW, RANGE, ITERATOR */
        struct jinja_dict *dict;           /* DICT, NAMESPACE */
        const struct jinja_loop *loop;
        const struct jinja_macro *macro;
        const struct jinja_method *method;
        const struct jinja_function_row *function;
    };
};

struct jinja_list {
    struct jinja_arena *arena;
    struct jinja_value *items; /* [count] */
    size_t count;
    size_t room;
    size_t next; /* of an iterator: the first item that was not taken */
};

struct jinja_entry {
    struct jinja_value key; /* a string, number, bool, none or a tuple of such */
    struct jinja_value value;
};

/* In the sequence in which keys were first put. */
struct jinja_dict {
    struct jinja_arena *arena;
    struct jinja_entry *entries; /* [count] */
    size_t count;
    size_t room;
};

struct jinja_value jinja_value_bool(bool truth);
struct jinja_value jinja_value_int(int64_t integer);
struct jinja_value jinja_value_string(const struct jinja_string *string);
struct jinja_value jinja_value_list(enum jinja_kind kind, struct jinja_list *list);

/* Borrows `text`. */
MUST_CHECK enum status jinja_value_text(struct jinja_value *value, struct jinja_arena *arena,
                                        const char *text, size_t bytes, bool is_own);

MUST_CHECK enum status jinja_list_make(struct jinja_list **list, struct jinja_arena *arena);

MUST_CHECK enum status jinja_list_add(struct jinja_list *list, struct jinja_value item);

MUST_CHECK enum status jinja_dict_make(struct jinja_dict **dict, struct jinja_arena *arena);

/* For a key that is not there. */
MUST_CHECK enum status jinja_dict_add(struct jinja_dict *dict, struct jinja_value key,
                                      struct jinja_value value);

/* A key that is there keeps its place. `key` is own text that lives as long as the dict. */
MUST_CHECK enum status jinja_dict_put_named(struct jinja_dict *dict, const char *key,
                                            struct jinja_value value);

/* Comparing takes from `steps_left`, which is above 0: 1 for so many items and so many bytes. At 0
 * it breaks off, and gives false or NULL. jinja_compare.h does it for a rendering. */

/* NULL where the key is not there. */
struct jinja_value *jinja_dict_find(const struct jinja_dict *dict, struct jinja_value key,
                                    int64_t *steps_left);
struct jinja_value *jinja_dict_find_text(const struct jinja_dict *dict, const char *text,
                                         size_t bytes);

/* As Python's bool(). */
bool jinja_value_is_true(struct jinja_value value);

bool jinja_value_is_list(struct jinja_value value);
bool jinja_value_is_number(struct jinja_value value);

/* As Python's ==; lists that lie deeper in each other than any published template needs are
 * unequal. */
bool jinja_value_equals(struct jinja_value a, struct jinja_value b, int64_t *steps_left);

/* Whether Python can order the two; then `order` is below, equal to or above 0. */
bool jinja_value_order(int *order, struct jinja_value a, struct jinja_value b, int64_t *steps_left);

/* The type's name in Python, for messages. */
const char *jinja_value_type(struct jinja_value value);

/* Keys of a dict: not lists, dicts, and what holds one. */
bool jinja_value_is_hashable(struct jinja_value value, int64_t *steps_left);
