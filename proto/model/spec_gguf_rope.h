/* What a GGUF file says of rope: its keys, and the tensors of factors. */
#pragma once

#include "proto/model/spec.h"
#include "proto/model/spec_gguf_keys.h"
#include "proto/status.h"

/* Sets all of rope from head_dim, rotated_dim and trained_tokens, which are there. A key that is
 * not known is UNIMPLEMENTED, by its name: it could change the frequencies. */
MUST_CHECK enum status spec_gguf_rope_read(struct model_spec *spec,
                                           const struct spec_gguf_keys *keys);
