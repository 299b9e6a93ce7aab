/* The three products of a layer that learns, on a GPU by cuBLASLt: float32 sums of bf16 operands
 * against float64. Argument: standin, over the device that stands in for a GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "tests/support/random.h"
#include "tests/support/standin.h"
#include "tests/support/unit.h"
#include "worker/engine/device/cuda_find.h"

enum { EXIT_NO_GPU = 77, PATIENCE_MS = 60000, MOST = 1 << 20 };

static struct cuda_streams streams;
static char *there, *here; /* MOST bytes each, of the device and pinned */

static void settle(void)
{
    struct CUevent_st *event;
    bool done = false;
    const int64_t end_ns = clock_after_ms(PATIENCE_MS);
    assert_int_equal(streams.runtime->event_create(&event), STATUS_OK);
    assert_int_equal(streams.runtime->event_record(event, streams.compute), STATUS_OK);
    while (!done && clock_now_ns() < end_ns)
        assert_int_equal(streams.runtime->event_query(event, &done), STATUS_OK);
    assert_true(done);
    streams.runtime->event_destroy(event);
}

static void copy(void *to, const void *from)
{
    assert_int_equal(streams.runtime->copy(to, from, MOST, streams.compute), STATUS_OK);
    settle();
}

/* What lies where, in bytes from the beginning of both. */
struct places {
    size_t x, w, y;
};

static double at(const void *operand, bool transposed, int64_t row, int64_t k, int64_t rows,
                 int64_t depth)
{
    const uint16_t *values = operand;
    return (double)dtype_f32_from_bf16(values[transposed ? k * rows + row : row * depth + k]);
}

static void expect_product(const struct cuda_product *asked, const struct places *places,
                           const float *before)
{
    const char *x = here + places->x, *w = here + places->w;
    const float *y = (const float *)(here + places->y);
    for (int64_t r = 0; r < asked->rows; r++)
        for (int64_t o = 0; o < asked->y_stride; o++) {
            const float was = before[r * asked->y_stride + o];
            double want = asked->accumulate ? (double)was : 0, size = fabs(want);
            for (int64_t k = 0; o < asked->out && k < asked->in; k++) {
                const double part = at(x, asked->x_transposed, r, k, asked->rows, asked->in) *
                                    at(w, asked->w_transposed, o, k, asked->out, asked->in);
                want += part;
                size += fabs(part);
            }
            const double got = (double)y[r * asked->y_stride + o];
            if (o >= asked->out)
                assert_true(y[r * asked->y_stride + o] == was);
            else if (!(fabs(got - want) <= (double)(asked->in + 2) * 0x1p-23 * size))
                fail_msg("y[%lld][%lld] is %.9g, not %.9g", (long long)r, (long long)o, got, want);
        }
}

static void check(struct cuda_product product, struct random *random)
{
    const size_t third = MOST / 4;
    const struct places places = {0, third, 2 * third};
    float *before = malloc(third);
    assert_non_null(before);
    for (size_t i = 0; i < third / 2; i++) {
        ((uint16_t *)here)[i] = dtype_bf16_from_f32(random_normal(random));
        ((uint16_t *)(here + places.w))[i] = dtype_bf16_from_f32(random_normal(random));
    }
    for (size_t i = 0; i < third / 4; i++)
        ((float *)(here + places.y))[i] = before[i] = random_normal(random);
    copy(there, here);
    product.x = there + places.x;
    product.w = there + places.w;
    product.y = (float *)(there + places.y);
    product.operand = DTYPE_BF16;
    assert_int_equal(
        streams.runtime->allocate(&product.workspace, streams.runtime->workspace_bytes), STATUS_OK);
    product.workspace_bytes = streams.runtime->workspace_bytes;
    assert_int_equal(streams.runtime->product(&product, streams.compute), STATUS_OK);
    copy(here, there);
    streams.runtime->release(product.workspace);
    expect_product(&product, &places, before);
    free(before);
}

static void a_layer_learns(void **unused)
{
    (void)unused;
    static const int64_t shapes[][3] = {{24, 32, 40}, {136, 96, 64}, {8, 200, 72}};
    struct random random = {20261201};
    for (int s = 0; s < 3; s++) {
        const int64_t tokens = shapes[s][0], in = shapes[s][1], out = shapes[s][2];
        check((struct cuda_product){.rows = tokens, .out = out, .in = in, .y_stride = out + 8},
              &random);
        check((struct cuda_product){.rows = tokens,
                                    .out = in,
                                    .in = out,
                                    .y_stride = in,
                                    .w_transposed = true,
                                    .accumulate = s == 1},
              &random);
        check((struct cuda_product){.rows = out,
                                    .out = in,
                                    .in = tokens,
                                    .y_stride = in,
                                    .x_transposed = true,
                                    .w_transposed = true,
                                    .accumulate = true},
              &random);
    }
}

static enum status open_device(bool standin)
{
    const struct cuda_runtime *runtime = standin_runtime();
    const struct kernels_cuda *kernels = standin_kernels();
    void *memory, *pinned;
    if (!standin)
        TRY(cuda_find(&runtime, &kernels));
    TRY(cuda_streams_open(&streams, runtime, kernels, 0, 1, false));
    TRY(runtime->allocate(&memory, MOST));
    TRY(runtime->host_allocate(&pinned, MOST));
    there = memory;
    here = pinned;
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_layer_learns)};
    const bool standin = argc > 1 && strcmp(argv[1], "standin") == 0;
    if (open_device(standin) != STATUS_OK) {
        printf("no GPU: nothing was run (%s)\n", status_message());
        return standin ? 1 : EXIT_NO_GPU;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    streams.runtime->release(there);
    streams.runtime->host_release(here);
    cuda_streams_close(&streams);
    return failed;
}
