/* Random uuids (version 4, RFC 9562) from a published stream. */
#pragma once

#include "coordinator/eval/eval_random.h"

enum { EVAL_UUID_BYTES = 37 };

/* Four draws of 32 bits, the first one in front, with the version's and the variant's bits set. */
void eval_uuid_draw(char uuid[EVAL_UUID_BYTES], struct eval_random *random);
