/* A manifest of `longhaul scale`, read back so that what it is of can be measured again. */
#pragma once

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/scale_settings.h"
#include "proto/config.h"
#include "proto/status.h"

/* What was read; the settings point into it. */
struct scale_manifest {
    void *root;         /* the JSON value */
    const char *digest; /* of the model; NULL: not told */
    const char *version, *commit;
};

/* `path` is a manifest.json, or JSON lines that begin with a manifest. Settings go to `settings`
 * and to `config`, but for a model's path that `config` has from a flag. NOT_FOUND;
 * INVALID_ARGUMENT for a file that is none, or of another command. The caller calls
 * scale_manifest_deinit. */
MUST_CHECK enum status scale_manifest_read(struct scale_manifest *manifest, const char *path,
                                           struct scale_settings *settings, struct config *config);

/* FAILED_PRECONDITION where the model is another one. */
MUST_CHECK enum status scale_manifest_check(const struct scale_manifest *manifest,
                                            const struct manifest *now);

void scale_manifest_deinit(struct scale_manifest *manifest);
