/* The variants that the tests of this folder run: all that this CPU can, those that are emulated,
 * and what they would be on a CPU without VNNI. */
#pragma once

#include "kernels/kernels.h"

/* NULL past the end. */
const struct kernels *subjects_at(int index);
