/* Owns nothing: a token's keys and values into the cache, and the tables that rotate them, as
 * stages and steps both need them. */
#include "worker/engine/device/device_cpu_parts.h"

void *device_cpu_sinks(const struct device_cpu *cpu, int layer, bool near)
{
    size_t side_bytes = (size_t)cpu->plan.sink_panels * cpu->device.panel_bytes;
    return cpu->sinks + ((size_t)layer * 2 + (near ? 1 : 0)) * side_bytes;
}

void device_cpu_store(struct device_cpu *cpu, const struct kv_cache *cache, int layer,
                      const struct device_cpu_token *token)
{
    const struct model_spec *spec = &cpu->spec;
    const struct kernels *kernels = cpu->kernels;
    int64_t row = token->index % PANEL_TOKENS;
    size_t sink_panel = (size_t)(token->index / PANEL_TOKENS) * cpu->device.panel_bytes;
    if (token->sink)
        kernels->attention_store((char *)device_cpu_sinks(cpu, layer, false) + sink_panel, row,
                                 token->keys, token->values, spec->kv_heads, spec->head_dim);
    const struct rope_args rotation = {
        .out = token->keys,
        .x = token->keys,
        .table = token->table,
        .tokens = 1,
        .heads = spec->kv_heads,
        .head_dim = spec->head_dim,
    };
    kernels->rope_keys(&rotation);
    if (token->sink)
        kernels->attention_store((char *)device_cpu_sinks(cpu, layer, true) + sink_panel, row,
                                 token->keys, token->values, spec->kv_heads, spec->head_dim);
    if (token->owned)
        kernels->attention_store(kv_cache_panel(cache, layer, token->index), row, token->keys,
                                 token->values, spec->kv_heads, spec->head_dim);
}

void device_cpu_tables(const struct device_cpu *cpu, const struct bands *bands, float *tables,
                       int64_t frame_stride, int64_t index, int64_t count)
{
    const struct spec_rotation *rotation = &cpu->rotation;
    struct rope_place places[KERNELS_ROWS_MAX];
    for (int frame = 0; frame <= bands->query_frames; frame++) {
        const bool queries = frame < bands->query_frames;
        const struct bands_frame *place =
            queries ? &bands->query_frame[frame] : &bands->key_frame[0];
        for (int64_t t = 0; t < count; t++) {
            places[t].position = bands_position(place, index + t);
            places[t].magnitude =
                rotation->magnitude * rope_logn(queries ? rotation->logn : 0, index + t);
        }
        rope_table(tables + frame * frame_stride, places, count, rotation->inv_freq,
                   cpu->spec.head_dim / 2);
    }
}
