/* Cases of the contract that end the group: silence, circles, aborts, broken promises. */
#pragma once

#include "tests/support/ranks.h"

#define TRANSPORT_ENDINGS_SILENCE_NS INT64_C(500000000)

ranks_function transport_endings_silence;
ranks_function transport_endings_circle;
ranks_function transport_endings_abort;
ranks_function transport_endings_misfit;
ranks_function transport_endings_exhaustion;
