/* grpc.reflection.v1 and v1alpha (the same messages): what a stock client asks for a server's
 * services and types. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/rpc/rpc_server.h"

struct reflection;

/* `descriptors` is a packed FileDescriptorSet of our own build; borrowed. */
MUST_CHECK enum status reflection_create(struct reflection **reflection, const uint8_t *descriptors,
                                         size_t bytes);
void reflection_destroy(struct reflection *reflection);

enum { REFLECTION_METHODS = 2 };

/* The rows for a server's table. */
void reflection_methods(struct reflection *reflection,
                        struct rpc_method methods[REFLECTION_METHODS]);
