/* Owns nothing: the tables that rotate rows, the rotation of their queries, and what is stored of
 * their keys and values. */
#include <string.h>

#include "worker/engine/device/device_cuda_ops.h"

enum status device_cuda_tables(struct device_cuda *cuda, const struct device_method *method,
                               float *tables, const int64_t *indices, int64_t rows)
{
    const struct bands *bands = &method->bands;
    struct kernels_cuda_rope_table args = {
        .table = tables,
        .indices = indices,
        .query_frames = bands->query_frames,
        .logn = method->rotation.logn,
        .frame_count = bands->query_frames + bands->key_frames,
        .rows = rows,
        .half = cuda->spec.head_dim / 2,
        .magnitude = method->rotation.magnitude,
    };
    memcpy(args.inv_freq, method->rotation.inv_freq, sizeof args.inv_freq);
    memcpy(args.frames, bands->query_frame, (size_t)bands->query_frames * sizeof *args.frames);
    memcpy(args.frames + bands->query_frames, bands->key_frame,
           (size_t)bands->key_frames * sizeof *args.frames);
    LAUNCH(cuda, rope_table, &args);
    return STATUS_OK;
}

enum status device_cuda_rotate(const struct device_cuda_rows *rows)
{
    struct device_cuda *cuda = rows->cuda;
    const struct kernels_cuda_rope_queries args = {
        .out = rows->at[LAYER_QUERIES],
        .frame_stride = rows->query_frame_rows * device_cuda_query_width(cuda),
        .q = rows->at[LAYER_QKV],
        .q_stride = cuda->device.program->buffers[LAYER_QKV].width,
        .table = rows->at[LAYER_TABLES],
        .table_stride = rows->table_frame_rows * cuda->spec.head_dim,
        .frame_count = rows->method->bands.query_frames,
        .rows = rows->rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    LAUNCH(cuda, rope_queries, &args);
    return STATUS_OK;
}

enum status device_cuda_store(const struct device_cuda_rows *rows, int layer)
{
    struct device_cuda *cuda = rows->cuda;
    const struct device *device = &cuda->device;
    const float *keys = rows->at[LAYER_QKV] + device_cuda_query_width(cuda);
    const struct bands *bands = &rows->method->bands;
    const int64_t frame = rows->table_frame_rows * cuda->spec.head_dim;
    const struct kernels_cuda_rope_store args = {
        .cache = device_record(device, layer, 0),
        .sink_cache = device_record(device, layer, panel_table_sinks(rows->panels)),
        .sinks = rows->sinks,
        .records = rows->records,
        .indices = rows->indices,
        .k = keys,
        .v = keys + device_cuda_key_width(cuda),
        .stride = cuda->device.program->buffers[LAYER_QKV].width,
        .table = rows->at[LAYER_TABLES] + bands->query_frames * frame,
        .table_stride = frame,
        .panel_frames = bands->panel_frames,
        .key_frames = bands->key_frames,
        .rows = rows->rows,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    LAUNCH(cuda, rope_store, &args);
    return STATUS_OK;
}
