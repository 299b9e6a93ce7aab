/* What a choice needs of a row of logits: blocks put a thousand each in order and weigh them, one
 * more block folds their lists and sums. A logit and its id are one number that sorts as they do,
 * so no two are equal and every order of work gives the same candidates. */
#include "kernels/kernels_cuda.h"
#include "kernels/variants_cuda.h"

enum {
    PART_THREADS = KERNELS_CUDA_SURVEYED / 2, /* a pair each */
    LISTS = 8,                                /* folded side by side */
    JOIN_THREADS = LISTS * LOGITS_CANDIDATES,
};

/* ---- keys ---- */

/* Sorts as the logit and, below that, as the lower id; never 0. */
static __device__ __forceinline__ uint64_t key_of(float logit, uint32_t id)
{
    const uint32_t bits = __float_as_uint(logit == 0 ? 0 : logit);
    const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)ordered << 32 | (uint32_t)~id;
}

static __device__ __forceinline__ float logit_of(uint64_t key)
{
    const uint32_t ordered = (uint32_t)(key >> 32);
    return __uint_as_float(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered);
}

static __device__ __forceinline__ int32_t id_of(uint64_t key)
{
    return (int32_t) ~(uint32_t)key;
}

static __device__ __forceinline__ bool finite(float logit)
{
    return (__float_as_uint(logit) & 0x7f800000u) != 0x7f800000u;
}

/* Puts two keys in order, the larger one first or last. */
static __device__ __forceinline__ void settle(uint64_t *first, uint64_t *second, bool larger_first)
{
    const uint64_t a = *first, b = *second;
    if (a > b == larger_first)
        return;
    *first = b;
    *second = a;
}

/* ---- sums ---- */

struct tally {
    double sum;
    int64_t non_finite;
};

/* The block's, in thread 0; `all` [threads] is shared memory. */
static __device__ __forceinline__ struct tally tally_block(struct tally *all, struct tally mine,
                                                           int threads)
{
    all[threadIdx.x] = mine;
    for (int apart = threads / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < apart) {
            const struct tally other = all[threadIdx.x + apart];
            struct tally *both = &all[threadIdx.x];
            both->sum += other.sum;
            both->non_finite =
                other.non_finite < both->non_finite ? other.non_finite : both->non_finite;
        }
    }
    return all[0];
}

/* ---- a block's logits ---- */

/* Bitonic: runs of 2, 4, 8, ... in turn falling and rising, the last one falling. */
static __device__ void sort_keys(uint64_t *keys)
{
    const int pair = (int)threadIdx.x;
    for (int run = 2; run <= KERNELS_CUDA_SURVEYED; run *= 2)
        for (int apart = run / 2; apart > 0; apart /= 2) {
            const int first = 2 * pair - (pair & (apart - 1));
            __syncthreads();
            settle(&keys[first], &keys[first + apart], (first & run) == 0);
        }
    __syncthreads();
}

__global__ void __launch_bounds__(PART_THREADS)
    survey_part_kernel(const __grid_constant__ struct kernels_cuda_survey args)
{
    __shared__ uint64_t keys[KERNELS_CUDA_SURVEYED];
    __shared__ struct tally tallies[PART_THREADS];
    struct kernels_cuda_surveyed *out = args.work + blockIdx.x;
    struct tally mine = {0, INT32_MAX};
    for (int i = (int)threadIdx.x; i < KERNELS_CUDA_SURVEYED; i += PART_THREADS) {
        const int64_t id = (int64_t)blockIdx.x * KERNELS_CUDA_SURVEYED + i;
        const float logit = id < args.vocab ? args.logits[id] : 0;
        keys[i] = id < args.vocab ? key_of(logit, (uint32_t)id) : 0;
        if (!finite(logit) && id < mine.non_finite)
            mine.non_finite = id;
    }
    sort_keys(keys);
    const double largest = (double)logit_of(keys[0]);
    for (int i = (int)threadIdx.x; i < KERNELS_CUDA_SURVEYED && keys[i] != 0; i += PART_THREADS)
        mine.sum += exp(((double)logit_of(keys[i]) - largest) / args.temperature);
    const struct tally all = tally_block(tallies, mine, PART_THREADS);
    if (threadIdx.x < LOGITS_CANDIDATES)
        out->keys[threadIdx.x] = keys[threadIdx.x];
    if (threadIdx.x == 0) {
        out->sum = all.sum;
        out->non_finite = all.non_finite;
    }
}

/* ---- all of them ---- */

/* The first LOGITS_CANDIDATES of two lists, in order, in place of the first; `other` may be NULL.
 * Every thread of the block calls it, each with its list and its place there. */
static __device__ void fold(uint64_t *list, const uint64_t *other, int place)
{
    __syncthreads();
    if (other && other[LOGITS_CANDIDATES - 1 - place] > list[place])
        list[place] = other[LOGITS_CANDIDATES - 1 - place]; /* now falling, then rising */
    for (int apart = LOGITS_CANDIDATES / 2; apart > 0; apart /= 2) {
        __syncthreads();
        if ((place & apart) == 0)
            settle(&list[place], &list[place + apart], true);
    }
}

__global__ void __launch_bounds__(JOIN_THREADS)
    survey_join_kernel(const __grid_constant__ struct kernels_cuda_survey args)
{
    __shared__ uint64_t lists[LISTS][LOGITS_CANDIDATES];
    __shared__ struct tally tallies[JOIN_THREADS];
    const int list = (int)threadIdx.x / LOGITS_CANDIDATES;
    const int place = (int)threadIdx.x % LOGITS_CANDIDATES;
    const int parts = (int)((args.vocab + KERNELS_CUDA_SURVEYED - 1) / KERNELS_CUDA_SURVEYED);
    lists[list][place] = 0;
    for (int first = 0; first < parts; first += LISTS)
        fold(lists[list], first + list < parts ? args.work[first + list].keys : NULL, place);
    for (int apart = LISTS / 2; apart > 0; apart /= 2)
        fold(lists[list], list < apart ? lists[list + apart] : NULL, place);
    __syncthreads();
    const double largest = (double)logit_of(lists[0][0]);
    struct tally mine = {0, INT32_MAX};
    for (int p = (int)threadIdx.x; p < parts; p += JOIN_THREADS) {
        const struct kernels_cuda_surveyed *part = &args.work[p];
        mine.sum += part->sum * exp(((double)logit_of(part->keys[0]) - largest) / args.temperature);
        if (part->non_finite < mine.non_finite)
            mine.non_finite = part->non_finite;
    }
    const struct tally all = tally_block(tallies, mine, JOIN_THREADS);
    const int count = args.vocab < LOGITS_CANDIDATES ? (int)args.vocab : LOGITS_CANDIDATES;
    if (list == 0 && place < count) {
        args.out->candidates[place].logit = logit_of(lists[0][place]);
        args.out->candidates[place].id = id_of(lists[0][place]);
    }
    if (threadIdx.x == 0) {
        args.out->total = all.sum;
        args.out->non_finite = all.non_finite == INT32_MAX ? -1 : (int32_t)all.non_finite;
        args.out->count = count;
    }
}

static int survey(const struct kernels_cuda_survey *args, cudaStream_t stream)
{
    if (args->vocab < 1 || args->vocab > INT32_MAX || !(args->temperature > 0))
        return cudaErrorInvalidValue;
    const unsigned blocks = (unsigned)kernels_cuda_survey_blocks(args->vocab);
    survey_part_kernel<<<blocks, PART_THREADS, 0, stream>>>(*args);
    const int error = cudaGetLastError();
    if (error)
        return error;
    survey_join_kernel<<<1, JOIN_THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

void survey_cuda_install(struct kernels_cuda *kernels)
{
    kernels->survey = survey;
}
