/* Owns the reading of tensors as float32 rows, and their merge. Promises that a merged number is
 * rounded once, and that models are merged only where each number means the same in both. */
#include "proto/model/model_values.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { PIECE = 1024 }; /* elements of a merge at a time, on the stack; fills whole blocks */

/* Elements first .. first + count of a row; `first` begins a block. */
static void read_piece(float *out, const struct model_tensor *tensor, int64_t row, int64_t first,
                       int64_t count)
{
    const char *start =
        (const char *)tensor->data + (size_t)row * dtype_row_bytes(tensor->dtype, tensor->columns);
    dtype_dequantize_row(out, start + dtype_row_bytes(tensor->dtype, first), tensor->dtype, count);
}

/* A row of the rotate-half layout is this one of the file. */
static int64_t row_in_file(const struct model *model, enum model_role role, int64_t row)
{
    return model_role_is_by_head(role) ? spec_qk_row(model_spec(model), (int)row) : row;
}

static bool is_vector(const struct model *model, enum model_role role)
{
    return model_role_shape(model_spec(model), role).is_vector;
}

static enum status read_model(void *context, float *out, enum model_role role, int layer,
                              int64_t first, int64_t count)
{
    const struct model *model = context;
    const struct model_tensor tensor = model_tensor(model, role, layer);
    if (is_vector(model, role)) {
        model_read_vector(out, model, role, layer);
        return STATUS_OK;
    }
    for (int64_t row = 0; row < count; row++)
        read_piece(out + row * tensor.columns, &tensor, row_in_file(model, role, first + row), 0,
                   tensor.columns);
    return STATUS_OK;
}

struct model_values model_values_of(const struct model *model)
{
    return (struct model_values){.read = read_model, .context = (void *)(uintptr_t)model};
}

static void add(float *out, const float *other, int64_t count,
                const struct model_values_merge *merge)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)(merge->a_weight * (double)out[i] + merge->b_weight * (double)other[i]);
}

/* A vector is short, and read whole. */
static enum status merge_vectors(const struct model_values_merge *merge, float *out,
                                 enum model_role role, int layer)
{
    const int64_t columns = model_role_shape(model_spec(merge->a), role).columns;
    const struct model_tensor b = model_tensor(merge->b, role, layer);
    const size_t element_bytes = dtype_row_bytes(b.dtype, 1);
    model_read_vector(out, merge->a, role, layer);
    for (int64_t i = 0; i < columns; i++) {
        const int64_t from = row_in_file(merge->b, role, i);
        float other;
        dtype_dequantize_row(&other, (const char *)b.data + (size_t)from * element_bytes, b.dtype,
                             1);
        add(&out[i], &other, 1, merge);
    }
    return STATUS_OK;
}

static enum status read_merge(void *context, float *out, enum model_role role, int layer,
                              int64_t first, int64_t count)
{
    const struct model_values_merge *merge = context;
    if (is_vector(merge->a, role))
        return merge_vectors(merge, out, role, layer);
    const struct model_tensor b = model_tensor(merge->b, role, layer);
    TRY(read_model((void *)(uintptr_t)merge->a, out, role, layer, first, count));
    for (int64_t row = 0; row < count; row++) {
        const int64_t from = row_in_file(merge->b, role, first + row);
        for (int64_t column = 0; column < b.columns; column += PIECE) {
            const int64_t left = b.columns - column;
            const int64_t piece = left < PIECE ? left : PIECE;
            float other[PIECE];
            read_piece(other, &b, from, column, piece);
            add(out + row * b.columns + column, other, piece, merge);
        }
    }
    return STATUS_OK;
}

struct model_values model_values_of_merge(const struct model_values_merge *merge)
{
    return (struct model_values){.read = read_merge, .context = (void *)(uintptr_t)merge};
}

static enum status refuse(const struct model *a, const struct model *b, const char *what, int of_a,
                          int of_b)
{
    return fail(STATUS_INVALID_ARGUMENT,
                "%s and %s cannot be merged: %s is %d in one and %d in the other; both must be of "
                "one shape",
                checkpoint_name(model_checkpoint(a)), checkpoint_name(model_checkpoint(b)), what,
                of_a, of_b);
}

static enum status check_facts(const struct model *a, const struct model *b)
{
    const struct model_spec *of_a = model_spec(a);
    const struct model_spec *of_b = model_spec(b);
    const struct {
        const char *what;
        int of_a;
        int of_b;
    } facts[] = {
        {"the number of layers", of_a->layers, of_b->layers},
        {"the width", of_a->hidden, of_b->hidden},
        {"the number of heads", of_a->heads, of_b->heads},
        {"the number of key-value heads", of_a->kv_heads, of_b->kv_heads},
        {"the head dimension", of_a->head_dim, of_b->head_dim},
        {"the inner width", of_a->ffn, of_b->ffn},
        {"the vocabulary", of_a->vocab, of_b->vocab},
        {"whether the output is tied to the embedding", of_a->tied_output, of_b->tied_output},
        {"whether q, k and v have biases", of_a->qkv_bias, of_b->qkv_bias},
        {"whether attention's output has a bias", of_a->output_bias, of_b->output_bias},
        {"whether the feed-forward part has biases", of_a->mlp_bias, of_b->mlp_bias},
        {"whether heads are normalised", of_a->qk_norm, of_b->qk_norm},
        {"the number of layers with a sliding window", spec_window_layers(of_a),
         spec_window_layers(of_b)},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (facts[i].of_a != facts[i].of_b)
            return refuse(a, b, facts[i].what, facts[i].of_a, facts[i].of_b);
    if (of_a->norm_eps != of_b->norm_eps)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s and %s cannot be merged: their norms add %g and %g; both must be of one "
                    "shape",
                    checkpoint_name(model_checkpoint(a)), checkpoint_name(model_checkpoint(b)),
                    (double)of_a->norm_eps, (double)of_b->norm_eps);
    return STATUS_OK;
}

/* A row of the embedding must stand for one text in both. What only one of the files names is left
 * out: writers fill rows without a token each in their own way. */
static enum status check_tokens(const struct model *a, const struct model *b)
{
    const struct vocab *of_a = model_vocab(a);
    const struct vocab *of_b = model_vocab(b);
    for (int32_t id = 0; of_a && of_b && id < vocab_count(of_a); id++) {
        const struct vocab_token left = vocab_token(of_a, id);
        const struct vocab_token right = vocab_token(of_b, id);
        if (left.type != VOCAB_UNUSED && right.type != VOCAB_UNUSED &&
            text_view_compare((struct text_view){left.text, left.bytes},
                              (struct text_view){right.text, right.bytes}) != 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "%s and %s cannot be merged: token %d is \"%.*s\" in one and \"%.*s\" in "
                        "the other; both must have one vocabulary",
                        checkpoint_name(model_checkpoint(a)), checkpoint_name(model_checkpoint(b)),
                        id, (int)(left.bytes < 64 ? left.bytes : 64), left.text,
                        (int)(right.bytes < 64 ? right.bytes : 64), right.text);
    }
    return STATUS_OK;
}

enum status model_values_check_merge(const struct model *a, const struct model *b)
{
    TRY(check_facts(a, b));
    return check_tokens(a, b);
}
