/* One safetensors file: named tensors in a JSON header, then their bytes.
 *
 * A file is checked whole when it is opened: the header's length and form, types by name, sizes
 * that agree with shapes, and tensors that cover the data from its first byte to the end of the
 * file, without gap or overlap.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/checkpoint.h"
#include "proto/status.h"

enum {
    SAFETENSORS_HEADER_BYTES_MAX = 32 << 20,
    SAFETENSORS_TENSORS_MAX = 65536,
    SAFETENSORS_NAME_BYTES_MAX = 255,
};

struct safetensors;

/* Reads bytes in memory, borrowed until safetensors_close, as is `name`, which stands for the path
 * in sentences. */
MUST_CHECK enum status safetensors_parse(struct safetensors **safetensors, const void *data,
                                         size_t bytes, const char *name);

/* Ends every view. Accepts NULL. */
void safetensors_close(struct safetensors *safetensors);

/* In the order of their bytes. */
int safetensors_count(const struct safetensors *safetensors);
const struct checkpoint_tensor *safetensors_tensor(const struct safetensors *safetensors,
                                                   int index);
