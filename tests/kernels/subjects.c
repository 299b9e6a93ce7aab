/* Owns the list of variants under test. */
#include "tests/kernels/subjects.h"

#include "kernels/isa.h"
#include "kernels/variants.h"
#include "tests/kernels/emulated.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t avx512_scratch_bytes(const struct kernels_limits *limits)
{
    return larger(attention_avx512_emulated_scratch_bytes(limits),
                  matmul_avx512_emulated_scratch_bytes(limits));
}

static size_t avx512_bf16_scratch_bytes(const struct kernels_limits *limits)
{
    return larger(attention_avx512_bf16_emulated_scratch_bytes(limits),
                  matmul_avx512_bf16_emulated_scratch_bytes(limits));
}

/* The AVX-512 variants in plain C, each over the one before it, as kernels.c builds its table. */
static const struct kernels *emulated(int index)
{
    static struct kernels kernels[2];
    kernels[0] = *kernels_find("avx2");
    kernels[0].name = "avx512 emulated";
    kernels[0].scratch_bytes = avx512_scratch_bytes;
    attention_avx512_emulated_install(&kernels[0]);
    attention_gradient_avx512_emulated_install(&kernels[0]);
    matmul_avx512_emulated_install(&kernels[0]);
    product_avx512_emulated_install(&kernels[0]);
    kernels[1] = kernels[0];
    kernels[1].name = "avx512_bf16 emulated";
    kernels[1].scratch_bytes = avx512_bf16_scratch_bytes;
    attention_avx512_bf16_emulated_install(&kernels[1]);
    matmul_avx512_bf16_emulated_install(&kernels[1]);
    product_avx512_bf16_emulated_install(&kernels[1]);
    return &kernels[index];
}

/* The integer products of CPUs that add up products in a second instruction, where this one has the
 * single one. */
static const struct kernels *without_vnni(int index)
{
    static struct kernels kernels[2];
    int count = 0;
    if (isa_has_avx2_vnni()) {
        kernels[count] = *kernels_find("avx2");
        kernels[count].name = "avx2 without VNNI";
        kernels[count].matmul_prefill = matmul_prefill_avx2;
        kernels[count++].matmul_decode = matmul_decode_avx2;
    }
    if (isa_has_avx512_vnni()) {
        kernels[count] = *kernels_find("avx512");
        kernels[count].name = "avx512 without VNNI";
        kernels[count].matmul_prefill = matmul_prefill_avx512;
        kernels[count++].matmul_decode = matmul_decode_avx512;
    }
    return index < count ? &kernels[index] : NULL;
}

const struct kernels *subjects_at(int index)
{
    for (int i = 0; kernels_at(i); i++)
        if (kernels_runs_here(kernels_at(i)) && index-- == 0)
            return kernels_at(i);
    if (!isa_has_avx2())
        return NULL;
    return index < 2 ? emulated(index) : without_vnni(index - 2);
}

const struct kernels *subjects_attention_at(int index)
{
    for (int i = 0; kernels_at(i); i++)
        if (kernels_runs_here(kernels_at(i)) && index-- == 0)
            return kernels_int8(kernels_at(i));
    return subjects_at(index);
}
