/* Owns the names of a split file's parts, and what they must say of themselves. Promises that all
 * parts that the first one asks for are there once, in their order, and belong together. */
#include "proto/model/gguf_split.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "proto/model/gguf_value.h"

enum { PARTS_MAX = 1024, TENSORS_MAX = 1 << 24 };

static const char count_key[] = "split.count";
static const char number_key[] = "split.no";
static const char tensors_key[] = "split.tensors.count";

/* "-00001-of-00003.gguf" */
enum { NUMBER_DIGITS = 5, SUFFIX_BYTES = 1 + NUMBER_DIGITS + 4 + NUMBER_DIGITS + 5 };

struct part_name {
    char text[PATH_MAX];
};

/* The name of part `number`, from 0, of `count`, beside a file of the same model. */
static enum status name_part(struct part_name *name, const char *path, int64_t number,
                             int64_t count)
{
    char suffix[64];
    const size_t bytes = strlen(path);
    const char *of = bytes >= SUFFIX_BYTES ? strstr(path + bytes - SUFFIX_BYTES, "-of-") : NULL;
    const int stem = (int)bytes - SUFFIX_BYTES;
    snprintf(suffix, sizeof suffix, "-%05lld-of-%05lld.gguf", (long long)(number + 1),
             (long long)count);
    if (!of || strlen(suffix) != SUFFIX_BYTES ||
        strcmp(of + 4, suffix + 1 + NUMBER_DIGITS + 4) != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is one of %lld parts of a model, and its name does not end in "
                    "-NNNNN-of-%05lld.gguf: give all parts the names that they had",
                    path, (long long)count, (long long)count);
    if (snprintf(name->text, sizeof name->text, "%.*s%s", stem, path, suffix) >=
        (int)sizeof name->text)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the path is too long", path);
    return STATUS_OK;
}

/* What a part says of itself. */
static enum status check_part(const struct gguf *part, int64_t number, int64_t count)
{
    int64_t own_number, own_count;
    TRY(gguf_value_integer(part, &own_count, count_key, 1, PARTS_MAX));
    TRY(gguf_value_integer(part, &own_number, number_key, 0, PARTS_MAX - 1));
    if (own_count == count && own_number == number)
        return STATUS_OK;
    return gguf_fail(part, gguf_find_pair(part, number_key)->offset, STATUS_DATA_LOSS, "split",
                     "the file says that it is part %lld of %lld, its name part %lld of %lld",
                     (long long)own_number + 1, (long long)own_count, (long long)number + 1,
                     (long long)count);
}

static enum status join_part(struct gguf *first, int64_t number, int64_t count)
{
    enum status status;
    struct part_name name;
    struct gguf *part;
    TRY(name_part(&name, gguf_name(first), number, count));
    TRY(gguf_open(&part, name.text));
    TRY_ELSE(check_part(part, number, count), close_part);
    return gguf_join(first, part);
close_part:
    gguf_close(part);
    return status;
}

static enum status join_all(struct gguf *first, int64_t count)
{
    int64_t number, tensors;
    struct part_name name;
    TRY(gguf_value_integer(first, &number, number_key, 0, PARTS_MAX - 1));
    TRY(name_part(&name, gguf_name(first), 0, count));
    if (number != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is part %lld of %lld of a model; give its first part, %s", gguf_name(first),
                    (long long)number + 1, (long long)count, name.text);
    if (strcmp(name.text, gguf_name(first)) != 0)
        return fail(STATUS_INVALID_ARGUMENT, "%s is the first part of a model; name it %s",
                    gguf_name(first), name.text);
    for (int64_t part = 1; part < count; part++)
        TRY(join_part(first, part, count));
    if (!gguf_find_pair(first, tensors_key))
        return STATUS_OK;
    TRY(gguf_value_integer(first, &tensors, tensors_key, 0, TENSORS_MAX));
    if (tensors == gguf_tensor_count(first))
        return STATUS_OK;
    return gguf_fail(first, gguf_find_pair(first, tensors_key)->offset, STATUS_DATA_LOSS, "split",
                     "%s is %lld, the %lld parts have %d tensors", tensors_key, (long long)tensors,
                     (long long)count, gguf_tensor_count(first));
}

enum status gguf_split_open(struct gguf **gguf, const char *path)
{
    enum status status;
    struct gguf *first;
    int64_t count = 1;
    TRY(gguf_open(&first, path));
    if (gguf_find_pair(first, count_key))
        TRY_ELSE(gguf_value_integer(first, &count, count_key, 0, PARTS_MAX), close_first);
    if (count > 1)
        TRY_ELSE(join_all(first, count), close_first);
    *gguf = first;
    return STATUS_OK;
close_first:
    gguf_close(first);
    return status;
}
