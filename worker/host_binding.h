/* How the ranks of a group come to the cores that they compute on: those of one machine share out
 * what other groups leave. */
#pragma once

#include "proto/status.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/transport/transport.h"

struct core_register;

struct host_binding {
    struct binding binding;
    struct core_register *held; /* what this process holds for its machine's ranks; or NULL */
};

/* Every rank calls it. `threads` 0: as many as the rank's share has cores. `register_path` as
 * core_register_open has it. */
MUST_CHECK enum status host_binding_agree(struct host_binding *agreed, struct transport *transport,
                                          int threads, const char *register_path);

/* Lets other groups have the cores. */
void host_binding_release(struct host_binding *agreed);
