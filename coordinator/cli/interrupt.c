/* Owns the process's signal handlers. Promises that waits are woken: the handlers do not restart
 * system calls. */
#include "coordinator/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t count;
static volatile sig_atomic_t first_signal;

static void on_signal(int number)
{
    if (!first_signal)
        first_signal = number;
    count++;
}

void interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

int interrupt_count(void)
{
    return count;
}

bool interrupt_forget(void)
{
    if (first_signal && first_signal != SIGINT)
        return false;
    first_signal = 0;
    count = 0;
    return true;
}

int interrupt_exit_code(void)
{
    return first_signal ? 128 + first_signal : 0;
}
