/* Owns the list of tests. */
#include "coordinator/jinja/jinja_tests.h"

#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_operators.h"

#define TEST(name, condition)                                                                      \
    static enum status name(struct jinja_machine *machine, struct jinja_value *out,                \
                            const struct jinja_call *call)                                         \
    {                                                                                              \
        (void)machine;                                                                             \
        const enum jinja_kind kind = call->in.kind;                                                \
        *out = jinja_value_bool(condition);                                                        \
        return STATUS_OK;                                                                          \
    }

TEST(is_defined, kind != JINJA_UNDEFINED)
TEST(is_undefined, kind == JINJA_UNDEFINED)
TEST(is_none, kind == JINJA_NONE)
TEST(is_boolean, kind == JINJA_BOOL)
TEST(is_true, kind == JINJA_BOOL && call->in.truth)
TEST(is_false, kind == JINJA_BOOL && !call->in.truth)
TEST(is_integer, kind == JINJA_INT)
TEST(is_float, kind == JINJA_FLOAT)
TEST(is_number, kind == JINJA_BOOL || kind == JINJA_INT || kind == JINJA_FLOAT)
TEST(is_string, kind == JINJA_STRING)
TEST(is_mapping, kind == JINJA_DICT)
TEST(is_iterable, kind == JINJA_STRING || kind == JINJA_DICT || kind == JINJA_UNDEFINED ||
                      kind == JINJA_LOOP || jinja_value_is_list(call->in))
/* Python asks for a length and items by index, and an undefined value seems to have both. */
TEST(is_sequence, kind == JINJA_STRING || kind == JINJA_DICT || kind == JINJA_UNDEFINED ||
                      kind == JINJA_LIST || kind == JINJA_TUPLE || kind == JINJA_RANGE)
TEST(is_callable, kind == JINJA_MACRO || kind == JINJA_METHOD || kind == JINJA_FUNCTION ||
                      kind == JINJA_UNDEFINED || kind == JINJA_LOOP)

static enum status compare(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call, enum jinja_operation operation)
{
    return jinja_operators_apply(machine, out, operation, call->in, call->argument[0]);
}

#define COMPARISON(name, operation)                                                                \
    static enum status name(struct jinja_machine *machine, struct jinja_value *out,                \
                            const struct jinja_call *call)                                         \
    {                                                                                              \
        return compare(machine, out, call, operation);                                             \
    }

COMPARISON(is_equal, JINJA_EQUAL)
COMPARISON(is_unequal, JINJA_NOT_EQUAL)
COMPARISON(is_less, JINJA_LESS)
COMPARISON(is_less_equal, JINJA_LESS_EQUAL)
COMPARISON(is_greater, JINJA_GREATER)
COMPARISON(is_greater_equal, JINJA_GREATER_EQUAL)
COMPARISON(is_in, JINJA_IN)

/* The remainder of a division, compared with a number. */
static enum status has_remainder(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_call *call, struct jinja_value divisor,
                                 int64_t remainder)
{
    TRY(jinja_operators_apply(machine, out, JINJA_REMAINDER, call->in, divisor));
    bool equals;
    TRY(jinja_compare_equals(machine, &equals, *out, jinja_value_int(remainder)));
    *out = jinja_value_bool(equals);
    return STATUS_OK;
}

static enum status is_even(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call)
{
    return has_remainder(machine, out, call, jinja_value_int(2), 0);
}

static enum status is_odd(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    return has_remainder(machine, out, call, jinja_value_int(2), 1);
}

static enum status is_divisible(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    return has_remainder(machine, out, call, call->argument[0], 0);
}

static const struct jinja_function_row rows[] = {
    {"defined", "", is_defined},
    {"undefined", "", is_undefined},
    {"none", "", is_none},
    {"boolean", "", is_boolean},
    {"true", "", is_true},
    {"false", "", is_false},
    {"integer", "", is_integer},
    {"float", "", is_float},
    {"number", "", is_number},
    {"string", "", is_string},
    {"mapping", "", is_mapping},
    {"iterable", "", is_iterable},
    {"sequence", "", is_sequence},
    {"callable", "", is_callable},
    {"eq", "b!", is_equal},
    {"equalto", "b!", is_equal},
    {"==", "b!", is_equal},
    {"ne", "b!", is_unequal},
    {"!=", "b!", is_unequal},
    {"lt", "b!", is_less},
    {"lessthan", "b!", is_less},
    {"<", "b!", is_less},
    {"le", "b!", is_less_equal},
    {"<=", "b!", is_less_equal},
    {"gt", "b!", is_greater},
    {"greaterthan", "b!", is_greater},
    {">", "b!", is_greater},
    {"ge", "b!", is_greater_equal},
    {">=", "b!", is_greater_equal},
    {"in", "seq!", is_in},
    {"even", "", is_even},
    {"odd", "", is_odd},
    {"divisibleby", "num!", is_divisible},
    {NULL, NULL, NULL},
};

const struct jinja_function_row *jinja_tests_find(const char *name)
{
    return jinja_call_find(rows, name);
}
