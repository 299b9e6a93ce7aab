/* Names of batches and documents as clients say them: "batches/ID", "documents/ID". */
#pragma once

#include <stddef.h>

#include "proto/status.h"

enum { RESOURCE_NAME_BYTES = 80 };

/* The id in `name`, which must be "COLLECTION/ID"; borrowed from it. INVALID_ARGUMENT. */
MUST_CHECK enum status resource_name_id(const char **id, const char *name, const char *collection);

/* INVALID_ARGUMENT unless a client may choose it: [a-z]([a-z0-9-]{2,61}[a-z0-9]). "" passes: the
 * server chooses. */
MUST_CHECK enum status resource_name_check_chosen(const char *id);

/* "COLLECTION/ID". */
void resource_name_write(char name[RESOURCE_NAME_BYTES], const char *collection, const char *id);
