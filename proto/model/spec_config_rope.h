/* What config.json says of rope: rope_theta, and rope_scaling or rope_parameters. */
#pragma once

#include "proto/model/architecture.h"
#include "proto/model/json_place.h"
#include "proto/model/spec.h"
#include "proto/status.h"

/* Sets all of rope from head_dim and trained_tokens, which are there. A key that is not known is
 * UNIMPLEMENTED, by its name: it could change the frequencies. */
MUST_CHECK enum status spec_config_rope_read(struct model_spec *spec,
                                             const struct json_place *config,
                                             const struct architecture *architecture);

/* A key of one kind of scaling, and the kind's name, by its place in the list of all; NULL behind
 * the last. For tests. */
const char *spec_config_rope_key(const char **name, int place);
