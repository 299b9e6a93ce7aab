/* Owns the text of a JSON file. */
#include "proto/model/output_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/output_file.h"

static enum status write_text(const char *path, const char *text)
{
    struct output_file file;
    enum status status;
    TRY(output_file_open(&file, path));
    TRY_ELSE(output_file_write(&file, text, strlen(text)), discard);
    TRY_ELSE(output_file_write(&file, "\n", 1), discard);
    return output_file_close(&file);
discard:
    output_file_discard(&file);
    return status;
}

enum status output_json_write(const char *path, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    const enum status status = write_text(path, text);
    free(text);
    return status;
}

double output_json_float(float value)
{
    char text[32];
    double wide = (double)value;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        wide = strtod(text, NULL);
        if ((float)wide == value)
            break;
    }
    return wide;
}
