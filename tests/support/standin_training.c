/* Training's entries of the table of CUDA kernels, in plain C over the stand-in's memory: each as
 * its contract says it. Factors that the contract rounds to bf16 are rounded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/standin.h"
#include "tests/support/standin_stream.h"

/* The pointer member itself, as the kernel sees it. */
#define REACH(pointer) ((pointer) = standin_behind(pointer))

static const double LN2 = 0.693147180559945309417;

static float rounded(float x)
{
    return dtype_f32_from_bf16(dtype_bf16_from_f32(x));
}

static float wide(const void *values, int64_t at)
{
    return dtype_f32_from_bf16(((const uint16_t *)values)[at]);
}

/* ---- attention ---- */

/* A row of one head and what it sees through one regime. */
struct pairs {
    const struct kernels_cuda_operands *operands;
    int64_t q, k, v; /* where its query lies; where key 0 of its head and value 0 lie */
    int64_t key_stride;
    int32_t first, end;
};

static void reach_operands(struct kernels_cuda_operands *operands)
{
    REACH(operands->sight.first);
    REACH(operands->sight.end);
    REACH(operands->q);
    REACH(operands->k);
    REACH(operands->v);
}

static struct pairs pairs_of(const struct kernels_cuda_operands *o, int regime, int64_t row,
                             int head)
{
    const int64_t kv_head = head / (o->heads / o->kv_heads);
    return (struct pairs){
        .operands = o,
        .q = o->sight.query_frame[regime] * o->q_frame_stride +
             (row * o->heads + head) * o->head_dim,
        .k = o->sight.key_frame[regime] * o->k_frame_stride + kv_head * o->head_dim,
        .v = kv_head * o->head_dim,
        .key_stride = (int64_t)o->kv_heads * o->head_dim,
        .first = o->sight.first[regime * o->rows + row],
        .end = o->sight.end[regime * o->rows + row],
    };
}

static float score(const struct pairs *p, int64_t key)
{
    const struct kernels_cuda_operands *o = p->operands;
    float sum = 0;
    for (int d = 0; d < o->head_dim; d++)
        sum += wide(o->q, p->q + d) * wide(o->k, p->k + key * p->key_stride + d);
    return sum * o->scale_log2;
}

/* Over all rows and heads that are computed. */
static void for_rows(const struct kernels_cuda_operands *o,
                     void (*work)(const void *args, int64_t row, int head), const void *args)
{
    const int group = o->heads / o->kv_heads, first = o->computed.first * group;
    const int count = kernels_cuda_heads_count(o->computed, o->kv_heads) * group;
    for (int64_t row = 0; row < o->rows; row++)
        for (int head = first; head < first + count; head++)
            work(args, row, head);
}

static void train_row(const void *arguments, int64_t row, int head)
{
    const struct kernels_cuda_attention_train *args = arguments;
    const struct kernels_cuda_operands *o = &args->operands;
    float acc[ATTENTION_HEAD_DIM_MAX] = {0}, max = -INFINITY, sum = 0;
    for (int g = 0; g < o->sight.count; g++) {
        const struct pairs p = pairs_of(o, g, row, head);
        for (int64_t key = p.first; key < p.end; key++) {
            const float s = score(&p, key);
            const float top = s > max || isnan(s) ? s : max;
            const float before = max == -INFINITY ? 0 : exp2f(max - top), now = exp2f(s - top);
            max = top;
            sum = sum * before + now;
            for (int d = 0; d < o->head_dim; d++)
                acc[d] = acc[d] * before + rounded(now) * wide(o->v, p.v + key * p.key_stride + d);
        }
    }
    for (int d = 0; d < o->head_dim; d++)
        args->out[(row * o->heads + head) * o->head_dim + d] = sum == 0 ? 0 : acc[d] / sum;
    args->logsumexp[row * o->heads + head] = max + log2f(sum);
}

static bool do_attention_train(void *arguments)
{
    struct kernels_cuda_attention_train *args = arguments;
    reach_operands(&args->operands);
    REACH(args->out);
    REACH(args->logsumexp);
    for_rows(&args->operands, train_row, args);
    return true;
}

static bool do_attention_dots(void *arguments)
{
    struct kernels_cuda_attention_dots *args = arguments;
    const float *dout = REACH(args->dout), *out = REACH(args->out);
    REACH(args->dot);
    for (int64_t r = 0; r < args->rows; r++) {
        args->dot[r] = 0;
        for (int64_t d = r * args->head_dim; d < (r + 1) * args->head_dim; d++)
            args->dot[r] += dout[d] * out[d];
    }
    return true;
}

static void clear_row(const void *arguments, int64_t row, int head)
{
    const struct kernels_cuda_attention_gradient *args = arguments;
    const struct kernels_cuda_operands *o = &args->operands;
    for (int f = 0; f < o->query_frames; f++)
        memset(args->dq + f * o->q_frame_stride + (row * o->heads + head) * o->head_dim, 0,
               (size_t)o->head_dim * sizeof(float));
}

static void clear_keys(const struct kernels_cuda_attention_gradient *args)
{
    const struct kernels_cuda_operands *o = &args->operands;
    const int first = o->computed.first;
    const size_t bytes = (size_t)o->head_dim * sizeof(float);
    for (int64_t key = 0; key < o->keys; key++)
        for (int h = first; h < first + kernels_cuda_heads_count(o->computed, o->kv_heads); h++) {
            const int64_t at = (key * o->kv_heads + h) * o->head_dim;
            memset(args->dv + at, 0, bytes);
            for (int f = 0; f < o->key_frames; f++)
                memset(args->dk + f * o->k_frame_stride + at, 0, bytes);
        }
}

static void gradient_pair(const struct kernels_cuda_attention_gradient *args, const struct pairs *p,
                          int64_t state, int64_t key)
{
    const struct kernels_cuda_operands *o = p->operands;
    const float scale = (float)((double)o->scale_log2 * LN2);
    const int64_t k = p->k + key * p->key_stride, v = p->v + key * p->key_stride;
    const float weight = exp2f(score(p, key) - args->logsumexp[state]);
    float flow = 0;
    for (int d = 0; d < o->head_dim; d++)
        flow += wide(args->dout, state * o->head_dim + d) * wide(o->v, v + d);
    const float ds = rounded(weight * (flow - args->dot[state]));
    for (int d = 0; d < o->head_dim; d++) {
        args->dv[v + d] += rounded(weight) * wide(args->dout, state * o->head_dim + d);
        args->dq[p->q + d] += scale * ds * wide(o->k, k + d);
        args->dk[k + d] += scale * ds * wide(o->q, p->q + d);
    }
}

static void gradient_row(const void *arguments, int64_t row, int head)
{
    const struct kernels_cuda_attention_gradient *args = arguments;
    for (int g = 0; g < args->operands.sight.count; g++) {
        const struct pairs p = pairs_of(&args->operands, g, row, head);
        for (int64_t key = p.first; key < p.end; key++)
            gradient_pair(args, &p, row * args->operands.heads + head, key);
    }
}

static bool do_attention_gradient(void *arguments)
{
    struct kernels_cuda_attention_gradient *args = arguments;
    reach_operands(&args->operands);
    REACH(args->dout);
    REACH(args->logsumexp);
    REACH(args->dot);
    REACH(args->dq);
    REACH(args->dk);
    REACH(args->dv);
    for_rows(&args->operands, clear_row, args);
    clear_keys(args);
    for_rows(&args->operands, gradient_row, args);
    return true;
}

/* ---- rows ---- */

static bool do_rope_gradient(void *arguments)
{
    const struct kernels_cuda_rope_gradient *args = arguments;
    const float *x = standin_behind(args->x), *table = standin_behind(args->table);
    float *out = standin_behind(args->out);
    const int64_t half = args->head_dim / 2;
    for (int64_t h = 0; h < args->rows * args->heads; h++)
        for (int64_t p = 0; p < half; p++) {
            float low = 0, high = 0;
            for (int f = 0; f < args->frame_count; f++) {
                const float *from = x + f * args->frame_stride + h * args->head_dim + p;
                const float *angle =
                    table + f * args->table_stride + (h / args->heads * half + p) * 2;
                low += from[0] * angle[0] + from[half] * angle[1];
                high += from[half] * angle[0] - from[0] * angle[1];
            }
            float *to =
                out + h / args->heads * args->out_stride + h % args->heads * args->head_dim + p;
            to[0] = low;
            to[half] = high;
        }
    return true;
}

static bool do_rmsnorm_gradient(void *arguments)
{
    struct kernels_cuda_rmsnorm_gradient *args = arguments;
    REACH(args->dx);
    REACH(args->dweight);
    REACH(args->dy);
    REACH(args->x);
    REACH(args->weight);
    memset(standin_behind(args->partial), 0xff,
           (size_t)(kernels_cuda_norm_parts(args->rows) * args->width) * sizeof(float));
    for (int64_t r = 0; r < args->rows * args->heads; r++) {
        const int64_t at = r / args->heads * args->stride + r % args->heads * args->width;
        const float *dy = args->dy + at, *x = args->x + at;
        double squares = 0, along = 0;
        for (int64_t i = 0; i < args->width; i++) {
            squares += (double)x[i] * (double)x[i];
            along += (double)dy[i] * (double)args->weight[i] * (double)x[i];
        }
        const double scale = 1 / sqrt(squares / (double)args->width + (double)args->eps);
        for (int64_t i = 0; i < args->width; i++) {
            const double xi = (double)x[i], dyi = (double)dy[i];
            const double value = scale * (dyi * (double)args->weight[i] -
                                          xi * scale * scale * along / (double)args->width);
            args->dweight[i] += (float)(dyi * xi * scale);
            args->dx[at + i] = (float)value + (args->accumulate ? args->dx[at + i] : 0);
        }
    }
    return true;
}

static bool do_swiglu_gradient(void *arguments)
{
    struct kernels_cuda_swiglu_gradient *args = arguments;
    REACH(args->dgate);
    REACH(args->dup);
    REACH(args->dy);
    REACH(args->gate);
    REACH(args->up);
    for (int64_t i = 0; i < args->count; i++) {
        const float gate = args->gate[i], up = args->up[i], dy = args->dy[i];
        const float t = 1 / (1 + expf(-gate));
        args->dgate[i] = dy * up * t * (1 + gate * (1 - t));
        args->dup[i] = dy * gate * t;
    }
    return true;
}

static bool do_column_sums(void *arguments)
{
    const struct kernels_cuda_column_sums *args = arguments;
    const float *x = standin_behind(args->x);
    float *sums = standin_behind(args->sums);
    for (int64_t r = 0; r < args->rows; r++)
        for (int64_t i = 0; i < args->width; i++)
            sums[i] += x[r * args->stride + i];
    return true;
}

static bool do_embed_gradient(void *arguments)
{
    struct kernels_cuda_embed_gradient *args = arguments;
    REACH(args->dweight);
    REACH(args->dy);
    REACH(args->ids);
    REACH(args->first);
    REACH(args->order);
    for (int64_t t = 0; t < args->tokens; t++)
        for (int32_t r = args->first[t]; r < args->first[t + 1]; r++)
            for (int64_t i = 0; i < args->width; i++)
                args->dweight[args->ids[t] * args->width + i] +=
                    args->dy[args->order[r] * args->width + i];
    return true;
}

static bool do_add(void *arguments)
{
    const struct kernels_cuda_add *args = arguments;
    const float *x = standin_behind(args->x);
    float *sum = standin_behind(args->sum);
    for (int64_t i = 0; i < args->count; i++)
        sum[i] += x[i];
    return true;
}

static bool do_copy_rows(void *arguments)
{
    const struct kernels_cuda_copy_rows *args = arguments;
    const float *x = standin_behind(args->x);
    float *out = standin_behind(args->out);
    for (int64_t r = 0; r < args->rows; r++)
        memcpy(out + r * args->out_stride, x + r * args->x_stride,
               (size_t)args->width * sizeof *out);
    return true;
}

static bool do_round(void *arguments)
{
    const struct kernels_cuda_round *args = arguments;
    const float *x = standin_behind(args->x);
    uint16_t *out = standin_behind(args->out);
    for (int64_t i = 0; i < args->rows * args->width; i++) {
        const float value = x[i / args->width * args->x_stride + i % args->width];
        out[i] =
            args->operand == DTYPE_F16 ? dtype_f16_from_f32(value) : dtype_bf16_from_f32(value);
    }
    return true;
}

static void entropy_row(const struct kernels_cuda_cross_entropy *args, int64_t row)
{
    float *logits = args->logits + row * args->width;
    const int32_t target = args->targets[row];
    float max = -INFINITY;
    double sum = 0;
    args->losses[row] = 0;
    if (target < 0) {
        memset(logits, 0, (size_t)args->width * sizeof *logits);
        return;
    }
    for (int64_t i = 0; i < args->width; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int64_t i = 0; i < args->width; i++)
        sum += exp((double)(logits[i] - max));
    args->losses[row] = log(sum) - (double)(logits[target] - max);
    for (int64_t i = 0; i < args->width; i++) {
        const double p = exp((double)(logits[i] - max)) / sum;
        logits[i] = (float)((p - (i == target)) * (double)args->weight);
    }
}

static bool do_cross_entropy(void *arguments)
{
    struct kernels_cuda_cross_entropy *args = arguments;
    REACH(args->logits);
    REACH(args->losses);
    REACH(args->targets);
    for (int64_t row = 0; row < args->rows; row++)
        entropy_row(args, row);
    return true;
}

/* ---- the optimiser ---- */

static bool do_squares(void *arguments)
{
    const struct kernels_cuda_squares *args = arguments;
    const float *x = standin_behind(args->x);
    double *sums = standin_behind(args->sums);
    memset(sums, 0, (size_t)kernels_cuda_squares_sums(args->count) * sizeof *sums);
    for (int64_t i = 0; i < args->count; i++)
        sums[i / KERNELS_CUDA_SQUARES] += (double)x[i] * (double)x[i];
    return true;
}

static bool do_adamw(void *arguments)
{
    struct adamw_args *args = arguments;
    const struct adamw_factors factors = adamw_factors(args);
    const float *gradient = standin_behind(args->gradient);
    float *moment = standin_behind(args->moment), *variance = standin_behind(args->variance);
    float *weights = standin_behind(args->weights);
    for (int64_t i = 0; i < args->count; i++) {
        const float g = args->gradient_scale * gradient[i];
        moment[i] = args->beta1 * moment[i] + (1 - args->beta1) * g;
        variance[i] = args->beta2 * variance[i] + (1 - args->beta2) * (g * g);
        const float divisor = sqrtf(variance[i]) * factors.inverse_root + args->epsilon;
        weights[i] = weights[i] * factors.keep - factors.rate * (moment[i] / divisor);
    }
    return true;
}

/* ---- launches ---- */

#define LAUNCH(name, type)                                                                         \
    static int launch_##name(const struct type *args, struct CUstream_st *stream)                  \
    {                                                                                              \
        return standin_put(stream, do_##name, args, sizeof *args) != STATUS_OK;                    \
    }

LAUNCH(attention_train, kernels_cuda_attention_train)
LAUNCH(attention_dots, kernels_cuda_attention_dots)
LAUNCH(attention_gradient, kernels_cuda_attention_gradient)
LAUNCH(rope_gradient, kernels_cuda_rope_gradient)
LAUNCH(rmsnorm_gradient, kernels_cuda_rmsnorm_gradient)
LAUNCH(swiglu_gradient, kernels_cuda_swiglu_gradient)
LAUNCH(column_sums, kernels_cuda_column_sums)
LAUNCH(embed_gradient, kernels_cuda_embed_gradient)
LAUNCH(add, kernels_cuda_add)
LAUNCH(copy_rows, kernels_cuda_copy_rows)
LAUNCH(round, kernels_cuda_round)
LAUNCH(cross_entropy, kernels_cuda_cross_entropy)
LAUNCH(squares, kernels_cuda_squares)
LAUNCH(adamw, adamw_args)

void standin_training_install(struct kernels_cuda *table)
{
    table->attention_train = launch_attention_train;
    table->attention_dots = launch_attention_dots;
    table->attention_gradient = launch_attention_gradient;
    table->rope_gradient = launch_rope_gradient;
    table->rmsnorm_gradient = launch_rmsnorm_gradient;
    table->swiglu_gradient = launch_swiglu_gradient;
    table->column_sums = launch_column_sums;
    table->embed_gradient = launch_embed_gradient;
    table->add = launch_add;
    table->copy_rows = launch_copy_rows;
    table->round = launch_round;
    table->cross_entropy = launch_cross_entropy;
    table->squares = launch_squares;
    table->adamw = launch_adamw;
}
