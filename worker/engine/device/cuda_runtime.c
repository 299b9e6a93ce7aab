/* Owns nothing but the names: the table of CUDA, call by call. The runtime is linked statically,
 * the driver and cuBLASLt are looked for when somebody asks for a GPU. */
#include "worker/engine/device/cuda_runtime.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels_cuda.h"
#include "proto/log.h"
#include "worker/engine/device/cuda_error.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/device/cuda_products.h"

enum { WORKSPACE_BYTES = 32 << 20 };

static enum status check(cudaError_t code, const char *call)
{
    if (code == cudaSuccess)
        return STATUS_OK;
    return fail(cuda_error_status((int)code), "%s: CUDA error %d: %s", call, (int)code,
                cudaGetErrorString(code));
}

/* For what may not fail: its failure is a sign of an earlier one. */
static void mention(cudaError_t code, const char *call)
{
    if (code != cudaSuccess)
        log_line(LOG_WARN, "cleaning up", log_text("call", call), log_integer("cuda_error", code),
                 log_text("cause", cudaGetErrorString(code)));
}

static enum status count_devices(int *devices)
{
    *devices = 0;
    return check(cudaGetDeviceCount(devices), "cudaGetDeviceCount");
}

static enum status open_device(int number, struct cuda_facts *facts)
{
    struct cudaDeviceProp device;
    size_t free_bytes = 0;
    size_t all_bytes = 0;
    TRY(check(cudaSetDevice(number), "cudaSetDevice"));
    TRY(check(cudaGetDeviceProperties(&device, number), "cudaGetDeviceProperties"));
    TRY(check(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo"));
    *facts = (struct cuda_facts){
        .major = device.major,
        .minor = device.minor,
        .processors = device.multiProcessorCount,
        .memory_bytes = (int64_t)all_bytes,
        .free_bytes = (int64_t)free_bytes,
    };
    snprintf(facts->name, sizeof facts->name, "%.90s", device.name);
    TRY(check(cudaDeviceGetAttribute(&facts->numa_node, cudaDevAttrHostNumaId, number),
              "cudaDeviceGetAttribute"));
    TRY(check(cudaDeviceGetPCIBusId(facts->bus, sizeof facts->bus, number),
              "cudaDeviceGetPCIBusId"));
    TRY(check(cudaRuntimeGetVersion(&facts->runtime_version), "cudaRuntimeGetVersion"));
    return check(cudaDriverGetVersion(&facts->driver_version), "cudaDriverGetVersion");
}

static enum status find_link(enum cuda_link *link, int device, int other)
{
    int direct = 0;
    int atomic = 0;
    TRY(check(cudaDeviceGetP2PAttribute(&direct, cudaDevP2PAttrAccessSupported, device, other),
              "cudaDeviceGetP2PAttribute"));
    TRY(check(
        cudaDeviceGetP2PAttribute(&atomic, cudaDevP2PAttrNativeAtomicSupported, device, other),
        "cudaDeviceGetP2PAttribute"));
    *link = !direct ? CUDA_LINK_HOST : atomic ? CUDA_LINK_NVLINK : CUDA_LINK_PCIE;
    return STATUS_OK;
}

/* ---- memory ---- */

static enum status allocate(void **memory, size_t bytes)
{
    enum status status = check(cudaMalloc(memory, bytes), "cudaMalloc");
    return status == STATUS_RESOURCE_EXHAUSTED
               ? fail(status,
                      "the GPU has no %.2f GiB left: use more workers, a shorter --context, "
                      "or a method with a window",
                      (double)bytes / 0x1p30)
               : status;
}

static void release(void *memory)
{
    mention(cudaFree(memory), "cudaFree");
}

static enum status host_allocate(void **memory, size_t bytes)
{
    return check(cudaHostAlloc(memory, bytes ? bytes : 1, cudaHostAllocDefault), "cudaHostAlloc");
}

static void host_release(void *memory)
{
    if (memory)
        mention(cudaFreeHost(memory), "cudaFreeHost");
}

static bool on_device(const void *memory)
{
    struct cudaPointerAttributes attributes;
    if (cudaPointerGetAttributes(&attributes, memory) != cudaSuccess) {
        (void)cudaGetLastError(); /* an old driver calls ordinary memory an error */
        return false;
    }
    return attributes.type == cudaMemoryTypeDevice;
}

/* ---- streams and events ---- */

static enum status stream_create(struct CUstream_st **stream)
{
    return check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking),
                 "cudaStreamCreateWithFlags");
}

static void stream_destroy(struct CUstream_st *stream)
{
    if (stream)
        mention(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

static enum status stream_wait(struct CUstream_st *stream, struct CUevent_st *event)
{
    return check(cudaStreamWaitEvent(stream, event, 0), "cudaStreamWaitEvent");
}

static enum status copy(void *to, const void *from, size_t bytes, struct CUstream_st *stream)
{
    return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "cudaMemcpyAsync");
}

static enum status fill(void *to, int byte, size_t bytes, struct CUstream_st *stream)
{
    return check(cudaMemsetAsync(to, byte, bytes, stream), "cudaMemsetAsync");
}

static enum status launched(int code, const char *kernel)
{
    return check((cudaError_t)code, kernel);
}

static enum status event_create(struct CUevent_st **event)
{
    return check(cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                 "cudaEventCreateWithFlags");
}

static void event_destroy(struct CUevent_st *event)
{
    if (event)
        mention(cudaEventDestroy(event), "cudaEventDestroy");
}

static enum status event_record(struct CUevent_st *event, struct CUstream_st *stream)
{
    return check(cudaEventRecord(event, stream), "cudaEventRecord");
}

static enum status event_query(struct CUevent_st *event, bool *done)
{
    const cudaError_t code = cudaEventQuery(event);
    *done = code == cudaSuccess;
    if (code != cudaErrorNotReady)
        return check(code, "cudaEventQuery");
    (void)cudaGetLastError(); /* the next launch would take it for its own */
    return STATUS_OK;
}

static enum status timed_event_create(struct CUevent_st **event)
{
    return check(cudaEventCreate(event), "cudaEventCreate");
}

static enum status event_seconds(double *seconds, struct CUevent_st *from, struct CUevent_st *to)
{
    float ms;
    TRY(check(cudaEventElapsedTime(&ms, from, to), "cudaEventElapsedTime"));
    *seconds = 1e-3 * (double)ms;
    return STATUS_OK;
}

/* ---- graphs ---- */

static enum status graph_begin(struct CUstream_st *stream)
{
    return check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed),
                 "cudaStreamBeginCapture");
}

static enum status graph_end(struct CUstream_st *stream, struct CUgraphExec_st **graph)
{
    cudaGraph_t recorded;
    TRY(check(cudaStreamEndCapture(stream, &recorded), "cudaStreamEndCapture"));
    enum status status = check(cudaGraphInstantiate(graph, recorded, 0), "cudaGraphInstantiate");
    mention(cudaGraphDestroy(recorded), "cudaGraphDestroy");
    return status;
}

static enum status graph_launch(struct CUgraphExec_st *graph, struct CUstream_st *stream)
{
    return check(cudaGraphLaunch(graph, stream), "cudaGraphLaunch");
}

static void graph_destroy(struct CUgraphExec_st *graph)
{
    if (graph)
        mention(cudaGraphExecDestroy(graph), "cudaGraphExecDestroy");
}

static struct cuda_runtime runtime = {
    .name = "cuda",
    .workspace_bytes = WORKSPACE_BYTES,
    .count = count_devices,
    .open = open_device,
    .link = find_link,
    .allocate = allocate,
    .release = release,
    .host_allocate = host_allocate,
    .host_release = host_release,
    .on_device = on_device,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_wait = stream_wait,
    .copy = copy,
    .fill = fill,
    .product = cuda_products_run,
    .launched = launched,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_query = event_query,
    .timed_event_create = timed_event_create,
    .event_seconds = event_seconds,
    .graph_begin = graph_begin,
    .graph_end = graph_end,
    .graph_launch = graph_launch,
    .graph_destroy = graph_destroy,
};

bool cuda_find_built(void)
{
    return true;
}

enum status cuda_find_load_eagerly(void)
{
    return setenv("CUDA_MODULE_LOADING", "EAGER", 0) == 0
               ? STATUS_OK
               : fail(STATUS_RESOURCE_EXHAUSTED, "set CUDA_MODULE_LOADING: %s", strerror(errno));
}

enum status cuda_find(const struct cuda_runtime **found, const struct kernels_cuda **kernels)
{
    static char name[32];
    int devices = 0;
    int version = 0;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (!driver)
        return fail(STATUS_FAILED_PRECONDITION,
                    "no GPU: libcuda.so.1 is not here; it comes with the NVIDIA driver");
    dlclose(driver);
    const cudaError_t code = cudaGetDeviceCount(&devices);
    if (code != cudaSuccess || devices == 0)
        return fail(STATUS_FAILED_PRECONDITION, "no GPU: CUDA says %d, %s", (int)code,
                    code == cudaSuccess ? "no device" : cudaGetErrorString(code));
    TRY(cuda_products_load());
    TRY(check(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion"));
    snprintf(name, sizeof name, "cuda %d.%d", version / 1000, version % 1000 / 10);
    runtime.name = name;
    *found = &runtime;
    *kernels = kernels_cuda_find();
    return STATUS_OK;
}
