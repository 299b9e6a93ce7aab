/* Which keys of config.json are known. */
#pragma once

#include "proto/model/architecture.h"
#include "proto/model/json_place.h"
#include "proto/status.h"

/* A key that is not known, and whose name says that it may change the arithmetic (spec_key.h), is
 * UNIMPLEMENTED by its name; the others that are not known are logged, in one line. */
MUST_CHECK enum status spec_config_known_check(const struct json_place *config,
                                               const struct architecture *architecture);

/* A key that is known, by its place in the list; NULL behind the last. For tests. */
const char *spec_config_known_key(int place);
