/* Rotation: the table of angles, queries in every frame, keys into the cache. Promises angles
 * formed in float64, products in float32, one rounding to the operand type. */
#include "kernels/kernels_cuda.h"
#include "kernels/rope.h"
#include "kernels/store_cuda.cuh"
#include "kernels/variants_cuda.h"

enum { ROPE_THREADS = 256 };

static int64_t blocks_of(int64_t threads)
{
    return (threads + ROPE_THREADS - 1) / ROPE_THREADS;
}

static __device__ __forceinline__ int64_t thread_number(void)
{
    return (int64_t)blockIdx.x * ROPE_THREADS + threadIdx.x;
}

/* A thread for each (frame, row, pair). */
__global__ void __launch_bounds__(ROPE_THREADS)
    rope_table_kernel(const __grid_constant__ struct kernels_cuda_rope_table args)
{
    const int64_t place = thread_number();
    if (place >= args.frame_count * args.rows * args.half)
        return;
    const int64_t index = args.indices[place / args.half % args.rows];
    const int64_t frame = place / args.half / args.rows;
    const double position = bands_position(&args.frames[frame], index);
    const double magnitude =
        args.magnitude * (frame < args.query_frames ? rope_logn(args.logn, index) : 1);
    double sine, cosine;
    sincos(position * args.inv_freq[place % args.half], &sine, &cosine);
    ((float2 *)args.table)[place] =
        make_float2((float)(cosine * magnitude), (float)(sine * magnitude));
}

static int rope_table_launch(const struct kernels_cuda_rope_table *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->frame_count * args->rows * args->half);
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->frame_count > 2 * BANDS_FRAMES_MAX ||
        args->half > ATTENTION_HEAD_DIM_MAX / 2)
        return cudaErrorInvalidValue;
    rope_table_kernel<<<(unsigned)blocks, ROPE_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* Pairs p and p + 1 of a head. */
struct pairs {
    float2 low, high;
};

/* An infinity becomes a NaN: attention would give a pair whose score is minus infinity no weight,
 * and so hide it. Whatever is finite stays as it is. */
static __device__ __forceinline__ uint32_t pack_finite(enum dtype operand, float2 x)
{
    return store_packed(operand, x.x + 0 * x.x, x.y + 0 * x.y);
}

static __device__ __forceinline__ struct pairs rotate(float2 low, float2 high, float4 angles)
{
    struct pairs out;
    out.low =
        make_float2(low.x * angles.x - high.x * angles.y, low.y * angles.z - high.y * angles.w);
    out.high =
        make_float2(high.x * angles.x + low.x * angles.y, high.y * angles.z + low.y * angles.w);
    return out;
}

/* A thread for two pairs of one head, in all frames. */
__global__ void __launch_bounds__(ROPE_THREADS)
    rope_queries_kernel(const __grid_constant__ struct kernels_cuda_rope_queries args)
{
    const int half = args.head_dim / 2, per_head = half / 2;
    const int64_t place = thread_number();
    if (place >= args.rows * args.heads * per_head)
        return;
    const int p = (int)(place % per_head) * 2;
    const int64_t row = place / per_head / args.heads, head = place / per_head % args.heads;
    const float *q = args.q + row * args.q_stride + head * args.head_dim + p;
    const float2 low = *(const float2 *)q, high = *(const float2 *)(q + half);
    uint16_t *out = (uint16_t *)args.out + (row * args.heads + head) * args.head_dim + p;
    for (int frame = 0; frame < args.frame_count; frame++) {
        const float4 angles =
            *(const float4 *)(args.table + frame * args.table_stride + (row * half + p) * 2);
        const struct pairs y = rotate(low, high, angles);
        uint16_t *to = out + frame * args.frame_stride;
        *(uint32_t *)to = pack_finite(args.operand, y.low);
        *(uint32_t *)(to + half) = pack_finite(args.operand, y.high);
    }
}

static int rope_queries(const struct kernels_cuda_rope_queries *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->rows * args->heads * (args->head_dim / 4));
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->head_dim % 16 != 0 || args->q_stride % 4 != 0 ||
        !store_is_operand(args->operand))
        return cudaErrorInvalidValue;
    rope_queries_kernel<<<(unsigned)blocks, ROPE_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

/* The element (row, d) of a head in the record `record` of `base`. */
static __device__ __forceinline__ uint16_t *record_place(const struct kernels_cuda_rope_store *args,
                                                         void *base, int64_t record, int64_t head,
                                                         int64_t row, int d)
{
    return (uint16_t *)base +
           ((record * args->kv_heads + head) * PANEL_TOKENS + row) * args->head_dim + d;
}

static __device__ __forceinline__ void put_key(const struct kernels_cuda_rope_store *args,
                                               uint16_t *place, struct pairs k)
{
    *(uint32_t *)place = pack_finite(args->operand, k.low);
    *(uint32_t *)(place + args->head_dim / 2) = pack_finite(args->operand, k.high);
}

static __device__ __forceinline__ void put_value(const struct kernels_cuda_rope_store *args,
                                                 uint16_t *place, struct pairs v)
{
    *(uint32_t *)place = store_packed(args->operand, v.low.x, v.low.y);
    *(uint32_t *)(place + args->head_dim / 2) = store_packed(args->operand, v.high.x, v.high.y);
}

/* A thread for two pairs of one KV head, in every place they are kept. */
__global__ void __launch_bounds__(ROPE_THREADS)
    rope_store_kernel(const __grid_constant__ struct kernels_cuda_rope_store args)
{
    const int half = args.head_dim / 2, per_head = half / 2;
    const int64_t place = thread_number();
    if (place >= args.rows * args.kv_heads * per_head)
        return;
    const int p = (int)(place % per_head) * 2;
    const int64_t row = place / per_head / args.kv_heads, head = place / per_head % args.kv_heads;
    const int64_t from = row * args.stride + head * args.head_dim + p;
    const int64_t index = args.indices[row], record = args.records[row];
    const struct pairs k = {*(const float2 *)(args.k + from),
                             *(const float2 *)(args.k + from + half)};
    const struct pairs v = {*(const float2 *)(args.v + from),
                             *(const float2 *)(args.v + from + half)};
    const int64_t panel_row = index % PANEL_TOKENS;
    const int64_t sink_record = index / PANEL_TOKENS * (args.key_frames + 1);
    const bool kept = record >= 0, sink = index < args.sinks;
    for (int frame = 0; frame < args.key_frames; frame++) {
        const struct pairs rotated =
            rotate(k.low, k.high, *(const float4 *)(args.table + frame * args.table_stride +
                                                    (row * half + p) * 2));
        if (kept && frame < args.panel_frames)
            put_key(&args, record_place(&args, args.cache, record + frame, head, panel_row, p),
                    rotated);
        if (sink)
            put_key(&args,
                    record_place(&args, args.sink_cache, sink_record + frame, head, panel_row, p),
                    rotated);
    }
    if (kept)
        put_value(&args,
                  record_place(&args, args.cache, record + args.panel_frames, head, panel_row, p),
                  v);
    if (sink)
        put_value(&args,
                  record_place(&args, args.sink_cache, sink_record + args.key_frames, head,
                               panel_row, p),
                  v);
}

static int rope_store(const struct kernels_cuda_rope_store *args, cudaStream_t stream)
{
    const int64_t blocks = blocks_of(args->rows * args->kv_heads * (args->head_dim / 4));
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->head_dim % 16 != 0 || args->stride % 4 != 0 ||
        args->panel_frames > args->key_frames || !store_is_operand(args->operand))
        return cudaErrorInvalidValue;
    rope_store_kernel<<<(unsigned)blocks, ROPE_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

void rope_cuda_install(struct kernels_cuda *kernels)
{
    kernels->rope_table = rope_table_launch;
    kernels->rope_queries = rope_queries;
    kernels->rope_store = rope_store;
}
