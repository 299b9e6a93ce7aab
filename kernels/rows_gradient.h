/* Gradients of the ops on rows (kernels/kernels.h, kernels/rope.h), all float32: `d` before a name
 * is the loss's derivative by it. What is added to keeps one sequence of additions, row after row.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* rmsnorm_gradient(args): of y[r][i] = x[r][i] * s[r] * weight[i], s[r] = 1 / sqrt(mean_i x[r][i]^2
 * + eps), with m[r] = mean_i dy[r][i] * weight[i] * x[r][i], summed in float64:
 *
 *   dx[r][i]    = s[r] * (dy[r][i] * weight[i] - x[r][i] * s[r]^2 * m[r])      (+= if accumulate)
 *   dweight[i] += Sum_r dy[r][i] * x[r][i] * s[r]
 *
 * For NORM_HEADS a row is a head. dx may be dy or x where it does not accumulate. */
struct rmsnorm_gradient_args {
    float *dx;      /* [rows, width] dense, as dy and x */
    float *dweight; /* [width] */
    const float *dy;
    const float *x; /* the norm's input */
    const float *weight;
    int64_t rows, width;
    float eps;
    bool accumulate;
};

/* swiglu_gradient(args): of y = silu(gate) * up, silu(g) = g * t, t = 1 / (1 + e^-g):
 *
 *   dgate = dy * up * t * (1 + gate * (1 - t))        dup = dy * silu(gate)
 *
 * dgate and dup may lie where any of the inputs do. */
struct swiglu_gradient_args {
    float *dgate, *dup; /* [count] */
    const float *dy;
    const float *gate, *up; /* the op's inputs */
    int64_t count;
};

/* bias_gradient(dbias, dy, dy_stride, rows, width): dbias[i] += Sum_r dy[r * dy_stride + i].
 *
 * add(sum, x, count): sum[i] += x[i].
 *
 * rope_gradient(args, accumulate): the transpose of what rope_keys does with the same table (its
 * inverse, where magnitudes are 1). args->x is the gradient by the rotated rows, args->out that by
 * the rows before:
 *
 *   out[p]        = x[p] cos + x[p + half] sin                                 (+= if accumulate)
 *   out[p + half] = x[p + half] cos - x[p] sin
 *
 * In place is possible where it does not accumulate. rope_keys itself is the rotation of training's
 * queries too: float32 to float32. */
