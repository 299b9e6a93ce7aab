/* The instructions of sm_90a that attention is made of, one function each: mbarrier, TMA, wgmma,
 * setmaxnreg, named barriers. Operand types are those of mma_cuda.cuh.
 *
 * Tiles in shared memory are [rows, 64] of 16-bit elements, 128 bytes a row, with the 128-byte
 * swizzle of TMA and wgmma; they start at multiples of 1,024 bytes. */
#pragma once

#include <cuda.h>

#include "kernels/mma_cuda.cuh"

enum {
    WGMMA_ROW_BYTES = 128,
    WGMMA_CHUNK = 64,    /* elements of a row */
    MBARRIER_MOST = 8192 /* milliseconds */
};

/* ---- barriers ---- */

static __device__ __forceinline__ void mbarrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

/* What was initialised is seen by all threads of the block, once they have met, and by TMA. */
static __device__ __forceinline__ void mbarrier_init_done(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

static __device__ __forceinline__ void mbarrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

/* Arrives, and lets the phase end only when TMA has written `bytes`. */
static __device__ __forceinline__ void mbarrier_expect(uint32_t barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ bool mbarrier_ended(uint32_t barrier, int phase)
{
    uint32_t ended;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}\n"
                 : "=r"(ended)
                 : "r"(barrier), "r"(phase)
                 : "memory");
    return ended != 0;
}

/* In units of about a millisecond, from some time on. */
static __device__ __forceinline__ uint32_t mbarrier_clock(void)
{
    uint64_t nanoseconds;
    asm volatile("mov.u64 %0, %%globaltimer;\n" : "=l"(nanoseconds));
    return (uint32_t)(nanoseconds >> 20);
}

/* Until the phase (0, 1, 0, ...) has ended. Seconds of waiting can only be a bug: the kernel then
 * ends with an illegal address, and does not hang. (Not with __trap(): a kernel that has one is
 * compiled within the registers it starts with, whatever registers_take says.) */
static __device__ __forceinline__ void mbarrier_wait(uint32_t barrier, int phase)
{
    if (mbarrier_ended(barrier, phase))
        return;
    const uint32_t begin = mbarrier_clock();
    while (!mbarrier_ended(barrier, phase))
        if (mbarrier_clock() - begin > MBARRIER_MOST)
            asm volatile("st.global.u32 [%0], %1;\n" ::"l"(0ull), "r"(0) : "memory");
}

/* True for one thread of a whole warp, the same one each time. */
static __device__ __forceinline__ bool warp_elect(void)
{
    uint32_t elected;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "elect.sync _|p, 0xffffffff;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}\n"
                 : "=r"(elected));
    return elected != 0;
}

/* Threads of whole warps meet at barrier `name` (1 to 15; 0 is __syncthreads). */
static __device__ __forceinline__ void named_barrier_meet(int name, int threads)
{
    asm volatile("barrier.cta.sync %0, %1;\n" ::"r"(name), "r"(threads) : "memory");
}

static __device__ __forceinline__ void named_barrier_arrive(int name, int threads)
{
    asm volatile("barrier.cta.arrive %0, %1;\n" ::"r"(name), "r"(threads) : "memory");
}

/* ---- TMA ---- */

/* The box of a tensor of three dimensions whose first element is at (x, y, z). */
static __device__ __forceinline__ void tma_load(uint32_t to, const CUtensorMap *map,
                                                uint32_t barrier, int x, int y, int z)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];\n" ::"r"(to),
                 "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
                 : "memory");
}

/* Shared memory that this thread wrote is seen by the wgmma and TMA of threads it then meets. */
static __device__ __forceinline__ void tma_fence(void)
{
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/* ---- registers ---- */

template <int REGISTERS> static __device__ __forceinline__ void registers_give(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(REGISTERS));
}

template <int REGISTERS> static __device__ __forceinline__ void registers_take(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(REGISTERS));
}

/* ---- wgmma ---- */

/* Describes a tile whose rows lie along the product's outer dimension and whose elements along the
 * sum: groups of 8 rows are 1,024 bytes apart. Sixteen elements on is two more. */
static __device__ __forceinline__ uint64_t wgmma_rows(uint32_t shared)
{
    const uint64_t swizzle_128 = 1, group = 8 * WGMMA_ROW_BYTES / 16;
    return swizzle_128 << 62 | group << 32 | 1ull << 16 | (shared & 0x3ffff) >> 4;
}

/* Describes tiles whose rows lie along the sum, `next` bytes from 64 elements to the next 64.
 * Sixteen rows on is 128 more. */
static __device__ __forceinline__ uint64_t wgmma_columns(uint32_t shared, int next)
{
    const uint64_t swizzle_128 = 1, group = 8 * WGMMA_ROW_BYTES / 16;
    return swizzle_128 << 62 | group << 32 | (uint64_t)(next / 16) << 16 | (shared & 0x3ffff) >> 4;
}

/* Before the first product of a batch: registers written so far are seen by it. */
static __device__ __forceinline__ void wgmma_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

/* Until at most PENDING batches are under way. */
template <int PENDING> static __device__ __forceinline__ void wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(PENDING) : "memory");
}

/* Keeps what is done to `values` on its side of wgmma_begin or a wait. */
template <int COUNT> static __device__ __forceinline__ void wgmma_pin(float (&values)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        asm volatile("" : "+f"(values[i])::"memory");
}

template <int COUNT> static __device__ __forceinline__ void wgmma_pin(uint32_t (&values)[COUNT])
{
#pragma unroll
    for (int i = 0; i < COUNT; i++)
        asm volatile("" : "+r"(values[i])::"memory");
}

#define WGMMA_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_16(d, i) WGMMA_4(d, i), WGMMA_4(d, i + 4), WGMMA_4(d, i + 8), WGMMA_4(d, i + 12)
#define WGMMA_32(d, i) WGMMA_16(d, i), WGMMA_16(d, i + 16)
#define WGMMA_NAMES_32                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "   \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES_64                                                                             \
    WGMMA_NAMES_32                                                                                 \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
    "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

/* c [64, 128] = (more ? c : 0) + a [64, 16] b [128, 16]^T: both described by wgmma_rows.
 * c [64, 128] += a [64, 16] b [16, 128] and c [64, 64] += a [64, 16] b [16, 64]: a in registers,
 * b described by wgmma_columns. */
#define WGMMA_PRODUCTS(operand, type)                                                              \
    static __device__ __forceinline__ void wgmma_multiply(operand, float c[64], uint64_t a,        \
                                                          uint64_t b, int more)                    \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                  \
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                  \
                     " {" WGMMA_NAMES_64 "}, %64, %65, p, 1, 1, 0, 0;\n}\n"                        \
                     : WGMMA_32(c, 0), WGMMA_32(c, 32)                                             \
                     : "l"(a), "l"(b), "r"(more));                                                 \
    }                                                                                              \
    static __device__ __forceinline__ void wgmma_accumulate(operand, float (&c)[64],               \
                                                            const uint32_t a[4], uint64_t b)       \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                  \
                     " {" WGMMA_NAMES_64 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n}\n"          \
                     : WGMMA_32(c, 0), WGMMA_32(c, 32)                                             \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                        \
    }                                                                                              \
    static __device__ __forceinline__ void wgmma_accumulate(operand, float (&c)[32],               \
                                                            const uint32_t a[4], uint64_t b)       \
    {                                                                                              \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                   \
                     " {" WGMMA_NAMES_32 "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}\n"          \
                     : WGMMA_32(c, 0)                                                              \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                        \
    }

WGMMA_PRODUCTS(mma_bf16, "bf16")
WGMMA_PRODUCTS(mma_f16, "f16")
