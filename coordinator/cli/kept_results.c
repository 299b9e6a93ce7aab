/* Owns the set of what is done. Promises that the output is never shorter by what stays, whenever
 * the process is killed: lines are taken out in a copy that then takes the file's name. */
#include "coordinator/cli/kept_results.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/result_line.h"

/* The output while it is read. */
struct reading {
    struct kept_results *kept;
    const char *path;
    FILE *file;
    char *line;
    size_t room;
    bool in_order;
    off_t end;      /* of the lines before the first one that goes */
    bool scattered; /* some that stay are behind it */
};

static enum status failed(const char *what, const char *path)
{
    return fail(STATUS_IO, "%s %s: %s", what, path, strerror(errno));
}

void kept_results_count(struct kept_results *kept, int status_code,
                        const Longhaul__V1__BatchUsage *usage)
{
    kept->lines++;
    kept->completed += status_code == 200;
    kept->failed += status_code != 200;
    kept->usage.prompt_tokens += usage->prompt_tokens;
    kept->usage.cached_tokens += usage->cached_tokens;
    kept->usage.prefilled_tokens += usage->prefilled_tokens;
    kept->usage.completion_tokens += usage->completion_tokens;
}

/* Whether a line of the output stays. */
static enum status judge(struct reading *reading, const char *text, size_t bytes, bool *stays)
{
    struct result_line line;
    *stays = false;
    if (bytes == 0 || text[bytes - 1] != '\n' || !result_line_read(&line, text, bytes - 1) ||
        !result_line_stays(&line))
        return STATUS_OK;
    TRY(text_set_add(&reading->kept->ids, stays, line.custom_id));
    if (*stays)
        kept_results_count(reading->kept, line.status_code, &line.usage);
    return STATUS_OK;
}

static enum status scan(struct reading *reading)
{
    bool gone = false;
    for (ssize_t bytes; (bytes = getline(&reading->line, &reading->room, reading->file)) > 0;) {
        bool stays = false;
        if (gone && reading->in_order)
            break;
        TRY(judge(reading, reading->line, (size_t)bytes, &stays));
        gone = gone || !stays;
        if (!gone)
            reading->end += bytes;
        else if (stays)
            reading->scattered = true;
    }
    return ferror(reading->file) ? failed("read", reading->path) : STATUS_OK;
}

/* Copies what stays; each line is judged as before, with a set of its own. */
static enum status copy_kept(struct reading *reading, FILE *to)
{
    struct text_set ids = {.count = 0};
    enum status status = STATUS_OK;
    rewind(reading->file);
    for (ssize_t bytes; (bytes = getline(&reading->line, &reading->room, reading->file)) > 0;) {
        struct result_line line;
        bool stays = false;
        if (reading->line[bytes - 1] != '\n' ||
            !result_line_read(&line, reading->line, (size_t)bytes - 1) || !result_line_stays(&line))
            continue;
        TRY_ELSE(text_set_add(&ids, &stays, line.custom_id), deinit);
        if (stays && fwrite(reading->line, 1, (size_t)bytes, to) != (size_t)bytes)
            TRY_ELSE(failed("write", reading->path), deinit);
    }
deinit:
    text_set_deinit(&ids);
    return status;
}

static enum status sync_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return failed("open the folder of", path);
    const bool wrong = fsync(folder) != 0;
    close(folder);
    return wrong ? failed("write the folder of", path) : STATUS_OK;
}

static enum status rewrite(struct reading *reading)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s.part", reading->path) >= sizeof part)
        return fail(STATUS_INVALID_ARGUMENT, "-o %s: the path is too long", reading->path);
    FILE *to = fopen(part, "we");
    if (!to)
        return failed("write", part);
    enum status status = copy_kept(reading, to);
    const bool wrong = fflush(to) != 0 || fsync(fileno(to)) != 0;
    if (fclose(to) != 0 || wrong)
        status = status == STATUS_OK ? failed("write", part) : status;
    TRY(status);
    return rename(part, reading->path) == 0 ? sync_folder(reading->path)
                                            : failed("write", reading->path);
}

enum status kept_results_read(struct kept_results *kept, const char *path, bool in_order)
{
    struct reading reading = {.kept = kept, .path = path, .in_order = in_order};
    longhaul__v1__batch_usage__init(&kept->usage);
    reading.file = fopen(path, "r+e");
    if (!reading.file)
        return errno == ENOENT ? STATUS_OK : failed("open", path);
    enum status status = scan(&reading);
    if (status == STATUS_OK && reading.scattered)
        status = rewrite(&reading);
    else if (status == STATUS_OK && ftruncate(fileno(reading.file), reading.end) != 0)
        status = failed("write", path);
    fclose(reading.file);
    free(reading.line);
    return status;
}

void kept_results_deinit(struct kept_results *kept)
{
    text_set_deinit(&kept->ids);
}
