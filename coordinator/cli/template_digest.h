/* Which chat template a folder's results are of. */
#pragma once

#include "proto/model/digest.h"
#include "proto/status.h"

/* "auto" for the model's own, which is a part of the model; else the digest of the text of the one
 * that `name` stands for, as a file may change. Errors are those of chat_source_open. */
MUST_CHECK enum status template_digest(char hex[DIGEST_HEX_BYTES], const char *name);
