/* What a spinning core says to its neighbour. */
#pragma once

#if defined(__x86_64__)
static inline void cpu_pause(void)
{
    __builtin_ia32_pause();
}
#else
static inline void cpu_pause(void)
{
    __asm__ volatile("" ::: "memory");
}
#endif
