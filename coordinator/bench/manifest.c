/* Owns nothing. Promises that secrets stay out: it tells settings, which are paths and numbers. */
#include "coordinator/bench/manifest.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/bench/build_commit.h"
#include "proto/json_writer.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"

enum { TIME_BYTES = 32 };

_Static_assert((int)MANIFEST_TEXT_BYTES >= (int)DIGEST_HEX_BYTES, "a digest has room");

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

enum status manifest_read_model(struct manifest *manifest, const char *path)
{
    struct model *model = NULL;
    TRY(model_open(&model, path));
    const struct checkpoint *checkpoint = model_checkpoint(model);
    manifest->model_bytes = 0;
    for (int i = 0; i < checkpoint_file_count(checkpoint); i++)
        manifest->model_bytes += (int64_t)checkpoint_file(checkpoint, i)->bytes;
    digest_model(manifest->digest, model);
    snprintf(manifest->model, sizeof manifest->model, "%s", last_part(path));
    model_close(model);
    return STATUS_OK;
}

static void write_text_or_null(struct json_writer *writer, const char *key, const char *text)
{
    if (text[0])
        json_writer_text(writer, key, text);
    else
        json_writer_null(writer, key);
}

static void write_command(struct json_writer *writer, const struct manifest *manifest)
{
    json_writer_text(writer, "program", manifest->program);
    json_writer_begin_array(writer, "command");
    for (int i = 0; i < manifest->argc; i++)
        json_writer_text(writer, NULL, manifest->argv[i]);
    json_writer_end_array(writer);
    json_writer_text(writer, "version", LONGHAUL_VERSION);
    write_text_or_null(writer, "commit", build_commit);
}

static void write_settings(struct json_writer *writer, const struct manifest *manifest)
{
    json_writer_begin_object(writer, "settings");
    for (size_t i = 0; i < manifest->settings_count; i++)
        json_writer_text(writer, manifest->settings[i].key, manifest->settings[i].value);
    for (size_t i = 0; manifest->config && i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        if ((row->takers & (unsigned)manifest->taker) &&
            config_origin(manifest->config, row->key, NULL) != CONFIG_DEFAULT)
            json_writer_text(writer, row->key, config_text(manifest->config, row->key));
    }
    json_writer_end_object(writer);
}

static void write_model(struct json_writer *writer, const struct manifest *manifest)
{
    json_writer_begin_object(writer, "model");
    write_text_or_null(writer, "file", manifest->model);
    json_writer_integer(writer, "bytes", manifest->model_bytes);
    write_text_or_null(writer, "xxh3_128", manifest->digest);
    json_writer_end_object(writer);
}

static void write_host(struct json_writer *writer, const struct host_facts *host)
{
    json_writer_begin_object(writer, "host");
    json_writer_text(writer, "name", host->name);
    json_writer_text(writer, "system", host->system);
    write_text_or_null(writer, "cpu", host->cpu);
    json_writer_integer(writer, "cores", host->cores);
    json_writer_integer(writer, "usable_cores", host->usable_cores);
    json_writer_integer(writer, "memory_bytes", host->memory_bytes);
    if (host->load >= 0)
        json_writer_real(writer, "load", host->load);
    else
        json_writer_null(writer, "load");
    json_writer_end_object(writer);
}

void manifest_begin(struct manifest *manifest)
{
    manifest->begun = time(NULL);
    host_facts_read(&manifest->host);
}

void manifest_write(struct json_writer *writer, const char *key, const struct manifest *manifest)
{
    char date[TIME_BYTES];
    struct manifest now = {.begun = manifest->begun, .host = manifest->host};
    struct tm utc;
    if (now.begun == 0)
        manifest_begin(&now);
    gmtime_r(&now.begun, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_writer_begin_object(writer, key);
    write_command(writer, manifest);
    json_writer_text(writer, "date", date);
    write_text_or_null(writer, "kernels", manifest->kernels);
    write_settings(writer, manifest);
    write_model(writer, manifest);
    write_host(writer, &now.host);
    json_writer_end_object(writer);
}
