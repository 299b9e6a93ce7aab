/* Owns nothing: the tables that rotate rows, the rotation of their queries, and what is stored of
 * their keys and values. */
#include "proto/plan/given_positions.h"
#include "worker/engine/device/device_cpu_parts.h"

/* Where rope sees a token. */
static int64_t position_of(const struct device_sequence *sequence, int64_t index)
{
    return sequence->positions
               ? given_positions_at(sequence->positions, sequence->positioned, index)
               : index;
}

/* What rope does not turn is multiplied by what is of the token alone. */
static void leave_unturned(float *table, const struct device_cpu *cpu,
                           const struct spec_rotation *rotation, const double *magnitudes,
                           int64_t count)
{
    const int half = cpu->spec.head_dim / 2;
    for (int64_t t = 0; rotation->magnitude != 1 && t < count; t++)
        for (int p = rotation->turned; p < half; p++)
            table[(t * half + p) * 2] = (float)magnitudes[t];
}

void device_cpu_tables(const struct device_cpu *cpu, const struct device_sequence *sequence,
                       const struct spec_rotation *rotation, float *tables, int64_t frame_stride,
                       int64_t index, int64_t count)
{
    const struct bands *bands = &sequence->method->bands;
    struct rope_place places[KERNELS_ROWS_MAX];
    double logn[KERNELS_ROWS_MAX];
    for (int frame = 0; frame < bands->query_frames + bands->key_frames; frame++) {
        const bool queries = frame < bands->query_frames;
        const struct bands_frame *place =
            queries ? &bands->query_frame[frame] : &bands->key_frame[frame - bands->query_frames];
        for (int64_t t = 0; t < count; t++) {
            const int64_t position = position_of(sequence, index + t);
            logn[t] = rope_logn(queries ? rotation->logn : 0, position);
            places[t].position = bands_position(place, position);
            places[t].magnitude = rotation->magnitude * logn[t];
        }
        rope_table(tables + frame * frame_stride, places, count, rotation->inv_freq,
                   cpu->spec.head_dim / 2);
        leave_unturned(tables + frame * frame_stride, cpu, rotation, logn, count);
    }
}

/* Which tables a layer's heads are rotated by. */
static const float *tables_of(const struct device_cpu_rows *rows, int layer)
{
    return rows
        ->at[spec_layer_is_other(&rows->cpu->spec, layer) ? LAYER_OTHER_TABLES : LAYER_TABLES];
}

void device_cpu_rotate(const struct device_cpu_rows *rows, int layer)
{
    const struct device_cpu *cpu = rows->cpu;
    const int64_t width = device_cpu_query_width(cpu);
    for (int frame = 0; frame < rows->sequence->method->bands.query_frames; frame++) {
        const int64_t first = frame * rows->frame_rows;
        const struct rope_args rotation = {
            .out = (char *)rows->at[LAYER_QUERIES] +
                   (size_t)(first * width) * device_cpu_operand_bytes(cpu),
            .out_stride = width,
            .x = rows->at[LAYER_QKV],
            .x_stride = cpu->device.program->buffers[LAYER_QKV].width,
            .table = tables_of(rows, layer) + first * cpu->spec.head_dim,
            .tokens = rows->rows,
            .heads = cpu->spec.heads,
            .head_dim = cpu->spec.head_dim,
        };
        cpu->kernels->rope_queries(&rotation);
    }
}

/* ---- keys and values ---- */

/* One token's. */
struct token {
    const float *keys;   /* [kv_heads, head_dim], unrotated */
    const float *values; /* [kv_heads, head_dim] */
    float *rotated;      /* room for its keys in one frame */
    const float *tables; /* [head_dim / 2, 2] of the first key frame */
    int64_t frame_stride;
    int64_t index;
    bool owned;
    bool sink;
};

static void rotate_keys(const struct device_cpu *cpu, const struct token *token, int frame)
{
    const struct rope_args rotation = {
        .out = token->rotated,
        .x = token->keys,
        .table = token->tables + frame * token->frame_stride,
        .tokens = 1,
        .heads = cpu->spec.kv_heads,
        .head_dim = cpu->spec.head_dim,
    };
    cpu->kernels->rope_keys(&rotation);
}

static void store_key(const struct device_cpu *cpu, int layer, int64_t slot,
                      const struct token *token)
{
    cpu->kernels->attention_store_keys(device_record(&cpu->device, layer, slot),
                                       token->index % PANEL_TOKENS, token->rotated,
                                       cpu->spec.kv_heads, cpu->spec.head_dim);
}

static void store_value(const struct device_cpu *cpu, int layer, int64_t slot,
                        const struct token *token)
{
    cpu->kernels->attention_store_values(device_record(&cpu->device, layer, slot),
                                         token->index % PANEL_TOKENS, token->values,
                                         cpu->spec.kv_heads, cpu->spec.head_dim);
}

/* K in every frame that it is kept in, then V: as the slots of a panel follow each other. */
static void store_token(const struct device_cpu_rows *rows, int layer, const struct token *token)
{
    const struct device_cpu *cpu = rows->cpu;
    const struct bands *bands = &rows->sequence->method->bands;
    const int frames = token->sink ? bands->key_frames : bands->panel_frames;
    const int64_t slot = token->owned ? panel_table_slot(rows->sequence->panels, token->index) : -1;
    const int64_t sink =
        panel_table_sinks(rows->sequence->panels) +
        token->index / PANEL_TOKENS * panel_table_sink_slots(rows->sequence->panels);
    for (int frame = 0; frame < frames; frame++) {
        rotate_keys(cpu, token, frame);
        if (token->owned && frame < bands->panel_frames)
            store_key(cpu, layer, slot + frame, token);
        if (token->sink)
            store_key(cpu, layer, sink + frame, token);
    }
    if (token->owned)
        store_value(cpu, layer, slot + bands->panel_frames, token);
    if (token->sink)
        store_value(cpu, layer, sink + bands->key_frames, token);
}

static bool is_owned(const struct device_cpu_rows *rows, int64_t index)
{
    return rows->ownership ? ownership_owner(rows->ownership, index) == rows->rank
                           : !rows->recomputed;
}

void device_cpu_store(const struct device_cpu_rows *rows, int layer)
{
    const struct device_cpu *cpu = rows->cpu;
    const int64_t head_dim = cpu->spec.head_dim;
    const int64_t width = cpu->device.program->buffers[LAYER_QKV].width;
    const float *tables = tables_of(rows, layer) +
                          rows->sequence->method->bands.query_frames * rows->frame_rows * head_dim;
    for (int64_t r = 0; r < rows->rows; r++) {
        const int64_t index = rows->index + r;
        float *queries = rows->at[LAYER_QKV] + r * width; /* in their frames by now */
        const float *keys = queries + device_cpu_query_width(cpu);
        const struct token token = {
            .keys = keys,
            .values = keys + device_cpu_key_width(cpu),
            .rotated = queries,
            .tables = tables + r * head_dim,
            .frame_stride = rows->frame_rows * head_dim,
            .index = index,
            .owned = is_owned(rows, index),
            .sink = index < rows->sequence->sinks,
        };
        if (token.owned || token.sink)
            store_token(rows, layer, &token);
    }
}
