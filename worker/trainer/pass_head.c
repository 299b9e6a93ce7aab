/* Owns nothing: from the last layer's output to the loss, and back. Logits exist for PASS_HEAD_ROWS
 * rows at a time, and not at all for rows whose next token does not count. */
#include "worker/trainer/pass_parts.h"

#include <string.h>

struct entropy_job {
    const struct pass *pass;
    int64_t row;
    float scale;
};

/* One row of logits. */
static void entropy_of_row(void *context, int thread, size_t item)
{
    const struct entropy_job *job = context;
    const struct pass *pass = job->pass;
    const int64_t vocab = pass->options.spec->vocab;
    (void)thread;
    pass->losses[item] = pass->options.kernels->cross_entropy(&(struct cross_entropy_args){
        .logits = pass->logits + (int64_t)item * vocab,
        .targets = pass->targets + job->row + (int64_t)item,
        .rows = 1,
        .width = vocab,
        .weight = job->scale,
    });
}

static void make_logits(const struct pass *pass, float *logits, int64_t row, int64_t count)
{
    const int64_t hidden = pass->options.spec->hidden, vocab = pass->options.spec->vocab;
    pass_multiply(pass, (struct product_args){
                            .c = logits,
                            .c_stride = vocab,
                            .a = pass->normed + row * hidden,
                            .a_row = hidden,
                            .a_column = 1,
                            .b = pass_weight_of(pass, MODEL_OUTPUT, 0),
                            .b_row = 1,
                            .b_column = hidden,
                            .rows = count,
                            .columns = vocab,
                            .depth = hidden,
                        });
}

/* Of a block, whose logits have become their gradients. */
static void block_back(const struct pass *pass, float *gradients, int64_t row, int64_t count)
{
    const int64_t hidden = pass->options.spec->hidden, vocab = pass->options.spec->vocab;
    pass_multiply(pass, (struct product_args){
                            .c = pass->normed_gradient + row * hidden,
                            .c_stride = hidden,
                            .a = pass->logits,
                            .a_row = vocab,
                            .a_column = 1,
                            .b = pass_weight_of(pass, MODEL_OUTPUT, 0),
                            .b_row = hidden,
                            .b_column = 1,
                            .rows = count,
                            .columns = hidden,
                            .depth = vocab,
                        });
    pass_multiply(pass, (struct product_args){
                            .c = pass_weight(pass, gradients, MODEL_OUTPUT, 0),
                            .c_stride = hidden,
                            .a = pass->logits,
                            .a_row = 1,
                            .a_column = vocab,
                            .b = pass->normed + row * hidden,
                            .b_row = hidden,
                            .b_column = 1,
                            .rows = vocab,
                            .columns = hidden,
                            .depth = count,
                            .accumulate = true,
                        });
}

void pass_find_targets(struct pass *pass)
{
    const struct sample *sample = &pass->sample;
    for (int64_t r = 0; r < pass->rows; r++) {
        const int64_t next = pass->index[r] + 1;
        const bool counts = next < sample->count && sample->counts[next];
        pass->targets[r] = counts ? sample->ids[next] : -1;
    }
}

bool pass_any_counts(const struct pass *pass, int64_t row, int64_t count)
{
    for (int64_t r = row; r < row + count; r++)
        if (pass->targets[r] >= 0)
            return true;
    return false;
}

double pass_head(struct pass *pass, float *gradients, float scale)
{
    const int64_t hidden = pass->options.spec->hidden;
    double loss = 0;
    pass_find_targets(pass);
    for (int64_t row = 0; row < pass->rows; row += PASS_HEAD_ROWS) {
        const int64_t left = pass->rows - row;
        const int64_t count = left < PASS_HEAD_ROWS ? left : PASS_HEAD_ROWS;
        if (!pass_any_counts(pass, row, count)) {
            memset(pass->normed_gradient + row * hidden, 0,
                   (size_t)(count * hidden) * sizeof(float));
            continue;
        }
        struct entropy_job job = {pass, row, scale};
        make_logits(pass, pass->logits, row, count);
        thread_pool_run(pass->options.pool, (size_t)count, entropy_of_row, NULL, &job);
        for (int64_t r = 0; r < count; r++)
            loss += pass->losses[r];
        block_back(pass, gradients, row, count);
        transport_mark(pass->options.transport);
    }
    pass_norm_back(pass, pass->gradients[LAYER_HIDDEN],
                   pass_weight(pass, gradients, MODEL_OUTPUT_NORM, 0), pass->normed_gradient,
                   pass->inputs + (int64_t)pass->options.spec->layers * pass->rows_most * hidden,
                   pass_weight_of(pass, MODEL_OUTPUT_NORM, 0), false);
    return loss;
}

void pass_logits(struct pass *pass, const float *weights, int64_t row, int64_t count, float *logits)
{
    pass->weights = weights;
    make_logits(pass, logits, row, count);
}
