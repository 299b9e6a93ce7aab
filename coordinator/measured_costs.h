/* The measured rates that a program plans by: of the file that is named, or of the one that
 * `longhaul calibrate` keeps where XDG says. */
#pragma once

#include <stdbool.h>

#include "proto/cost_file.h"
#include "proto/status.h"

struct measured_costs {
    struct cost_file file;
    char path[COST_FILE_PATH_BYTES]; /* of what was read, or would have been; "": nowhere */
    bool known;                      /* there is one to plan by */
    bool fits;                       /* it was measured on a processor of this name */
};

/* Once, before the others: $XDG_STATE_HOME and $HOME, borrowed; NULL: not set. */
void measured_costs_configure(const char *state_home, const char *home);

/* `named`: the file to read, whose failure is the caller's and which counts wherever it was
 * measured; "": the one where XDG says, which counts where it is readable and fits this machine. */
MUST_CHECK enum status measured_costs_find(struct measured_costs *costs, const char *named);

/* Where calibrate keeps what it measured; INVALID_ARGUMENT where there is no such place. */
MUST_CHECK enum status measured_costs_default(char path[COST_FILE_PATH_BYTES]);
