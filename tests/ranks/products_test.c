/* Products on the threads of a rank: the bits of one call, whatever the threads and the shape. */
#include <stdlib.h>

#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"
#include "worker/trainer/products.h"

static float *numbers(struct random *random, int64_t count)
{
    float *at = malloc((size_t)count * sizeof *at);
    assert_non_null(at);
    for (int64_t i = 0; i < count; i++)
        at[i] = random_float(random);
    return at;
}

static void check_shape(struct thread_pool *pool, int64_t rows, int64_t columns, int64_t depth)
{
    struct random random = {(uint64_t)(rows + columns + depth)};
    size_t bytes = (size_t)(rows * columns) * sizeof(float);
    float *a = numbers(&random, rows * depth + 1), *b = numbers(&random, columns * depth + 1);
    struct guarded one = guarded_create(bytes, 0), cut = guarded_create(bytes, 0);
    struct guarded scratch = guarded_create(products_scratch_bytes(pool), 0xff);
    struct product_args args = {.c = one.at,
                                .c_stride = columns,
                                .a = a,
                                .a_row = 1,
                                .a_column = rows,
                                .b = b,
                                .b_row = columns,
                                .b_column = 1,
                                .rows = rows,
                                .columns = columns,
                                .depth = depth,
                                .accumulate = true,
                                .scratch = scratch.at};
    kernels_best()->product(&args);
    args.c = cut.at;
    args.scratch = NULL;
    products_run(pool, kernels_best(), &args, scratch.at);
    guarded_check(&cut);
    guarded_check(&scratch);
    assert_memory_equal(one.at, cut.at, bytes);
    guarded_destroy(&one);
    guarded_destroy(&cut);
    guarded_destroy(&scratch);
    free(a);
    free(b);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{0, 7, 3},    {7, 0, 3},      {1, 1, 1},     {5, 3000, 20},
                                        {3000, 5, 4}, {200, 300, 50}, {97, 1500, 9}, {1025, 65, 8}};
    for (int threads = 1; threads <= 5; threads++) {
        struct thread_pool *pool;
        assert_int_equal(thread_pool_create(&pool, threads, NULL, true), STATUS_OK);
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            check_shape(pool, shapes[i][0], shapes[i][1], shapes[i][2]);
        thread_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_do_not_change_a_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
