/* Models whose GGUF file is split: NAME-00001-of-00003.gguf and so on, all in one folder. The first
 * one has the model's keys, each has some of its tensors.
 */
#pragma once

#include "proto/model/gguf.h"
#include "proto/status.h"

/* As gguf_open, and where the file says that it is the first of several (split.count), the others
 * too: what is opened has the tensors of all. NOT_FOUND names a part that is missing;
 * INVALID_ARGUMENT the first part, where another one is given. */
MUST_CHECK enum status gguf_split_open(struct gguf **gguf, const char *path);
