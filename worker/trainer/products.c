/* Owns how C of a product is cut: into rectangles of about the same size, several for each thread,
 * so that one which is held up leaves more to the others. */
#include "worker/trainer/products.h"

#include <assert.h>

enum {
    PARTS = 3,      /* for each thread, where C is large enough */
    ROWS_STEP = 12, /* whole tiles of every variant */
    COLUMNS_STEP = 32,
    /* A part copies its rows of A and its columns of B, which its multiplications must repay: of
     * parts that let a thread take part at all, and of those that only even out their work. */
    LEAST = 96,
    LEAST_TO_EVEN_OUT = 288,
};

struct job {
    const struct kernels *kernels;
    const struct product_args *args;
    char *scratch;
    int64_t rows, columns;   /* of a part */
    int64_t parts_in_column; /* parts from top to bottom */
};

static int64_t parts_of(int64_t length, int64_t part)
{
    return (length + part - 1) / part;
}

/* The least multiple of `step` that cuts `length` into at most `parts`. */
static int64_t part_length(int64_t length, int64_t parts, int64_t step)
{
    return parts_of(parts_of(length, parts), step) * step;
}

size_t products_scratch_bytes(const struct thread_pool *pool)
{
    return (size_t)thread_pool_threads(pool) * PRODUCT_SCRATCH_BYTES;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Halves the longer side of the parts as long as there are too few of them. */
static void cut(struct job *job, int threads)
{
    const struct product_args *args = job->args;
    int64_t down = 1, across = most(1, args->columns / PRODUCT_COLUMNS);
    while (threads > 1 && down * across < (int64_t)threads * PARTS) {
        int64_t rows = args->rows / down, columns = args->columns / across;
        int64_t least = down * across < threads ? LEAST : LEAST_TO_EVEN_OUT;
        if (most(rows, columns) < 2 * least)
            break;
        if (columns >= rows)
            across *= 2;
        else
            down *= 2;
    }
    job->rows = part_length(args->rows, down, ROWS_STEP);
    job->columns = part_length(args->columns, across, COLUMNS_STEP);
    job->parts_in_column = parts_of(args->rows, job->rows);
}

static void multiply_part(void *context, int thread, size_t item)
{
    const struct job *job = context;
    struct product_args part = *job->args;
    int64_t row = (int64_t)item % job->parts_in_column * job->rows;
    int64_t column = (int64_t)item / job->parts_in_column * job->columns;
    part.c += row * part.c_stride + column;
    part.a += row * part.a_row;
    part.b += column * part.b_column;
    part.rows = part.rows - row < job->rows ? part.rows - row : job->rows;
    part.columns = part.columns - column < job->columns ? part.columns - column : job->columns;
    part.scratch = job->scratch + (size_t)thread * PRODUCT_SCRATCH_BYTES;
    job->kernels->product(&part);
}

void products_run(struct thread_pool *pool, const struct kernels *kernels,
                  const struct product_args *args, void *scratch)
{
    struct job job = {.kernels = kernels, .args = args, .scratch = scratch};
    if (args->rows == 0 || args->columns == 0)
        return;
    cut(&job, thread_pool_threads(pool));
    int64_t parts = job.parts_in_column * parts_of(args->columns, job.columns);
    bool is_whole = thread_pool_run(pool, (size_t)parts, multiply_part, NULL, &job);
    assert(is_whole);
}
