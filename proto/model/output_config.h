/* config.json of a model that is written. */
#pragma once

#include "proto/model/model_save.h"
#include "proto/status.h"

/* UNIMPLEMENTED for a GGUF model whose facts config.json cannot say. */
MUST_CHECK enum status output_config_check(const struct model_save *save);

/* Of a model that lies in a folder: its own config.json, with base, context length and number
 * format replaced. Of a GGUF file: made of its facts. */
MUST_CHECK enum status output_config_write(const char *path, const struct model_save *save);
