/* Owns the questions to the CPU. The compiler's runtime asks CPUID and XGETBV, so a feature counts
 * only where the operating system saves its registers. */
#include "kernels/isa.h"

bool isa_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
}

bool isa_has_avx512_bf16(void)
{
    return isa_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16");
}
