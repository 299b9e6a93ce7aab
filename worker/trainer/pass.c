/* Owns the memory of a pass, and the way through the layers. */
#include "worker/trainer/pass_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* ---- memory: once to add up, once to hand out ---- */

void *pass_take(struct pass_taker *taker, int64_t elements, size_t element_bytes)
{
    char *piece = taker->memory ? taker->memory + taker->bytes : NULL;
    taker->bytes += ((size_t)elements * element_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

static float *floats(struct pass_taker *taker, int64_t elements)
{
    return pass_take(taker, elements, sizeof(float));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void take_keys(struct pass *pass, struct pass_taker *taker)
{
    const struct model_spec *spec = pass->options.spec;
    const struct bands *bands = &pass->sight.tables[0].bands;
    const int64_t rows = pass->rows_most, keys = pass->keys_most, head_dim = spec->head_dim;
    const int64_t pair = 2 * spec->kv_heads * head_dim;
    pass->query_tables = floats(taker, bands->query_frames * rows * head_dim);
    pass->key_tables = floats(taker, bands->key_frames * keys * head_dim);
    pass->query_gradients = floats(taker, bands->query_frames * rows * spec->heads * head_dim);
    pass->rotated_gradients = floats(taker, bands->key_frames * keys * pair / 2);
    pass->pairs = floats(taker, keys * pair);
    pass->pair_gradients = floats(taker, keys * pair);
    pass->returned = floats(taker, pass->returned_most * pair);
    pass->dots = floats(taker, rows * spec->heads);
}

void pass_take_activations(struct pass *pass, struct pass_taker *taker)
{
    const struct model_spec *spec = pass->options.spec;
    const int64_t rows = pass->rows_most, held = pass->options.recompute ? 1 : spec->layers;
    const int64_t blocks = (rows + PASS_BLOCK_ROWS - 1) / PASS_BLOCK_ROWS;
    pass->inputs = floats(taker, (spec->layers + 1) * rows * spec->hidden);
    pass->values = floats(taker, held * rows * pass->tape.width);
    pass->logsumexp = floats(taker, held * rows * spec->heads);
    pass->normed = floats(taker, rows * spec->hidden);
    pass->normed_gradient = floats(taker, rows * spec->hidden);
    for (int b = 0; b < LAYER_BUFFERS; b++)
        if (pass->tape.gradients >> b & 1)
            pass->gradients[b] = floats(taker, rows * pass->tape.widths[b]);
    pass->partial = floats(taker, blocks * larger(spec->hidden, 2 * spec->head_dim));
    pass->logits = floats(taker, PASS_HEAD_ROWS * (int64_t)spec->vocab);
    take_keys(pass, taker);
}

static enum status take_host_memory(struct pass *pass)
{
    pass->index = calloc((size_t)pass->rows_most, sizeof *pass->index);
    pass->targets = calloc((size_t)pass->rows_most, sizeof *pass->targets);
    if (!pass->index || !pass->targets)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the rows of a training pass");
    return STATUS_OK;
}

/* ---- making ---- */

/* A zigzag share has two parts, and each of them may be a panel longer than the others'. */
static void find_most(struct pass *pass)
{
    const int64_t size = pass->options.transport->size;
    const int64_t panels = (pass->options.tokens + PASS_PANEL - 1) / PASS_PANEL;
    const int64_t own = size == 1 ? panels : (panels + size - 1) / size + 2;
    pass->keys_most = panels * PASS_PANEL;
    pass->rows_most = (own < panels ? own : panels) * PASS_PANEL;
    pass->returned_most = (size - 1) * pass->rows_most;
}

static void find_sight(struct pass *pass)
{
    const struct model_spec *spec = pass->options.spec;
    const struct method *method = pass->options.method;
    const struct model_shape shape = spec_shape(spec, 0);
    sight_make(&pass->sight, method, &shape);
    spec_rotation_make(&pass->rotation, spec, &method->frequencies, method_logn(method));
    pass->scale_log2 =
        (float)(method_logit_scale(method) * 1.4426950408889634 / sqrt((double)spec->head_dim));
}

enum status pass_create(struct pass **out, const struct pass_options *options)
{
    enum status status = STATUS_OK;
    if (spec_special_part(options->spec))
        return fail(STATUS_UNIMPLEMENTED, "training does not know %s; this model cannot be trained",
                    spec_special_part(options->spec));
    struct pass *pass = calloc(1, sizeof *pass);
    if (!pass)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a training pass");
    pass->options = *options;
    pass->device = options->streams ? &pass_cuda_device : &pass_cpu_device;
    TRY_ELSE(layer_program_create(&pass->program, options->spec, false), undo);
    TRY_ELSE(tape_make(&pass->tape, pass->program), undo);
    TRY_ELSE(ownership_create(&pass->ownership, options->transport->size, PASS_PANEL), undo);
    find_sight(pass);
    find_most(pass);
    TRY_ELSE(take_host_memory(pass), undo);
    TRY_ELSE(pass->device->open(pass), undo);
    *out = pass;
    return STATUS_OK;
undo:
    pass_destroy(pass);
    return status;
}

void pass_destroy(struct pass *pass)
{
    if (!pass)
        return;
    layer_program_destroy(pass->program);
    ownership_destroy(pass->ownership);
    key_exchange_deinit(&pass->exchange);
    free(pass->pieces);
    free(pass->requests);
    pass->device->close(pass);
    free(pass->targets);
    free(pass->index);
    free(pass);
}

size_t pass_bytes(const struct pass *pass)
{
    return pass->bytes;
}

int64_t pass_rows(const struct pass *pass)
{
    return pass->rows;
}

int64_t pass_row_index(const struct pass *pass, int64_t row)
{
    return pass->index[row];
}

/* ---- through the layers ---- */

float *pass_value(const struct pass *pass, int layer, int value)
{
    const struct tape *tape = &pass->tape;
    const int64_t rows = pass->rows_most, hidden = pass->options.spec->hidden;
    if (value == tape->input)
        return pass->inputs + layer * rows * hidden;
    if (value == tape->output)
        return pass->inputs + (layer + 1) * rows * hidden;
    const int held = pass->options.recompute ? 0 : layer;
    return pass->values + (held * tape->width + tape->values[value].offset) * rows;
}

static enum status layer_forward(struct pass *pass, int layer)
{
    for (int op = 0; op < pass->tape.count; op++) {
        if (pass->tape.ops[op].op->kind == LAYER_ATTEND)
            TRY(pass->device->attend(pass, op, layer));
        else
            TRY(pass->device->op(pass, op, layer));
        transport_mark(pass->options.transport);
    }
    return STATUS_OK;
}

static enum status layer_back(struct pass *pass, int layer, float *gradients)
{
    if (pass->options.recompute)
        TRY(layer_forward(pass, layer));
    for (int op = pass->tape.count - 1; op >= 0; op--) {
        if (pass->tape.ops[op].op->kind == LAYER_ATTEND)
            TRY(pass->device->attend_back(pass, op, layer));
        else
            TRY(pass->device->op_back(pass, op, layer, gradients));
        transport_mark(pass->options.transport);
    }
    return STATUS_OK;
}

static enum status check_sample(const struct pass *pass, const struct sample *sample)
{
    if (sample->count > pass->options.tokens)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a sample has %lld tokens, and memory was taken for %lld",
                    (long long)sample->count, (long long)pass->options.tokens);
    return STATUS_OK;
}

enum status pass_forward(struct pass *pass, const float *weights, const struct sample *sample)
{
    TRY(check_sample(pass, sample));
    const int layers = pass->options.spec->layers;
    pass->sample = *sample;
    pass->weights = weights;
    TRY(pass_deal(pass));
    TRY(pass->device->deal(pass));
    TRY(pass->device->embed(pass));
    for (int layer = 0; layer < layers; layer++)
        TRY(layer_forward(pass, layer));
    return pass->device->norm(pass);
}

enum status pass_gradient(struct pass *pass, const float *weights, float *gradients,
                          const struct sample *sample, float scale, double *loss)
{
    TRY(pass_forward(pass, weights, sample));
    double own = 0;
    TRY(pass->device->head(pass, gradients, scale, &own));
    *loss += own;
    for (int layer = pass->options.spec->layers - 1; layer >= 0; layer--)
        TRY(layer_back(pass, layer, gradients));
    return pass->device->embed_back(pass, gradients);
}
