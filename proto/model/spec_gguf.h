/* The facts in a GGUF file. */
#pragma once

#include "proto/model/gguf.h"
#include "proto/model/spec.h"
#include "proto/status.h"

/* Reads and checks the facts. UNIMPLEMENTED names what is not supported; DATA_LOSS what cannot
 * be. */
MUST_CHECK enum status spec_gguf_read(struct model_spec *spec, const struct gguf *gguf);
