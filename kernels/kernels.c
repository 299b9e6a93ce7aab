/* Owns the table of variants. It is filled once, by whichever thread asks first, and never written
 * again. */
#include "kernels/kernels.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "kernels/isa.h"
#include "kernels/variants.h"

struct variant {
    const char *name;
    enum dtype operand, cache;
    bool (*runs_here)(void);
    void (*install)(struct kernels *kernels);
    void (*install_int8)(struct kernels *kernels); /* over what is installed */
};

/* The larger of two needs, in whole cache lines. */
static size_t scratch(size_t attention, size_t matmul)
{
    size_t bytes = attention > matmul ? attention : matmul;
    return (bytes + 63) / 64 * 64;
}

static bool runs_anywhere(void)
{
    return true;
}

static size_t reference_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_ref_scratch_bytes(limits), matmul_ref_scratch_bytes(limits));
}

static void reference_install(struct kernels *kernels)
{
    kernels->scratch_bytes = reference_scratch_bytes;
    attention_ref_install(kernels);
    matmul_ref_install(kernels);
    product_ref_install(kernels);
    rope_ref_install(kernels);
    rmsnorm_ref_install(kernels);
    swiglu_ref_install(kernels);
    logsumexp_ref_install(kernels);
    finite_ref_install(kernels);
    largest_ref_install(kernels);
    attention_gradient_ref_install(kernels);
    rows_gradient_ref_install(kernels);
    cross_entropy_ref_install(kernels);
    adamw_ref_install(kernels);
}

static size_t reference_int8_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_int8_ref_scratch_bytes(limits), matmul_ref_scratch_bytes(limits));
}

static void reference_int8_install(struct kernels *kernels)
{
    kernels->scratch_bytes = reference_int8_scratch_bytes;
    kernels->rope_queries = kernels->rope_keys;
    attention_int8_ref_install(kernels);
}

/* The kernels of prefill and of decode. */
static size_t attention_both_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_integers_avx2_scratch_bytes(limits),
                   attention_avx2_scratch_bytes(limits));
}

static size_t avx2_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_both_avx2_scratch_bytes(limits), matmul_avx2_scratch_bytes(limits));
}

static void avx2_install(struct kernels *kernels)
{
    kernels->scratch_bytes = avx2_scratch_bytes;
    attention_avx2_install(kernels);
    attention_integers_avx2_install(kernels);
    matmul_avx2_install(kernels);
    if (isa_has_avx2_vnni()) {
        kernels->matmul_prefill = matmul_prefill_avx2_vnni;
        kernels->matmul_decode = matmul_decode_avx2_vnni;
    }
    product_avx2_install(kernels);
    rope_avx2_install(kernels);
    rmsnorm_avx2_install(kernels);
    swiglu_avx2_install(kernels);
    finite_avx2_install(kernels);
    largest_avx2_install(kernels);
    attention_gradient_avx2_install(kernels);
    rows_gradient_avx2_install(kernels);
    cross_entropy_avx2_install(kernels);
    adamw_avx2_install(kernels);
}

static size_t avx2_int8_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_int8_avx2_scratch_bytes(limits), matmul_avx2_scratch_bytes(limits));
}

static void avx2_int8_install(struct kernels *kernels)
{
    reference_int8_install(kernels);
    kernels->scratch_bytes = avx2_int8_scratch_bytes;
    attention_int8_avx2_install(kernels);
}

static size_t avx512_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_avx512_scratch_bytes(limits), matmul_avx512_scratch_bytes(limits));
}

static void avx512_install(struct kernels *kernels)
{
    kernels->scratch_bytes = avx512_scratch_bytes;
    attention_avx512_install(kernels);
    matmul_avx512_install(kernels);
    attention_gradient_avx512_install(kernels);
    if (isa_has_avx512_vnni()) {
        kernels->matmul_prefill = matmul_prefill_avx512_vnni;
        kernels->matmul_decode = matmul_decode_avx512_vnni;
    }
    product_avx512_install(kernels);
}

/* Whichever of the two this CPU runs. */
static size_t attention_int8_avx512_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_int8_avx2_scratch_bytes(limits),
                   attention_int8_avx512_vnni_scratch_bytes(limits));
}

static size_t avx512_int8_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_int8_avx512_scratch_bytes(limits),
                   matmul_avx512_scratch_bytes(limits));
}

static void avx512_int8_install(struct kernels *kernels)
{
    avx2_int8_install(kernels);
    kernels->scratch_bytes = avx512_int8_scratch_bytes;
    if (isa_has_avx512_vnni())
        attention_int8_avx512_vnni_install(kernels);
}

static size_t avx512_bf16_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_avx512_bf16_scratch_bytes(limits),
                   matmul_avx512_bf16_scratch_bytes(limits));
}

static void avx512_bf16_install(struct kernels *kernels)
{
    kernels->scratch_bytes = avx512_bf16_scratch_bytes;
    attention_avx512_bf16_install(kernels);
    matmul_avx512_bf16_install(kernels);
    product_avx512_bf16_install(kernels);
}

static size_t avx512_bf16_int8_scratch_bytes(const struct kernels_limits *limits)
{
    return scratch(attention_int8_avx512_scratch_bytes(limits),
                   matmul_avx512_bf16_scratch_bytes(limits));
}

static void avx512_bf16_int8_install(struct kernels *kernels)
{
    avx512_int8_install(kernels);
    kernels->scratch_bytes = avx512_bf16_int8_scratch_bytes;
}

/* Slowest first: each starts as a copy of the one before it. */
static const struct variant variants[] = {
    {"reference", DTYPE_F32, DTYPE_F32, runs_anywhere, reference_install, reference_int8_install},
    {"avx2", DTYPE_BF16, DTYPE_BF16, isa_has_avx2, avx2_install, avx2_int8_install},
    {"avx512", DTYPE_BF16, DTYPE_BF16, isa_has_avx512, avx512_install, avx512_int8_install},
    {"avx512_bf16", DTYPE_BF16, DTYPE_BF16, isa_has_avx512_bf16, avx512_bf16_install,
     avx512_bf16_int8_install},
};

enum { VARIANTS = sizeof variants / sizeof variants[0] };

static struct kernels table[VARIANTS];
static struct kernels int8_table[VARIANTS];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* A variant that cannot run here is described but keeps its predecessor's functions: even its
 * install function is compiled to instructions that this CPU may lack. */
static void fill_table(void)
{
    for (int i = 0; i < VARIANTS; i++) {
        if (i > 0)
            table[i] = table[i - 1];
        table[i].name = variants[i].name;
        table[i].operand = variants[i].operand;
        table[i].cache = variants[i].cache;
        if (variants[i].runs_here())
            variants[i].install(&table[i]);
        int8_table[i] = table[i];
        int8_table[i].operand = DTYPE_F32;
        int8_table[i].cache = DTYPE_INT8;
        if (variants[i].runs_here())
            variants[i].install_int8(&int8_table[i]);
    }
}

const struct kernels *kernels_at(int index)
{
    pthread_once(&table_once, fill_table);
    return index >= 0 && index < VARIANTS ? &table[index] : NULL;
}

const struct kernels *kernels_int8(const struct kernels *kernels)
{
    ptrdiff_t index = kernels - table;
    assert(index >= 0 && index < VARIANTS);
    return &int8_table[index];
}

const struct kernels *kernels_find(const char *name)
{
    for (int i = 0; i < VARIANTS; i++)
        if (strcmp(variants[i].name, name) == 0)
            return kernels_at(i);
    return NULL;
}

bool kernels_runs_here(const struct kernels *kernels)
{
    const struct kernels *named = kernels_find(kernels->name);
    assert(named);
    return variants[named - table].runs_here();
}

const struct kernels *kernels_best(void)
{
    int best = VARIANTS - 1;
    while (!variants[best].runs_here())
        best--;
    return kernels_at(best);
}
