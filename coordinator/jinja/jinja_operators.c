/* Owns arithmetic and comparison. Promises that no whole number overflows in silence. */
#include "coordinator/jinja/jinja_operators.h"

#include <math.h>
#include <string.h>

#include "coordinator/jinja/jinja_compare.h"

static const char *const spelt[] = {
    [JINJA_ADD] = "+",
    [JINJA_SUBTRACT] = "-",
    [JINJA_MULTIPLY] = "*",
    [JINJA_DIVIDE] = "/",
    [JINJA_FLOOR_DIVIDE] = "//",
    [JINJA_REMAINDER] = "%",
    [JINJA_POWER] = "**",
    [JINJA_EQUAL] = "==",
    [JINJA_NOT_EQUAL] = "!=",
    [JINJA_LESS] = "<",
    [JINJA_LESS_EQUAL] = "<=",
    [JINJA_GREATER] = ">",
    [JINJA_GREATER_EQUAL] = ">=",
    [JINJA_IN] = "in",
    [JINJA_NOT_IN] = "not in",
};

/* An undefined value is named, as it is most often a misspelt one. */
static enum status refuse(struct jinja_machine *machine, enum jinja_operation operation,
                          struct jinja_value a, struct jinja_value b)
{
    const struct jinja_value missing = a.kind == JINJA_UNDEFINED ? a : b;
    const char *name = "";
    if (missing.kind == JINJA_UNDEFINED && missing.string) {
        TRY(jinja_string_flat(machine->arena, &name, missing.string));
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "'%.*s' is undefined",
                                  (int)(missing.string->bytes < 60 ? missing.string->bytes : 60),
                                  name);
    }
    return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "%s does not take %s and %s",
                              spelt[operation], jinja_value_type(a), jinja_value_type(b));
}

static enum status too_large(struct jinja_machine *machine)
{
    return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE, "a whole number of more than 64 bits");
}

static int64_t integer_of(struct jinja_value value)
{
    return value.kind == JINJA_BOOL ? value.truth : value.integer;
}

static double real_of(struct jinja_value value)
{
    return value.kind == JINJA_FLOAT ? value.real : (double)integer_of(value);
}

/* Rounded down; -1 only of -2^63 does not fit. */
static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static enum status integer_power(struct jinja_machine *machine, struct jinja_value *out, int64_t a,
                                 int64_t b)
{
    int64_t power = 1;
    if (b < 0) {
        *out = (struct jinja_value){.kind = JINJA_FLOAT, .real = pow((double)a, (double)b)};
        return STATUS_OK;
    }
    if (a == 0 || a == 1 || a == -1) {
        *out = jinja_value_int(b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a);
        return STATUS_OK;
    }
    for (; b > 0; b--)
        if (__builtin_mul_overflow(power, a, &power))
            return too_large(machine);
    *out = jinja_value_int(power);
    return STATUS_OK;
}

static enum status integers(struct jinja_machine *machine, struct jinja_value *out,
                            enum jinja_operation operation, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool overflows = false;
    switch (operation) {
    case JINJA_ADD:
        overflows = __builtin_add_overflow(a, b, &result);
        break;
    case JINJA_SUBTRACT:
        overflows = __builtin_sub_overflow(a, b, &result);
        break;
    case JINJA_MULTIPLY:
        overflows = __builtin_mul_overflow(a, b, &result);
        break;
    case JINJA_POWER:
        return integer_power(machine, out, a, b);
    default:
        if (b == -1)
            overflows = operation == JINJA_FLOOR_DIVIDE && __builtin_sub_overflow(0, a, &result);
        else if (operation == JINJA_FLOOR_DIVIDE)
            result = floor_divide(a, b);
        else
            result = a % b != 0 && (a < 0) != (b < 0) ? a % b + b : a % b;
    }
    *out = jinja_value_int(result);
    return overflows ? too_large(machine) : STATUS_OK;
}

static double reals(enum jinja_operation operation, double a, double b)
{
    switch (operation) {
    case JINJA_ADD:
        return a + b;
    case JINJA_SUBTRACT:
        return a - b;
    case JINJA_MULTIPLY:
        return a * b;
    case JINJA_DIVIDE:
        return a / b;
    case JINJA_FLOOR_DIVIDE:
        return floor(a / b);
    case JINJA_POWER:
        return pow(a, b);
    default: {
        const double remainder = fmod(a, b);
        return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
    }
    }
}

static enum status numbers(struct jinja_machine *machine, struct jinja_value *out,
                           enum jinja_operation operation, struct jinja_value a,
                           struct jinja_value b)
{
    const bool divides = operation == JINJA_DIVIDE || operation == JINJA_FLOOR_DIVIDE ||
                         operation == JINJA_REMAINDER;
    if ((divides && real_of(b) == 0) ||
        (operation == JINJA_POWER && real_of(a) == 0 && real_of(b) < 0))
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "division by zero");
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT && operation != JINJA_DIVIDE)
        return integers(machine, out, operation, integer_of(a), integer_of(b));
    *out =
        (struct jinja_value){.kind = JINJA_FLOAT, .real = reals(operation, real_of(a), real_of(b))};
    return STATUS_OK;
}

/* What is added to a text that went through "safe" is escaped for HTML, as long as it did not go
 * through it too. */
static enum status add_escaped(struct jinja_text *to, const struct jinja_string *string)
{
    static const char marks[] = "&<>'\"";
    static const char *const escapes[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    for (size_t i = 0; i < string->count; i++) {
        const struct jinja_piece *piece = &string->pieces[i];
        size_t shown = 0;
        for (size_t b = 0; b < piece->bytes; b++) {
            const char *mark = memchr(marks, piece->text[b], sizeof marks - 1);
            if (!mark)
                continue;
            const char *escape = escapes[mark - marks];
            TRY(jinja_text_add(to, piece->text + shown, b - shown, piece->is_own));
            TRY(jinja_text_add(to, escape, strlen(escape), piece->is_own));
            shown = b + 1;
        }
        TRY(jinja_text_add(to, piece->text + shown, piece->bytes - shown, piece->is_own));
    }
    return STATUS_OK;
}

static enum status add_part(struct jinja_machine *machine, struct jinja_text *to,
                            const struct jinja_string *part, const struct jinja_string *other)
{
    if (!other->is_safe || part->is_safe)
        return jinja_text_add_string(to, part);
    TRY(jinja_machine_step_bytes(machine, 4 * part->bytes));
    return add_escaped(to, part);
}

static enum status add_strings(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_string *a, const struct jinja_string *b)
{
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *sum;
    TRY(jinja_machine_step(machine, 1 + (a->count + b->count) / 8));
    TRY(add_part(machine, &text, a, b));
    TRY(add_part(machine, &text, b, a));
    TRY(jinja_text_string(&text, &sum));
    ((struct jinja_string *)sum)->is_safe = a->is_safe || b->is_safe;
    *out = jinja_value_string(sum);
    return STATUS_OK;
}

static enum status add_lists(struct jinja_machine *machine, struct jinja_value *out,
                             struct jinja_value a, struct jinja_value b)
{
    struct jinja_list *list;
    TRY(jinja_machine_step(machine, 1 + a.list->count + b.list->count));
    TRY(jinja_list_make(&list, machine->arena));
    for (size_t i = 0; i < a.list->count; i++)
        TRY(jinja_list_add(list, a.list->items[i]));
    for (size_t i = 0; i < b.list->count; i++)
        TRY(jinja_list_add(list, b.list->items[i]));
    *out = jinja_value_list(a.kind, list);
    return STATUS_OK;
}

/* A text or list, `times` times; none for fewer than one. */
static enum status repeat(struct jinja_machine *machine, struct jinja_value *out,
                          struct jinja_value value, int64_t times)
{
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *string;
    struct jinja_list *list;
    if (value.kind == JINJA_STRING) {
        for (int64_t i = 0; i < times && value.string->bytes > 0; i++) {
            TRY(jinja_machine_step(machine, 1));
            TRY(jinja_text_add_string(&text, value.string));
        }
        TRY(jinja_text_string(&text, &string));
        *out = jinja_value_string(string);
        return STATUS_OK;
    }
    TRY(jinja_list_make(&list, machine->arena));
    for (int64_t i = 0; i < times && value.list->count > 0; i++)
        for (size_t k = 0; k < value.list->count; k++) {
            TRY(jinja_machine_step(machine, 1));
            TRY(jinja_list_add(list, value.list->items[k]));
        }
    *out = jinja_value_list(value.kind, list);
    return STATUS_OK;
}

static bool is_repeatable(struct jinja_value value)
{
    return value.kind == JINJA_STRING || value.kind == JINJA_LIST || value.kind == JINJA_TUPLE;
}

static bool is_integer(struct jinja_value value)
{
    return value.kind == JINJA_INT || value.kind == JINJA_BOOL;
}

static enum status calculate(struct jinja_machine *machine, struct jinja_value *out,
                             enum jinja_operation operation, struct jinja_value a,
                             struct jinja_value b)
{
    if (jinja_value_is_number(a) && jinja_value_is_number(b))
        return numbers(machine, out, operation, a, b);
    if (operation == JINJA_ADD && a.kind == JINJA_STRING && b.kind == JINJA_STRING)
        return add_strings(machine, out, a.string, b.string);
    if (operation == JINJA_ADD && a.kind == b.kind &&
        (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE))
        return add_lists(machine, out, a, b);
    if (operation == JINJA_MULTIPLY && is_repeatable(a) && is_integer(b))
        return repeat(machine, out, a, integer_of(b));
    if (operation == JINJA_MULTIPLY && is_integer(a) && is_repeatable(b))
        return repeat(machine, out, b, integer_of(a));
    if (operation == JINJA_REMAINDER && a.kind == JINJA_STRING && b.kind != JINJA_UNDEFINED)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                  "%% with a text on its left is not supported");
    return refuse(machine, operation, a, b);
}

size_t jinja_operators_find(const char *text, size_t from, size_t bytes, const char *needle,
                            size_t needle_bytes)
{
    const char *found = needle_bytes > 0 && from < bytes
                            ? memmem(text + from, bytes - from, needle, needle_bytes)
                            : NULL;
    return found ? (size_t)(found - text) : bytes;
}

static enum status is_in_text(struct jinja_machine *machine, bool *is_in,
                              const struct jinja_string *needle, const struct jinja_string *text)
{
    const char *flat, *flat_needle;
    TRY(jinja_machine_step_bytes(machine, text->bytes));
    TRY(jinja_string_flat(machine->arena, &flat, text));
    TRY(jinja_string_flat(machine->arena, &flat_needle, needle));
    *is_in = needle->bytes == 0 ||
             jinja_operators_find(flat, 0, text->bytes, flat_needle, needle->bytes) < text->bytes;
    return STATUS_OK;
}

static enum status is_in(struct jinja_machine *machine, bool *found, struct jinja_value a,
                         struct jinja_value b)
{
    struct jinja_value *entry;
    bool is_key = false;
    *found = false;
    if (b.kind == JINJA_UNDEFINED)
        return STATUS_OK;
    if (b.kind == JINJA_STRING && a.kind == JINJA_STRING)
        return is_in_text(machine, found, a.string, b.string);
    if (b.kind == JINJA_DICT)
        TRY(jinja_compare_is_hashable(machine, &is_key, a));
    if (is_key) {
        TRY(jinja_compare_find(machine, &entry, b.dict, a));
        *found = entry != NULL;
        return STATUS_OK;
    }
    if (!jinja_value_is_list(b))
        return refuse(machine, JINJA_IN, a, b);
    TRY(jinja_machine_step(machine, 1 + b.list->count));
    for (size_t i = b.list->next; i < b.list->count && !*found; i++) {
        TRY(jinja_compare_equals(machine, found, a, b.list->items[i]));
        b.list->next += b.kind == JINJA_ITERATOR;
    }
    return STATUS_OK;
}

static enum status order(struct jinja_machine *machine, bool *holds, enum jinja_operation operation,
                         struct jinja_value a, struct jinja_value b)
{
    int order = 0;
    bool has_order;
    const bool are_numbers = jinja_value_is_number(a) && jinja_value_is_number(b);
    TRY(jinja_compare_order(machine, &has_order, &order, a, b));
    if (!has_order) {
        *holds = false; /* not a number */
        return are_numbers ? STATUS_OK : refuse(machine, operation, a, b);
    }
    *holds = operation == JINJA_LESS         ? order < 0
             : operation == JINJA_LESS_EQUAL ? order <= 0
             : operation == JINJA_GREATER    ? order > 0
                                             : order >= 0;
    return STATUS_OK;
}

enum status jinja_operators_apply(struct jinja_machine *machine, struct jinja_value *out,
                                  enum jinja_operation operation, struct jinja_value a,
                                  struct jinja_value b)
{
    bool holds;
    TRY(jinja_machine_step(machine, 1));
    switch (operation) {
    case JINJA_EQUAL:
    case JINJA_NOT_EQUAL:
        TRY(jinja_compare_equals(machine, &holds, a, b));
        holds = holds == (operation == JINJA_EQUAL);
        break;
    case JINJA_IN:
    case JINJA_NOT_IN:
        TRY(is_in(machine, &holds, a, b));
        holds = holds == (operation == JINJA_IN);
        break;
    case JINJA_LESS:
    case JINJA_LESS_EQUAL:
    case JINJA_GREATER:
    case JINJA_GREATER_EQUAL:
        TRY(order(machine, &holds, operation, a, b));
        break;
    default:
        return calculate(machine, out, operation, a, b);
    }
    *out = jinja_value_bool(holds);
    return STATUS_OK;
}

enum status jinja_operators_negate(struct jinja_machine *machine, struct jinja_value *out,
                                   struct jinja_value value)
{
    if (!jinja_value_is_number(value))
        return refuse(machine, JINJA_SUBTRACT, jinja_value_int(0), value);
    if (value.kind == JINJA_FLOAT) {
        *out = (struct jinja_value){.kind = JINJA_FLOAT, .real = -value.real};
        return STATUS_OK;
    }
    return integers(machine, out, JINJA_SUBTRACT, 0, integer_of(value));
}
