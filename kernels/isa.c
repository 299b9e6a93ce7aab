/* Owns the questions to the CPU. The compiler's runtime asks CPUID and XGETBV, so a feature counts
 * only where the operating system saves its registers. */
#include "kernels/isa.h"

#include <cpuid.h>

/* What clang 14 has no name for is asked by hand. */
static bool has_f16c(void)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}

/* Of the second list of structured extended features. */
static bool has_extended(int bit)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> bit & 1);
}

bool isa_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool isa_has_avx512(void)
{
    return isa_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

bool isa_has_avx512_bf16(void)
{
    return isa_has_avx512() && has_extended(5);
}

bool isa_has_avx2_vnni(void)
{
    return isa_has_avx2() && has_extended(4);
}

bool isa_has_avx512_vnni(void)
{
    return isa_has_avx512() && __builtin_cpu_supports("avx512vnni");
}
