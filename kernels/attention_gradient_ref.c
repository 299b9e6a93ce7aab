/* Attention of training, plainly: pair by pair, the scores of a row at a time in the scratch. */
#include <math.h>

#include "kernels/variants.h"

static const float LN2 = 0.693147180559945309417f;

/* One row through one regime: a token and a head of the group, and the keys that it sees. */
struct row {
    const float *q;
    const float *k; /* of the tile's first key, in the regime's frame */
    int32_t first, end;
};

static struct row row_of(const struct attention_gradient_tile *tile,
                         const struct attention_spans_regime *span, int64_t token, int head)
{
    return (struct row){
        .q = tile->q + span->query_frame * tile->q_frame_stride + token * tile->q_stride +
             (int64_t)head * tile->head_dim,
        .k = tile->k + span->key_frame * tile->k_frame_stride,
        .first = span->first[token],
        .end = span->end[token],
    };
}

static float dot_of(const float *a, const float *b, int count)
{
    float sum = 0;
    for (int d = 0; d < count; d++)
        sum += a[d] * b[d];
    return sum;
}

static void add_scaled(float *sum, float factor, const float *x, int count)
{
    for (int d = 0; d < count; d++)
        sum[d] += factor * x[d];
}

static void forward_row(const struct attention_gradient_tile *tile, const struct row *row,
                        float *acc, float *max, float *sum)
{
    float *scores = tile->scratch;
    float top = *max;
    for (int32_t j = row->first; j < row->end; j++) {
        scores[j] = tile->scale_log2 * dot_of(row->q, row->k + j * tile->k_stride, tile->head_dim);
        top = scores[j] > top ? scores[j] : top;
    }
    const float before = *max > -INFINITY ? exp2f(*max - top) : 0;
    *max = top;
    *sum *= before;
    for (int d = 0; d < tile->head_dim; d++)
        acc[d] *= before;
    for (int32_t j = row->first; j < row->end; j++) {
        const float p = exp2f(scores[j] - top);
        *sum += p;
        add_scaled(acc, p, tile->v + j * tile->v_stride, tile->head_dim);
    }
}

static void forward(const struct attention_gradient_tile *tile,
                    const struct attention_gradient_state *state)
{
    for (int32_t s = 0; s < tile->spans->count; s++)
        for (int64_t t = 0; t < tile->tokens; t++)
            for (int h = 0; h < tile->group; h++) {
                const struct row row = row_of(tile, &tile->spans->list[s], t, h);
                if (row.first < row.end)
                    forward_row(tile, &row,
                                state->acc + t * state->acc_stride + (int64_t)h * tile->head_dim,
                                state->max + t * state->row_stride + h,
                                state->sum + t * state->row_stride + h);
            }
}

struct row_flow {
    const float *dout;
    float logsumexp, dot;
    float *dq, *dk, *dv; /* dk, dv of the tile's first key */
};

static void backward_row(const struct attention_gradient_tile *tile, const struct row *row,
                         const struct row_flow *flow)
{
    const int width = tile->head_dim;
    const float scale = tile->scale_log2 * LN2;
    for (int32_t j = row->first; j < row->end; j++) {
        const float *k = row->k + j * tile->k_stride, *v = tile->v + j * tile->v_stride;
        const float p = exp2f(tile->scale_log2 * dot_of(row->q, k, width) - flow->logsumexp);
        const float ds = p * (dot_of(flow->dout, v, width) - flow->dot);
        add_scaled(flow->dv + j * tile->v_stride, p, flow->dout, width);
        add_scaled(flow->dq, scale * ds, k, width);
        add_scaled(flow->dk + j * tile->k_stride, scale * ds, row->q, width);
    }
}

static void backward(const struct attention_gradient_tile *tile,
                     const struct attention_gradient_flow *flow)
{
    for (int32_t s = 0; s < tile->spans->count; s++)
        for (int64_t t = 0; t < tile->tokens; t++)
            for (int h = 0; h < tile->group; h++) {
                const struct attention_spans_regime *span = &tile->spans->list[s];
                const struct row row = row_of(tile, span, t, h);
                const struct row_flow one = {
                    .dout = flow->dout + t * flow->dout_stride + (int64_t)h * tile->head_dim,
                    .logsumexp = flow->logsumexp[t * flow->row_stride + h],
                    .dot = flow->dot[t * flow->row_stride + h],
                    .dq = flow->dq + (row.q - tile->q),
                    .dk = flow->dk + (row.k - tile->k),
                    .dv = flow->dv,
                };
                backward_row(tile, &row, &one);
            }
}

static void finish(float *acc, float *max, const float *sum, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int d = 0; d < head_dim; d++)
            acc[r * head_dim + d] = sum[r] == 0 ? 0 : acc[r * head_dim + d] / sum[r];
        max[r] += log2f(sum[r]);
    }
}

static void dots(float *dot, const float *dout, const float *out, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int d = 0; d < head_dim; d++)
            sum += (double)dout[r * head_dim + d] * (double)out[r * head_dim + d];
        dot[r] = (float)sum;
    }
}

void attention_gradient_ref_install(struct kernels *kernels)
{
    kernels->attention_gradient_forward = forward;
    kernels->attention_gradient_backward = backward;
    kernels->attention_gradient_finish = finish;
    kernels->attention_gradient_dots = dots;
}
