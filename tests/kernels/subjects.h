/* The variants that the tests of this folder run: all that this CPU can, and those that are
 * emulated. */
#pragma once

#include "kernels/kernels.h"

/* NULL past the end. */
const struct kernels *subjects_at(int index);
