/* The facts in a config.json. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/model/spec.h"
#include "proto/status.h"

/* Reads and checks the facts; UNIMPLEMENTED names what is not supported, DATA_LOSS what cannot be.
 * The name and the file type are left empty: they are the directory's business. */
MUST_CHECK enum status spec_config_read(struct model_spec *spec, const struct json_place *config);
