/* Cases of the contract about sums over ranks (transport_reduce.h). */
#pragma once

#include "tests/support/ranks.h"

ranks_function transport_sums_scatter;
ranks_function transport_sums_everywhere;
ranks_function transport_sums_counters;
