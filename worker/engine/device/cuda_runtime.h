/* What the engine uses of CUDA, as tables of plain C functions: so the device and the transport
 * compile without the toolkit, and their tests run without a card, over tables that stand in
 * (tests/support/standin.h). The real one is cuda_runtime.c, which CMake adds with LONGHAUL_CUDA.
 *
 * Contract:
 * - One device per thread that calls: open() makes it current.
 * - Work on a stream runs late, in order within the stream; between streams only events order it.
 *   What a call is given by pointer to device or pinned memory is read and written when the work
 *   runs, not when it is put there. Argument structs are read by the call.
 * - allocate() gives memory that is 256-byte aligned and holds anything. The host does not touch
 *   it: it crosses by copy(), from and to pinned memory (host_allocate).
 * - An event stands for the last event_record before the call that names it. One never recorded is
 *   done.
 * - Between graph_begin and graph_end, work put on the stream is recorded, not done; graph_launch
 *   does it all again, with the same arguments.
 * - A call that fails words CUDA's reason; errors of work already under way come back from any
 *   later call, and the device is of no more use.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "proto/status.h"

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;
struct kernels_cuda;

struct cuda_facts {
    char name[96];
    char bus[24];
    int major, minor; /* compute capability */
    int processors;   /* multiprocessors */
    int64_t memory_bytes;
    int64_t free_bytes; /* when it was opened */
    int runtime_version, driver_version;
    int numa_node; /* of the host, nearest to it; -1: not known */
};

/* How one device gets at another's memory. */
enum cuda_link {
    CUDA_LINK_HOST,   /* not by itself: through the host */
    CUDA_LINK_PCIE,   /* directly, but without atomics, as over PCIe */
    CUDA_LINK_NVLINK, /* directly and with atomics, as over NVLink */
};

/* y[r][o] = (accumulate ? y[r][o] : 0) + sum_k x[r][k] * w[o][k], in float32. The three products of
 * a layer that learns, with its x [tokens, in], w [out, in] and y [tokens, out]:
 *
 *   | product        | rows, out, in      | x                 | w                |
 *   | y = x w^T      | tokens, out, in    | x                 | w                |
 *   | dx = dy w      | tokens, in, out    | dy                | w, w_transposed  |
 *   | dw += dy^T x   | out, in, tokens    | dy, x_transposed  | x, w_transposed  | */
struct cuda_product {
    float *y;          /* [rows, out], row r at y + r * y_stride */
    int64_t y_stride;  /* floats */
    const void *x;     /* [rows, in] operand, dense */
    const void *w;     /* [out, in] operand, dense */
    bool x_transposed; /* x lies as [in, rows] */
    bool w_transposed; /* w lies as [in, out] */
    enum dtype operand;
    int64_t rows;
    int64_t out;
    int64_t in;
    bool accumulate;
    void *workspace; /* 256-byte aligned */
    size_t workspace_bytes;
};

struct cuda_runtime {
    const char *name;       /* "cuda 13.0" */
    size_t workspace_bytes; /* that a product wants */
    enum status (*count)(int *devices);
    enum status (*open)(int device, struct cuda_facts *facts);
    enum status (*link)(enum cuda_link *link, int device, int other);

    enum status (*allocate)(void **memory, size_t bytes);
    void (*release)(void *memory); /* waits for all work; accepts NULL */
    enum status (*host_allocate)(void **memory, size_t bytes);
    void (*host_release)(void *memory); /* accepts NULL */
    bool (*on_device)(const void *memory);

    enum status (*stream_create)(struct CUstream_st **stream);
    void (*stream_destroy)(struct CUstream_st *stream); /* accepts NULL */
    enum status (*stream_wait)(struct CUstream_st *stream, struct CUevent_st *event);
    enum status (*copy)(void *to, const void *from, size_t bytes, struct CUstream_st *stream);
    enum status (*fill)(void *to, int byte, size_t bytes, struct CUstream_st *stream);
    enum status (*product)(const struct cuda_product *args, struct CUstream_st *stream);
    /* What a launch of struct kernels_cuda returned, as a status; `kernel` is its name. */
    enum status (*launched)(int code, const char *kernel);

    enum status (*event_create)(struct CUevent_st **event);
    void (*event_destroy)(struct CUevent_st *event); /* accepts NULL */
    enum status (*event_record)(struct CUevent_st *event, struct CUstream_st *stream);
    enum status (*event_query)(struct CUevent_st *event, bool *done);
    /* An event that event_seconds takes: it notes the device's clock when its stream gets there. */
    enum status (*timed_event_create)(struct CUevent_st **event);
    /* From one such event to another; both are done. */
    enum status (*event_seconds)(double *seconds, struct CUevent_st *from, struct CUevent_st *to);

    enum status (*graph_begin)(struct CUstream_st *stream);
    enum status (*graph_end)(struct CUstream_st *stream, struct CUgraphExec_st **graph);
    enum status (*graph_launch)(struct CUgraphExec_st *graph, struct CUstream_st *stream);
    void (*graph_destroy)(struct CUgraphExec_st *graph); /* accepts NULL */
};

/* One rank's streams on its device, with what its arithmetic and its exchange share. The exchange
 * waits for the arithmetic by events, and never the other way round but for gathers. */
struct cuda_streams {
    const struct cuda_runtime *runtime;
    const struct kernels_cuda *kernels;
    struct cuda_facts facts;
    char links[128];              /* to each device of the host, by number: "self,nvlink,host" */
    int device;                   /* its number */
    int ranks;                    /* of this host that share the device */
    int devices;                  /* on this host */
    struct CUstream_st *compute;  /* arithmetic */
    struct CUstream_st *exchange; /* sends and receives */
};

/* Takes device local_rank % devices. Several ranks on one device need `oversubscribe`
 * (FAILED_PRECONDITION says so). */
MUST_CHECK enum status cuda_streams_open(struct cuda_streams *streams,
                                         const struct cuda_runtime *runtime,
                                         const struct kernels_cuda *kernels, int local_rank,
                                         int local_size, bool oversubscribe);

/* sum[i] += values[i] on the compute stream, both in device memory. */
MUST_CHECK enum status cuda_streams_add(const struct cuda_streams *streams, float *sum,
                                        const float *values, size_t count);

/* Accepts one that is not open (all zero). */
void cuda_streams_close(struct cuda_streams *streams);
