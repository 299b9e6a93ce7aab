/* longhaul convert: a model in another format or another weight type. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "proto/flags.h"
#include "proto/model/digest.h"
#include "proto/model/mapping.h"
#include "proto/model/model_save.h"
#include "proto/model/output_shards.h"
#include "proto/utf8_check.h"

enum { PATH_BYTES = 4096 };

struct options {
    const char *in, *out, *type;
    int64_t shard_bytes;
    bool overwrite, json;
};

static bool ends_with(const char *text, const char *end)
{
    const size_t bytes = strlen(text);
    return bytes >= strlen(end) && strcmp(text + bytes - strlen(end), end) == 0;
}

static enum status read_type(enum dtype *dtype, const char *name)
{
    *dtype = DTYPE_COUNT;
    if (!name)
        return STATUS_OK;
    for (int d = 0; d < DTYPE_COUNT; d++)
        if (strcasecmp(name, dtype_name((enum dtype)d)) == 0)
            *dtype = (enum dtype)d;
    return *dtype < DTYPE_COUNT
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT,
                      "--type %s is no weight type that is written; F32, F16, BF16, Q8_0, Q5_0, "
                      "Q5_1, Q4_0 and Q4_1 are",
                      name);
}

static enum status read_format(enum model_save_format *format, const char *out)
{
    *format = ends_with(out, ".gguf") ? MODEL_SAVE_GGUF : MODEL_SAVE_FOLDER;
    return ends_with(out, ".safetensors")
               ? fail(STATUS_INVALID_ARGUMENT,
                      "%s would be one file of a model; name a folder, or a file that ends in "
                      ".gguf",
                      out)
               : STATUS_OK;
}

/* Redrawn a hundred times at most. */
static enum status step(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    int *told = context;
    const int percent = all_bytes > 0 ? (int)((double)done_bytes * 100 / (double)all_bytes) : 100;
    if (interrupt_count() > 0)
        return fail(STATUS_CANCELLED, "interrupted; nothing was written");
    if (percent != *told)
        console_progress("writing: %d%% of %.2f GB", percent, (double)all_bytes / 1e9);
    *told = percent;
    return STATUS_OK;
}

/* ---- what was written ---- */

struct report {
    json_t *files;
    bool json;
    uint64_t bytes;
};

/* Paths are UTF-8 where JSON is asked for: what fails is memory. Lines were printed without. */
static enum status fail_to_tell(const struct report *report)
{
    return report->json ? fail(STATUS_RESOURCE_EXHAUSTED, "no memory to say what was written")
                        : STATUS_OK;
}

/* The digest is of what can be read back. */
static enum status tell_file(struct report *report, const char *path)
{
    struct mapping mapping;
    char hex[DIGEST_HEX_BYTES];
    TRY(mapping_open(&mapping, path));
    digest_bytes(hex, mapping.data, mapping.bytes);
    if (!report->json)
        printf("%s  %s\n", hex, path);
    const int failed =
        json_array_append_new(report->files, json_pack("{s:s, s:I, s:s}", "path", path, "bytes",
                                                       (json_int_t)mapping.bytes, "xxh128", hex));
    report->bytes += mapping.bytes;
    mapping_close(&mapping);
    return failed ? fail_to_tell(report) : STATUS_OK;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static enum status tell_folder(struct report *report, const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_visible, alphasort);
    enum status status = STATUS_OK;
    if (count < 0)
        return fail(STATUS_IO, "read the folder %s: %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        const int bytes = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (status == STATUS_OK)
            status = bytes < (int)sizeof path
                         ? tell_file(report, path)
                         : fail(STATUS_INVALID_ARGUMENT, "the path %.64s... is too long", folder);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static enum status tell_parts(struct report *report, const char *out, int count)
{
    for (int part = 0; part < count; part++) {
        char path[PATH_BYTES];
        TRY(output_shards_gguf_path(path, sizeof path, out, part, count));
        TRY(tell_file(report, path));
    }
    return STATUS_OK;
}

static enum status tell(const struct options *options, const struct model_save *save, int count)
{
    struct report report = {.files = json_array(), .json = options->json};
    const bool is_gguf = save->format == MODEL_SAVE_GGUF;
    console_progress("reading back");
    enum status status =
        is_gguf ? tell_parts(&report, options->out, count) : tell_folder(&report, options->out);
    console_clear();
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:O}", "output", options->out, "format",
                             is_gguf ? "gguf" : "safetensors", "type",
                             save->dtype < DTYPE_COUNT ? dtype_name(save->dtype) : "own", "bytes",
                             (json_int_t)report.bytes, "files", report.files);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (status == STATUS_OK && !text)
        status = fail_to_tell(&report);
    if (status == STATUS_OK && options->json)
        puts(text);
    free(text);
    json_decref(json);
    json_decref(report.files);
    return status;
}

/* ---- the command ---- */

/* JSON is UTF-8, so a path that is not has no place in it. */
static enum status check_json_path(const char *out)
{
    const enum status status = utf8_check(out, strlen(out), "the path OUT");
    return status == STATUS_OK
               ? STATUS_OK
               : fail(status, "%s; name another one, or leave out --json", status_message());
}

static enum status convert(const struct options *options)
{
    int told = -1, files = 1;
    const struct model_save_watch watch = {.step = step, .context = &told};
    struct model_save save = {.shard_bytes = (uint64_t)options->shard_bytes,
                              .keeps_existing = !options->overwrite,
                              .files = &files,
                              .watch = &watch};
    struct model *model;
    if (options->json)
        TRY(check_json_path(options->out));
    TRY(read_format(&save.format, options->out));
    TRY(read_type(&save.dtype, options->type));
    TRY(model_open(&model, options->in));
    save.source = model;
    enum status status = model_save(&save, options->out);
    console_clear();
    if (status == STATUS_OK)
        status = tell(options, &save, files);
    else if (status == STATUS_ALREADY_EXISTS && !options->overwrite)
        status = fail(status, "%s; name another place, or give --overwrite to replace it",
                      status_message());
    model_close(model);
    return status;
}

static int run(const char *program, const struct options *options)
{
    interrupt_install();
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on files is told as a full disk is */
    const enum status status = convert(options);
    if (status == STATUS_OK)
        return 0;
    const int exit_code = console_failure(program, status);
    return status == STATUS_CANCELLED && interrupt_count() > 0 ? interrupt_exit_code() : exit_code;
}

int convert_command(int argc, char **argv)
{
    struct options options = {.in = NULL};
    const struct flags_row rows[] = {
        {.name = "type",
         .type = FLAGS_TEXT,
         .target = &options.type,
         .value = "F32|F16|BF16|Q8_0|Q5_0|Q5_1|Q4_0|Q4_1",
         .help = "of the weights (default: what each tensor has)"},
        {.name = "shard-bytes",
         .type = FLAGS_INTEGER,
         .target = &options.shard_bytes,
         .value = "N",
         .help = "several files, each of at most N bytes of tensors",
         .least = 1,
         .most = 1e15},
        {.name = "overwrite",
         .type = FLAGS_SWITCH,
         .target = &options.overwrite,
         .help = "replace the model that is at OUT"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &options.json,
         .help = "one JSON object on standard output"},
    };
    const struct flags_command command = {
        .program = "longhaul convert",
        .example =
            "  longhaul convert model.gguf model-folder --type BF16\n"
            "  longhaul convert model-folder model.gguf --type Q4_1 --shard-bytes 4000000000\n",
        .summary =
            "Writes the model of FILE, a GGUF file or a folder, in another format, in another\n"
            "weight type or in files of another size. OUT that ends in .gguf is a GGUF file, any\n"
            "other is a folder of safetensors.\n"
            "Prints a digest (XXH128, as xxhsum -H2 does) and the path of each file.\n",
        .arguments = "FILE OUT",
        .arguments_least = 2,
        .arguments_most = 2,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    options.in = argv[first];
    options.out = argv[first + 1];
    return run(command.program, &options);
}
