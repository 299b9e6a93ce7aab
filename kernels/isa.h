/* What this CPU, and the operating system under it, can run. */
#pragma once

#include <stdbool.h>

/* AVX2, FMA and F16C. */
bool isa_has_avx2(void);

/* AVX-512 F, BW and VL beside those, with the 512-bit registers enabled. */
bool isa_has_avx512(void);

/* AVX-512 BF16 beside those. */
bool isa_has_avx512_bf16(void);
