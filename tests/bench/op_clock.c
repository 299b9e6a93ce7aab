/* Owns the counters of op_clock.h. */
#include "tests/bench/op_clock.h"

#include <stdatomic.h>

#include "tests/bench/peak.h"

enum op {
    PRODUCT_FORWARD,
    PRODUCT_DX,
    PRODUCT_DW,
    HEAD_FORWARD,
    HEAD_DX,
    HEAD_DW,
    ATTENTION_FORWARD,
    ATTENTION_BACKWARD,
    ATTENTION_ENDS,
    NORM,
    NORM_BACKWARD,
    ROPE,
    ROPE_BACKWARD,
    SWIGLU,
    SWIGLU_BACKWARD,
    ADD,
    BIAS_BACKWARD,
    CROSS_ENTROPY,
    SUM_OF_SQUARES,
    ADAMW,
    OPS
};

static const char *const names[OPS] = {
    "product y",      "product dx",    "product dw",        "head y",
    "head dx",        "head dw",       "attention",         "attention backward",
    "attention ends", "rmsnorm",       "rmsnorm backward",  "rope",
    "rope backward",  "swiglu",        "swiglu backward",   "add",
    "bias backward",  "cross-entropy", "norm of gradients", "adamw",
};

static struct kernels original;
static int64_t words;
static struct {
    _Atomic int64_t calls, ns, flops;
} counters[OPS];

static void count(enum op op, double start, int64_t flops)
{
    atomic_fetch_add(&counters[op].calls, 1);
    atomic_fetch_add(&counters[op].ns, (int64_t)((peak_thread_seconds() - start) * 1e9));
    atomic_fetch_add(&counters[op].flops, flops);
}

static void product(const struct product_args *args)
{
    bool is_head = args->c_stride == words || args->a_row == words || args->a_column == words;
    enum op op = args->a_row == 1 ? PRODUCT_DW : args->b_row == 1 ? PRODUCT_FORWARD : PRODUCT_DX;
    double start = peak_thread_seconds();
    original.product(args);
    count(is_head ? op + HEAD_FORWARD : op, start, 2 * args->rows * args->columns * args->depth);
}

static int64_t visible_pairs(const struct attention_gradient_tile *tile)
{
    int64_t pairs = 0;
    for (int32_t s = 0; s < tile->spans->count; s++)
        for (int64_t t = 0; t < tile->tokens; t++)
            pairs += tile->spans->list[s].end[t] - tile->spans->list[s].first[t];
    return pairs * tile->group;
}

static void attention_forward(const struct attention_gradient_tile *tile,
                              const struct attention_gradient_state *state)
{
    double start = peak_thread_seconds();
    original.attention_gradient_forward(tile, state);
    count(ATTENTION_FORWARD, start, 4 * visible_pairs(tile) * tile->head_dim);
}

static void attention_backward(const struct attention_gradient_tile *tile,
                               const struct attention_gradient_flow *flow)
{
    double start = peak_thread_seconds();
    original.attention_gradient_backward(tile, flow);
    count(ATTENTION_BACKWARD, start, 10 * visible_pairs(tile) * tile->head_dim);
}

static void attention_finish(float *acc, float *max, const float *sum, int64_t rows, int head_dim)
{
    double start = peak_thread_seconds();
    original.attention_gradient_finish(acc, max, sum, rows, head_dim);
    count(ATTENTION_ENDS, start, 0);
}

static void attention_dots(float *dot, const float *dout, const float *out, int64_t rows,
                           int head_dim)
{
    double start = peak_thread_seconds();
    original.attention_gradient_dots(dot, dout, out, rows, head_dim);
    count(ATTENTION_ENDS, start, 0);
}

static void rmsnorm(float *y, const float *x, const float *weight, int64_t rows, int64_t width,
                    float eps)
{
    double start = peak_thread_seconds();
    original.rmsnorm(y, x, weight, rows, width, eps);
    count(NORM, start, 0);
}

static void rmsnorm_gradient(const struct rmsnorm_gradient_args *args)
{
    double start = peak_thread_seconds();
    original.rmsnorm_gradient(args);
    count(NORM_BACKWARD, start, 0);
}

static void rope_keys(const struct rope_args *args)
{
    double start = peak_thread_seconds();
    original.rope_keys(args);
    count(ROPE, start, 0);
}

static void rope_gradient(const struct rope_args *args, bool accumulate)
{
    double start = peak_thread_seconds();
    original.rope_gradient(args, accumulate);
    count(ROPE_BACKWARD, start, 0);
}

static void swiglu(float *gate, const float *up, int64_t elements)
{
    double start = peak_thread_seconds();
    original.swiglu(gate, up, elements);
    count(SWIGLU, start, 0);
}

static void swiglu_gradient(const struct swiglu_gradient_args *args)
{
    double start = peak_thread_seconds();
    original.swiglu_gradient(args);
    count(SWIGLU_BACKWARD, start, 0);
}

static void add(float *sum, const float *x, int64_t elements)
{
    double start = peak_thread_seconds();
    original.add(sum, x, elements);
    count(ADD, start, 0);
}

static void bias_gradient(float *dbias, const float *dy, int64_t dy_stride, int64_t rows,
                          int64_t width)
{
    double start = peak_thread_seconds();
    original.bias_gradient(dbias, dy, dy_stride, rows, width);
    count(BIAS_BACKWARD, start, 0);
}

static double cross_entropy(const struct cross_entropy_args *args)
{
    double start = peak_thread_seconds();
    double loss = original.cross_entropy(args);
    count(CROSS_ENTROPY, start, 0);
    return loss;
}

static double sum_of_squares(const float *x, int64_t elements)
{
    double start = peak_thread_seconds();
    double sum = original.sum_of_squares(x, elements);
    count(SUM_OF_SQUARES, start, 0);
    return sum;
}

static void adamw(const struct adamw_args *args)
{
    double start = peak_thread_seconds();
    original.adamw(args);
    count(ADAMW, start, 0);
}

void op_clock_wrap(struct kernels *timed, const struct kernels *kernels, int64_t vocab)
{
    original = *kernels;
    words = vocab;
    *timed = *kernels;
    timed->product = product;
    timed->attention_gradient_forward = attention_forward;
    timed->attention_gradient_backward = attention_backward;
    timed->attention_gradient_finish = attention_finish;
    timed->attention_gradient_dots = attention_dots;
    timed->rmsnorm = rmsnorm;
    timed->rmsnorm_gradient = rmsnorm_gradient;
    timed->rope_keys = rope_keys;
    timed->rope_gradient = rope_gradient;
    timed->swiglu = swiglu;
    timed->swiglu_gradient = swiglu_gradient;
    timed->add = add;
    timed->bias_gradient = bias_gradient;
    timed->cross_entropy = cross_entropy;
    timed->sum_of_squares = sum_of_squares;
    timed->adamw = adamw;
}

const struct op_clock_row *op_clock_take(int *rows)
{
    static struct op_clock_row taken[OPS];
    *rows = 0;
    for (int op = 0; op < OPS; op++) {
        int64_t calls = atomic_exchange(&counters[op].calls, 0);
        double seconds = (double)atomic_exchange(&counters[op].ns, 0) * 1e-9;
        double gflop = (double)atomic_exchange(&counters[op].flops, 0) * 1e-9;
        if (calls > 0)
            taken[(*rows)++] = (struct op_clock_row){names[op], calls, seconds, gflop};
    }
    return taken;
}
