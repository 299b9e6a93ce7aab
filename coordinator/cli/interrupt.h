/* Ctrl-C and SIGTERM: the first one asks a command to stop in order, the second one to stop at
 * once. */
#pragma once

#include <stdbool.h>

/* Catches SIGINT, SIGTERM, SIGHUP and SIGUSR1, a batch system's warning, from now on. */
void interrupt_install(void);

/* How often one has come. */
int interrupt_count(void);

/* Forgets the Ctrl-Cs that have come, so that the command goes on. False where another signal came
 * too: then it should end. */
bool interrupt_forget(void);

/* 128 + the number of the first signal; 0 before it. */
int interrupt_exit_code(void);
