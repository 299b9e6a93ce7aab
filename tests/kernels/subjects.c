/* Owns the list of variants under test. */
#include "tests/kernels/subjects.h"

#include "kernels/isa.h"
#include "tests/kernels/emulated.h"

static size_t emulated_scratch_bytes(const struct kernels_limits *limits)
{
    size_t attention = attention_emulated_scratch_bytes(limits);
    size_t matmul = matmul_emulated_scratch_bytes(limits);
    return attention > matmul ? attention : matmul;
}

/* The variant avx512_bf16 in plain C. */
static const struct kernels *emulated(void)
{
    static struct kernels kernels;
    kernels = *kernels_find("avx2");
    kernels.name = "avx512_bf16 emulated";
    kernels.scratch_bytes = emulated_scratch_bytes;
    attention_emulated_install(&kernels);
    matmul_emulated_install(&kernels);
    return &kernels;
}

const struct kernels *subjects_at(int index)
{
    for (int i = 0; kernels_at(i); i++)
        if (kernels_runs_here(kernels_at(i)) && index-- == 0)
            return kernels_at(i);
    return index == 0 && isa_has_avx2() ? emulated() : NULL;
}
