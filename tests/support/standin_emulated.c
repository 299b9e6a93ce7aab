/* The stand-in with the CUDA kernels themselves, their threads emulated: a piece of work hands the
 * kernel's own launcher what lies behind its addresses. The emulation does one launch at a time. */
#include "tests/support/standin_emulated.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/standin_stream.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The pointer member itself, as the kernel sees it. */
#define REACH(pointer) ((pointer) = standin_behind(pointer))

static void expect_launched(int code, const char *kernel)
{
    if (code == 0)
        return;
    fprintf(stderr, "the launcher of %s refuses its arguments: CUDA error %d\n", kernel, code);
    abort();
}

/* do_NAME: the launch with its pointers reached; launch_NAME: puts it on the stream. */
#define KERNEL(name, type, reach)                                                                  \
    static bool do_##name(void *arguments)                                                         \
    {                                                                                              \
        struct type *args = arguments;                                                             \
        reach;                                                                                     \
        pthread_mutex_lock(&lock);                                                                 \
        expect_launched(kernels_cuda_find()->name(args, NULL), #name);                             \
        pthread_mutex_unlock(&lock);                                                               \
        return true;                                                                               \
    }                                                                                              \
    static int launch_##name(const struct type *args, struct CUstream_st *stream)                  \
    {                                                                                              \
        return standin_put(stream, do_##name, args, sizeof *args) != STATUS_OK;                    \
    }

KERNEL(embed, kernels_cuda_embed, (REACH(args->hidden), REACH(args->matrix.rows), REACH(args->ids)))
KERNEL(rmsnorm, kernels_cuda_rmsnorm,
       (REACH(args->out), REACH(args->hidden), REACH(args->add), REACH(args->weight)))
KERNEL(norm_heads, kernels_cuda_norm_heads,
       (REACH(args->x), REACH(args->weights[0]), REACH(args->weights[1])))
KERNEL(rope_table, kernels_cuda_rope_table, (REACH(args->table), REACH(args->indices)))
KERNEL(rope_queries, kernels_cuda_rope_queries,
       (REACH(args->out), REACH(args->q), REACH(args->table)))
KERNEL(rope_store, kernels_cuda_rope_store,
       (REACH(args->cache), REACH(args->sink_cache), REACH(args->records), REACH(args->indices),
        REACH(args->k), REACH(args->v), REACH(args->table)))
KERNEL(attention_combine, kernels_cuda_combine,
       (REACH(args->states), REACH(args->state), REACH(args->out)))
KERNEL(attention_finish, kernels_cuda_finish,
       (REACH(args->out), REACH(args->acc), REACH(args->sum)))
KERNEL(swiglu, kernels_cuda_swiglu, (REACH(args->out), REACH(args->gate), REACH(args->up)))
KERNEL(dequantize, kernels_cuda_dequantize, (REACH(args->out), REACH(args->matrix.rows)))
KERNEL(logits, kernels_cuda_logits, (REACH(args->out), REACH(args->logits), REACH(args->ids)))
KERNEL(survey, kernels_cuda_survey, (REACH(args->out), REACH(args->work), REACH(args->logits)))

static void reach_matmul(struct kernels_cuda_matmul *args)
{
    REACH(args->y);
    REACH(args->x);
    for (int m = 0; m < args->matrix_count; m++)
        REACH(args->matrices[m].rows);
}

KERNEL(matmul_decode, kernels_cuda_matmul, reach_matmul(args))

static void reach_bias(struct kernels_cuda_bias *args)
{
    REACH(args->y);
    for (int v = 0; v < args->vector_count; v++)
        REACH(args->vectors[v]);
}

KERNEL(bias, kernels_cuda_bias, reach_bias(args))

static void reach_operands(struct kernels_cuda_operands *operands)
{
    REACH(operands->sight.first);
    REACH(operands->sight.end);
    REACH(operands->q);
    REACH(operands->k);
    REACH(operands->v);
}

KERNEL(attention_train, kernels_cuda_attention_train,
       (reach_operands(&args->operands), REACH(args->out), REACH(args->logsumexp)))
KERNEL(attention_dots, kernels_cuda_attention_dots,
       (REACH(args->dot), REACH(args->dout), REACH(args->out)))
KERNEL(attention_gradient, kernels_cuda_attention_gradient,
       (reach_operands(&args->operands), REACH(args->dout), REACH(args->logsumexp),
        REACH(args->dot), REACH(args->dq), REACH(args->dk), REACH(args->dv)))
KERNEL(rope_gradient, kernels_cuda_rope_gradient,
       (REACH(args->out), REACH(args->x), REACH(args->table)))
KERNEL(rmsnorm_gradient, kernels_cuda_rmsnorm_gradient,
       (REACH(args->dx), REACH(args->dweight), REACH(args->partial), REACH(args->dy),
        REACH(args->x), REACH(args->weight)))
KERNEL(swiglu_gradient, kernels_cuda_swiglu_gradient,
       (REACH(args->dgate), REACH(args->dup), REACH(args->dy), REACH(args->gate), REACH(args->up)))
KERNEL(column_sums, kernels_cuda_column_sums, (REACH(args->sums), REACH(args->x)))
KERNEL(embed_gradient, kernels_cuda_embed_gradient,
       (REACH(args->dweight), REACH(args->dy), REACH(args->ids), REACH(args->first),
        REACH(args->order)))
KERNEL(add, kernels_cuda_add, (REACH(args->sum), REACH(args->x)))
KERNEL(copy_rows, kernels_cuda_copy_rows, (REACH(args->out), REACH(args->x)))
KERNEL(round, kernels_cuda_round, (REACH(args->out), REACH(args->x)))
KERNEL(cross_entropy, kernels_cuda_cross_entropy,
       (REACH(args->logits), REACH(args->losses), REACH(args->targets)))
KERNEL(squares, kernels_cuda_squares, (REACH(args->sums), REACH(args->x)))
KERNEL(adamw, adamw_args,
       (REACH(args->weights), REACH(args->moment), REACH(args->variance), REACH(args->gradient)))

struct prefill_piece {
    struct kernels_cuda_prefill args;
    struct regimes regimes;
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    struct attention_span spans[ATTENTION_SPANS_MAX];
};

static bool do_prefill(void *arguments)
{
    struct prefill_piece *piece = arguments;
    struct kernels_cuda_prefill *args = &piece->args;
    args->regimes = &piece->regimes;
    args->extents = piece->extents;
    args->spans = piece->spans;
    for (int r = 0; r < args->extent_count; r++)
        REACH(piece->extents[r].records);
    REACH(args->queries);
    REACH(args->acc);
    REACH(args->max);
    REACH(args->sum);
    REACH(args->out);
    pthread_mutex_lock(&lock);
    expect_launched(kernels_cuda_find()->attention_prefill(args, NULL), "attention_prefill");
    pthread_mutex_unlock(&lock);
    return true;
}

static int launch_prefill(const struct kernels_cuda_prefill *args, struct CUstream_st *stream)
{
    struct prefill_piece piece = {.args = *args, .regimes = *args->regimes};
    memcpy(piece.extents, args->extents, (size_t)args->extent_count * sizeof *args->extents);
    memcpy(piece.spans, args->spans, (size_t)args->span_count * sizeof *args->spans);
    return standin_put(stream, do_prefill, &piece, sizeof piece) != STATUS_OK;
}

struct decode_piece {
    struct kernels_cuda_decode args;
    struct regimes regimes;
};

static bool do_decode(void *arguments)
{
    struct decode_piece *piece = arguments;
    struct kernels_cuda_decode *args = &piece->args;
    args->regimes = &piece->regimes;
    for (int b = 0; b < KERNELS_CUDA_BASES; b++)
        REACH(args->bases[b]);
    REACH(args->extents);
    REACH(args->split_first);
    REACH(args->index);
    REACH(args->queries);
    REACH(args->states);
    pthread_mutex_lock(&lock);
    expect_launched(kernels_cuda_find()->attention_decode(args, NULL), "attention_decode");
    pthread_mutex_unlock(&lock);
    return true;
}

static int launch_decode(const struct kernels_cuda_decode *args, struct CUstream_st *stream)
{
    const struct decode_piece piece = {*args, *args->regimes};
    return standin_put(stream, do_decode, &piece, sizeof piece) != STATUS_OK;
}

const struct kernels_cuda *standin_emulated_kernels(void)
{
    static const struct kernels_cuda table = {
        .embed = launch_embed,
        .rmsnorm = launch_rmsnorm,
        .norm_heads = launch_norm_heads,
        .bias = launch_bias,
        .rope_table = launch_rope_table,
        .rope_queries = launch_rope_queries,
        .rope_store = launch_rope_store,
        .attention_prefill = launch_prefill,
        .attention_decode = launch_decode,
        .attention_combine = launch_attention_combine,
        .attention_finish = launch_attention_finish,
        .swiglu = launch_swiglu,
        .dequantize = launch_dequantize,
        .matmul_decode = launch_matmul_decode,
        .logits = launch_logits,
        .survey = launch_survey,
        .attention_train = launch_attention_train,
        .attention_dots = launch_attention_dots,
        .attention_gradient = launch_attention_gradient,
        .rope_gradient = launch_rope_gradient,
        .rmsnorm_gradient = launch_rmsnorm_gradient,
        .swiglu_gradient = launch_swiglu_gradient,
        .column_sums = launch_column_sums,
        .embed_gradient = launch_embed_gradient,
        .add = launch_add,
        .copy_rows = launch_copy_rows,
        .round = launch_round,
        .cross_entropy = launch_cross_entropy,
        .squares = launch_squares,
        .adamw = launch_adamw,
    };
    return &table;
}
