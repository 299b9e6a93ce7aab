/* Owns the list of a loop's members. */
#include "coordinator/jinja/jinja_loop.h"

#include <string.h>

enum member {
    INDEX,
    INDEX0,
    REVINDEX,
    REVINDEX0,
    FIRST,
    LAST,
    LENGTH,
    DEPTH,
    DEPTH0,
    PREVIOUS,
    NEXT
};

static const char *const names[] = {
    [INDEX] = "index",         [INDEX0] = "index0", [REVINDEX] = "revindex",
    [REVINDEX0] = "revindex0", [FIRST] = "first",   [LAST] = "last",
    [LENGTH] = "length",       [DEPTH] = "depth",   [DEPTH0] = "depth0",
    [PREVIOUS] = "previtem",   [NEXT] = "nextitem",
};

static struct jinja_value member_of(const struct jinja_loop *loop, enum member member)
{
    const int64_t index = (int64_t)loop->index, count = (int64_t)loop->list->count;
    switch (member) {
    case INDEX:
        return jinja_value_int(index + 1);
    case INDEX0:
        return jinja_value_int(index);
    case REVINDEX:
        return jinja_value_int(count - index);
    case REVINDEX0:
        return jinja_value_int(count - index - 1);
    case FIRST:
        return jinja_value_bool(index == 0);
    case LAST:
        return jinja_value_bool(index == count - 1);
    case LENGTH:
        return jinja_value_int(count);
    case DEPTH:
        return jinja_value_int(1);
    case DEPTH0:
        return jinja_value_int(0);
    case PREVIOUS:
        return index > 0 ? loop->list->items[index - 1] : jinja_machine_undefined(NULL);
    default:
        return index + 1 < count ? loop->list->items[index + 1] : jinja_machine_undefined(NULL);
    }
}

bool jinja_loop_attribute(struct jinja_value *out, const struct jinja_loop *loop, const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = member_of(loop, (enum member)i);
            return true;
        }
    return false;
}
