/* The keys of a GGUF file that is written. */
#pragma once

#include "proto/model/architecture.h"
#include "proto/model/gguf_pairs.h"
#include "proto/model/model_save.h"

/* The architecture that the file is of. */
const struct architecture *output_gguf_keys_architecture(const struct model_spec *spec);

/* A GGUF source's own, but for base, context length and number format; of a folder's model, made of
 * its facts and its vocabulary. */
void output_gguf_keys_put(struct gguf_pairs *pairs, const struct model_save *save);
