/* Owns the widths of a layer's buffers. */
#include "proto/plan/layer_buffers.h"

void layer_buffers_make(struct layer_buffer_row *table, const struct model_shape *shape)
{
    const int64_t queries = shape->heads * shape->head_dim;
    const int64_t keys = shape->kv_heads * shape->head_dim;
    const struct layer_buffer_row rows[LAYER_BUFFERS] = {
        [LAYER_NOTHING] = {0, LAYER_F32, false, 0},
        [LAYER_HIDDEN] = {shape->hidden, LAYER_F32, true, 0},
        [LAYER_NORMED] = {shape->hidden, LAYER_LEFT, false, 0},
        [LAYER_DELTA] = {shape->hidden, LAYER_F32, false, DECODE_SPLIT_OUTPUT | DECODE_SPLIT_DOWN},
        [LAYER_QKV] = {queries + 2 * keys, LAYER_F32, false, DECODE_SPLIT_QKV},
        [LAYER_QUERIES] = {queries, LAYER_OPERAND, true, 0},
        [LAYER_STATE] = {queries + 2 * shape->heads, LAYER_F32, true, 0},
        [LAYER_MIXED] = {queries, LAYER_LEFT, false, 0},
        [LAYER_GATE] = {shape->ffn, LAYER_F32, false, 0},
        [LAYER_UP] = {shape->ffn, LAYER_F32, false, 0},
        [LAYER_ACTIVE] = {shape->ffn, LAYER_LEFT, false, DECODE_SPLIT_GATE},
        [LAYER_TABLES] = {shape->head_dim, LAYER_F32, true, 0},
        [LAYER_OTHER_TABLES] = {shape->other_rope ? shape->head_dim : 0, LAYER_F32, true, 0},
        [LAYER_LOGITS] = {shape->vocab, LAYER_F32, true, 0},
    };
    for (int buffer = 0; buffer < LAYER_BUFFERS; buffer++)
        table[buffer] = rows[buffer];
}

struct bands layer_buffers_widest(void)
{
    return (struct bands){.query_frames = BANDS_FRAMES_MAX, .key_frames = BANDS_FRAMES_MAX};
}

int64_t layer_buffers_copies(enum layer_buffer buffer, const struct bands *bands, int states)
{
    switch (buffer) {
    case LAYER_QUERIES:
        return bands->query_frames;
    case LAYER_TABLES:
    case LAYER_OTHER_TABLES:
        return bands->query_frames + bands->key_frames;
    case LAYER_STATE:
        return states;
    default:
        return 1;
    }
}

int64_t layer_buffers_step_width(const struct layer_buffer_row *table, enum layer_buffer buffer,
                                 const struct bands *bands, int workers)
{
    if (buffer == LAYER_ACTIVE || buffer == LAYER_LOGITS)
        return 0;
    return table[buffer].width * layer_buffers_copies(buffer, bands, workers);
}
