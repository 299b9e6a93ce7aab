/* What a result must say of itself so that somebody else can make it again, and judge it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "coordinator/bench/host_facts.h"
#include "proto/config.h"
#include "proto/status.h"

struct json_writer;

enum { MANIFEST_TEXT_BYTES = 128, MANIFEST_SETTINGS_MAX = 32 };

/* A setting that is no row of the configuration. */
struct manifest_setting {
    const char *key;
    const char *value;
};

struct manifest {
    int argc;
    char *const *argv;           /* of the command, its name first */
    const char *program;         /* "longhaul bench" */
    const struct config *config; /* its settings that are not at their defaults are told; or NULL */
    enum config_taker taker;     /* that the command is */
    struct manifest_setting settings[MANIFEST_SETTINGS_MAX]; /* [settings_count], borrowed */
    size_t settings_count;
    char digest[MANIFEST_TEXT_BYTES];  /* of the model's files; "": not known */
    char model[MANIFEST_TEXT_BYTES];   /* its file's name, without folders; "": not known */
    int64_t model_bytes;               /* 0: not known */
    char kernels[MANIFEST_TEXT_BYTES]; /* the variant that answered; "": not known yet */
    time_t begun;                      /* 0: not noted */
    struct host_facts host;            /* as it was then */
};

/* Notes the time and the host, before anything of the measurement's own runs there. */
void manifest_begin(struct manifest *manifest);

/* Reads the model: its name, size and digest. */
MUST_CHECK enum status manifest_read_model(struct manifest *manifest, const char *path);

/* An object under `key`, with the version and commit of this program; where nobody called
 * manifest_begin, with the time and the host as they are now. */
void manifest_write(struct json_writer *writer, const char *key, const struct manifest *manifest);
