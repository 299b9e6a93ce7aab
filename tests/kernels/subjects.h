/* The variants that the tests of this folder run: all that this CPU can, those that are emulated,
 * and what they would be on a CPU without VNNI. */
#pragma once

#include "kernels/kernels.h"

/* NULL past the end. */
const struct kernels *subjects_at(int index);

/* The same for tests of attention: those, and the ones with int8 panels. */
const struct kernels *subjects_attention_at(int index);
