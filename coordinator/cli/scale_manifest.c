/* Owns the parsed file. */
#include "coordinator/cli/scale_manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The first value of the file, or what lies under its "manifest". */
static enum status read_first(json_t **found, json_t **root, const char *path)
{
    json_error_t error;
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(STATUS_NOT_FOUND, "open %s: %s", path, strerror(errno));
    *root = json_loadf(file, JSON_DISABLE_EOF_CHECK, &error);
    fclose(file);
    if (!*root)
        return fail(STATUS_INVALID_ARGUMENT, "%s:%d: %s", path, error.line, error.text);
    json_t *inner = json_object_get(*root, "manifest");
    *found = inner ? inner : *root;
    const char *program = text_of(*found, "program");
    if (program && strcmp(program, "longhaul scale") == 0)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "%s: no manifest of longhaul scale", path);
}

static enum status set_row(struct config *config, const char *key, const char *text)
{
    for (size_t i = 0; i < config_rows_count(); i++)
        if (strcmp(config_row_at(i)->key, key) == 0)
            return config_set_flag(config, i, text);
    return fail(STATUS_INVALID_ARGUMENT, "the manifest's setting %s is not known", key);
}

static enum status read_number(int64_t *number, const char *key, const char *text)
{
    char *end = NULL;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (errno || end == text || *end || *number < 0)
        return fail(STATUS_INVALID_ARGUMENT, "the manifest's %s is \"%s\"", key, text);
    return STATUS_OK;
}

/* One that is no row of the configuration; false: it is none of these. */
static bool take_own(struct scale_settings *settings, const char *key, const char *text,
                     enum status *status)
{
    const struct {
        const char *key;
        const char **text;
        int64_t *number;
    } own[] = {
        {"workers", &settings->workers_text, NULL},
        {"nodes", &settings->nodes_text, NULL},
        {"mode", &settings->mode_text, NULL},
        {"method", &settings->methods_text, NULL},
        {"rates_measured", &settings->rates_text, NULL},
        {"prompt_tokens", NULL, &settings->prompt_tokens},
        {"repetitions", NULL, &settings->repetitions},
        {"warmup_tokens", NULL, &settings->warmup_tokens},
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(own[i].key, key) != 0)
            continue;
        if (own[i].text)
            *own[i].text = text;
        else
            *status = read_number(own[i].number, key, text);
        return true;
    }
    return false;
}

static enum status take_settings(json_t *object, struct scale_settings *settings,
                                 struct config *config)
{
    const bool other_model = config_origin(config, "model.path", NULL) == CONFIG_FLAG;
    enum status status = STATUS_OK;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *text = json_string_value(value);
        if (!text)
            return fail(STATUS_INVALID_ARGUMENT, "the manifest's setting %s is no text", key);
        if (take_own(settings, key, text, &status))
            TRY(status);
        else if (strcmp(key, "model.path") != 0 || !other_model)
            TRY(set_row(config, key, text));
    }
    return STATUS_OK;
}

enum status scale_manifest_read(struct scale_manifest *manifest, const char *path,
                                struct scale_settings *settings, struct config *config)
{
    json_t *root = NULL, *found = NULL;
    const enum status status = read_first(&found, &root, path);
    *manifest = (struct scale_manifest){.root = root};
    TRY(status);
    manifest->digest = text_of(json_object_get(found, "model"), "xxh3_128");
    manifest->version = text_of(found, "version");
    manifest->commit = text_of(found, "commit");
    return take_settings(json_object_get(found, "settings"), settings, config);
}

enum status scale_manifest_check(const struct scale_manifest *manifest, const struct manifest *now)
{
    if (!manifest->digest || strcmp(manifest->digest, now->digest) == 0)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s is not the model that the manifest is of: its digest is %s and not %s",
                now->model, now->digest, manifest->digest);
}

void scale_manifest_deinit(struct scale_manifest *manifest)
{
    json_decref(manifest->root);
    *manifest = (struct scale_manifest){.root = NULL};
}
