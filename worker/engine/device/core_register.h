/* Which cores of this machine worker groups hold: one register for all processes of the machine,
 * whoever runs them and in whatever container. A core is held until core_register_close, or until
 * the process ends, however it ends. It binds nobody: who cannot read it does without. */
#pragma once

#include "proto/status.h"

#include <sched.h>

struct core_register;

/* Opens the register and keeps others from changing it until core_register_settle; UNAVAILABLE
 * where the system has none, or another process keeps it for longer than half a second. `path`: a
 * readable file in the machine's place, for tests; NULL: the machine's. */
MUST_CHECK enum status core_register_open(struct core_register **held, const char *path);

/* Which of `cores` other processes, or other opens of this one, hold. */
void core_register_read(const struct core_register *held, cpu_set_t *foreign,
                        const cpu_set_t *cores);

/* Holds `cores` and lets others change the register. Called once. */
MUST_CHECK enum status core_register_settle(struct core_register *held, const cpu_set_t *cores);

/* Accepts NULL. */
void core_register_close(struct core_register *held);
