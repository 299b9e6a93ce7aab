/* The .proto files of every service that a coordinator offers, as protoc's FileDescriptorSet, made
 * by the build. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t descriptors_set[];
extern const size_t descriptors_set_bytes;
