/* What this CPU, and the operating system under it, can run. */
#pragma once

#include <stdbool.h>

/* AVX2, FMA and F16C. */
bool isa_has_avx2(void);

/* AVX-512 F, BW and VL beside those, with the 512-bit registers enabled. */
bool isa_has_avx512(void);

/* AVX-512 BF16 beside those. */
bool isa_has_avx512_bf16(void);

/* Products of 16-bit pairs that are added up in the same instruction, in 256 bits: AVX-VNNI, which
 * CPUs without AVX-512 have too. */
bool isa_has_avx2_vnni(void);

/* The same in 512 bits: AVX-512 VNNI. */
bool isa_has_avx512_vnni(void);
