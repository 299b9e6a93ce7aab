/* Ctrl-C and SIGTERM: the first one asks a command to stop in order, the second one to stop at
 * once. */
#pragma once

/* Catches SIGINT, SIGTERM and SIGHUP from now on. */
void interrupt_install(void);

/* How often one has come. */
int interrupt_count(void);

/* 128 + the number of the first signal; 0 before it. */
int interrupt_exit_code(void);
