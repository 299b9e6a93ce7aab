/* Owns the widths of a layer's buffers. */
#include "proto/plan/layer_buffers.h"

void layer_buffers_make(struct layer_buffer_row *table, const struct model_shape *shape)
{
    const int64_t queries = shape->heads * shape->head_dim;
    const int64_t keys = shape->kv_heads * shape->head_dim;
    const struct layer_buffer_row rows[LAYER_BUFFERS] = {
        [LAYER_NOTHING] = {"nothing", 0, LAYER_F32, false},
        [LAYER_HIDDEN] = {"hidden", shape->hidden, LAYER_F32, true},
        [LAYER_NORMED] = {"normed", shape->hidden, LAYER_LEFT, false},
        [LAYER_DELTA] = {"delta", shape->hidden, LAYER_F32, false},
        [LAYER_QKV] = {"qkv", queries + 2 * keys, LAYER_F32, false},
        [LAYER_QUERIES] = {"queries", queries, LAYER_OPERAND, true},
        [LAYER_STATE] = {"state", queries + 2 * shape->heads, LAYER_F32, true},
        [LAYER_MIXED] = {"mixed", queries, LAYER_LEFT, false},
        [LAYER_GATE] = {"gate", shape->ffn, LAYER_F32, false},
        [LAYER_UP] = {"up", shape->ffn, LAYER_F32, false},
        [LAYER_ACTIVE] = {"active", shape->ffn, LAYER_LEFT, false},
        [LAYER_TABLES] = {"tables", shape->head_dim, LAYER_F32, true},
        [LAYER_LOGITS] = {"logits", shape->vocab, LAYER_F32, true},
    };
    for (int buffer = 0; buffer < LAYER_BUFFERS; buffer++)
        table[buffer] = rows[buffer];
}

int64_t layer_buffers_copies(enum layer_buffer buffer, int query_frames, int states)
{
    switch (buffer) {
    case LAYER_QUERIES:
        return query_frames;
    case LAYER_TABLES:
        return query_frames + 1;
    case LAYER_STATE:
        return states;
    default:
        return 1;
    }
}

int64_t layer_buffers_step_width(const struct layer_buffer_row *table, enum layer_buffer buffer,
                                 int query_frames, int workers)
{
    if (buffer == LAYER_ACTIVE || buffer == LAYER_LOGITS)
        return 0;
    return table[buffer].width * layer_buffers_copies(buffer, query_frames, workers);
}
