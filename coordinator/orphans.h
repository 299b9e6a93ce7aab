/* Processes that a child leaves behind when it ends: they become this process's own children, so
 * that they can be ended and nothing stays. */
#pragma once

#include <stdbool.h>

/* From now on orphans of our children are ours. */
void orphans_adopt(void);

/* Reaps those that have ended; true when no child is left. */
bool orphans_gone(void);

/* Kills every child of this process's main thread and reaps those that have ended. To be called
 * from that thread, until it returns true: no child is left. */
bool orphans_end(void);
