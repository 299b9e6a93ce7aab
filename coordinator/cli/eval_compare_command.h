/* longhaul eval compare A B. */
#pragma once

/* argv[0] is "compare". The exit code: 0, or 1 where something is worse by more than chance. */
int eval_compare_command(int argc, char **argv);
