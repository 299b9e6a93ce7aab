/* The stand-in's table with the CUDA kernels themselves, run by the emulation of their threads
 * (tests/support/emulated_cuda). */
#pragma once

#include "tests/support/standin.h"

const struct kernels_cuda *standin_emulated_kernels(void);
