/* One command at a time in the folder of a run. A trainer that a command leaves behind when it is
 * killed holds the lock until it has ended, with its checkpoint. */
#pragma once

#include "proto/status.h"

/* Makes the folder, with those above it, and locks it until the process and its children have
 * ended. Waits half a minute for others to end: UNAVAILABLE after that, CANCELLED after an
 * interrupt. Where the file system has no locks there is none. */
MUST_CHECK enum status folder_lock_take(const char *folder);
