/* Owns the sidecar's descriptor and lock. */
#include "coordinator/cli/run_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <jansson.h>

enum { RECORD_BYTES = 2 * PATH_MAX };

static enum status failed(const struct run_record *record, const char *what)
{
    return fail(STATUS_IO, "%s %s: %s", what, record->path, strerror(errno));
}

/* What of the key differs, in words; NULL: nothing. An unreadable record is another one. */
static const char *difference(struct run_record *record, const struct run_record_key *key,
                              const json_t *root)
{
    const struct {
        const char *name, *value;
    } rows[] = {{"input", key->input}, {"model", key->model}, {"options", key->options}};
    const char *store = json_string_value(json_object_get(root, "store"));
    snprintf(record->store, sizeof record->store, "%s", store ? store : "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *there = json_string_value(json_object_get(root, rows[i].name));
        if (!there || strcmp(there, rows[i].value) != 0)
            return rows[i].name;
    }
    return NULL;
}

enum status run_record_open(struct run_record *record, const char *output,
                            const struct run_record_key *key, bool has_output, bool overwrite)
{
    char text[RECORD_BYTES];
    *record = (struct run_record){.descriptor = -1};
    if ((size_t)snprintf(record->path, sizeof record->path, "%s.run", output) >=
        sizeof record->path)
        return fail(STATUS_INVALID_ARGUMENT, "-o %s: the path is too long", output);
    record->descriptor = open(record->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (record->descriptor < 0)
        return failed(record, "open");
    if (flock(record->descriptor, LOCK_EX | LOCK_NB) != 0)
        return fail(STATUS_FAILED_PRECONDITION, "%s: another run is writing %s", record->path,
                    output);
    const ssize_t bytes = pread(record->descriptor, text, sizeof text, 0);
    if (bytes < 0)
        return failed(record, "read");
    json_t *root = json_loadb(text, (size_t)bytes, 0, NULL);
    const char *other = difference(record, key, root);
    json_decref(root);
    if (!other || !has_output || overwrite)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "%s is of a run with %s %s: name another file, or give --overwrite", output,
                bytes == 0 ? "an unknown" : "another",
                strcmp(other, "options") == 0 ? "set of options" : other);
}

enum status run_record_write(struct run_record *record, const struct run_record_key *key,
                             const char *store)
{
    json_t *root = json_pack("{s:i,s:s,s:s,s:s,s:s}", "schema_version", 1, "input", key->input,
                             "model", key->model, "options", key->options, "store", store);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %s", record->path);
    const size_t bytes = strlen(text);
    const bool wrong = ftruncate(record->descriptor, 0) != 0 ||
                       pwrite(record->descriptor, text, bytes, 0) != (ssize_t)bytes ||
                       fsync(record->descriptor) != 0;
    free(text);
    return wrong ? failed(record, "write") : STATUS_OK;
}

void run_record_close(struct run_record *record)
{
    if (record->descriptor >= 0)
        close(record->descriptor);
    record->descriptor = -1;
}
