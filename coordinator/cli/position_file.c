/* Owns nothing but the list that it makes. */
#include "coordinator/cli/position_file.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/text_file.h"
#include "proto/plan/given_positions.h"
#include "proto/plan/parameter.h"

static const char apart[] = " \t\r\n,";

/* Takes the number at *text. */
static enum status take(int64_t *position, const char **text, const char *name, size_t line)
{
    const size_t bytes = strcspn(*text, apart);
    const size_t digits = strspn(*text, "0123456789");
    if (digits != bytes || digits > 13 || strtoll(*text, NULL, 10) >= GIVEN_POSITIONS_END)
        return fail(STATUS_INVALID_ARGUMENT, "%s:%zu: \"%.*s\" is no position of 0 to %lld", name,
                    line, parameter_shown_bytes(*text, bytes), *text,
                    (long long)GIVEN_POSITIONS_END - 1);
    *position = strtoll(*text, NULL, 10);
    *text += bytes;
    return STATUS_OK;
}

/* Goes on to the next number, or to the end. */
static void skip(const char **text, size_t *line)
{
    for (; **text && strchr(apart, **text); (*text)++)
        *line += **text == '\n';
}

enum status position_file_read_text(int64_t **positions, size_t *count, const char *name,
                                    const char *text)
{
    int64_t *list = malloc((strlen(text) / 2 + 1) * sizeof *list);
    size_t found = 0, line = 1;
    enum status status = STATUS_OK;
    if (!list)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the positions in %s", name);
    for (skip(&text, &line); *text && status == STATUS_OK; skip(&text, &line))
        status = take(&list[found++], &text, name, line);
    if (status == STATUS_OK && found == 0)
        status = fail(STATUS_INVALID_ARGUMENT, "%s: there are no positions in it", name);
    if (status != STATUS_OK) {
        free(list);
        return status;
    }
    *positions = list;
    *count = found;
    return STATUS_OK;
}

enum status position_file_read(int64_t **positions, size_t *count, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    TRY(text_file_read(&text, &bytes, path));
    const enum status status = position_file_read_text(positions, count, path, text);
    free(text);
    return status;
}
