/* Owns devices in host memory: their addresses, streams, events and graphs. Promises that nothing
 * runs when it is put on a stream, and that what runs next is drawn among all that may. */
#include "tests/support/standin.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "proto/clock.h"
#include "tests/support/standin_stream.h"
#include "worker/engine/device/cuda_error.h"

enum { STREAMS_MOST = 4, BLOCKS_MOST = 4096, ALIGNMENT = 256, GUARD_BYTES = 256, GUARD = 0xA5 };

#define SPACE_BYTES ((size_t)4 << 30)

struct piece {
    struct piece *next;
    standin_work *work;
    size_t bytes;
    _Alignas(16) char arguments[];
};

struct CUgraphExec_st {
    struct piece *first;
    struct piece *last;
};

struct CUstream_st {
    struct device_in_memory *device;
    struct piece *first;
    struct piece *last;
    struct CUgraphExec_st *capture;
};

struct CUevent_st {
    struct device_in_memory *device;
    uint64_t recorded;
    uint64_t completed;
    bool timed;
    int64_t completed_ns;
};

struct device_in_memory {
    pthread_mutex_t lock; /* held while a piece runs */
    struct CUstream_st *streams[STREAMS_MOST];
    int64_t fail_after;
    bool failed;
    bool taken; /* by a thread */
    struct device_in_memory *next;
};

/* A block of device memory, or a free one. */
struct block {
    size_t first, bytes;
    bool used;
};

static pthread_mutex_t space_lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static char *addresses;                                        /* nobody may touch them */
static char *behind;
static struct block blocks[BLOCKS_MOST];
static int block_count;
static struct {
    const char *memory;
    size_t bytes;
} pinned[BLOCKS_MOST];
static struct standin_counts counts;
static _Atomic int64_t bytes_to_host; /* under no lock */
static struct device_in_memory *all_devices;
static pthread_t mover;
static atomic_bool moving;
static _Atomic uint64_t random_state = 1;
static _Atomic int device_count = 64;
static _Thread_local struct device_in_memory *current;

uint32_t standin_random(void)
{
    uint64_t z = atomic_fetch_add(&random_state, 0x9E3779B97F4A7C15u) + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

void standin_seed(uint64_t seed)
{
    atomic_store(&random_state, seed);
    pthread_mutex_lock(&space_lock);
    counts.allocations = counts.captures = counts.graph_launches = 0;
    atomic_store(&bytes_to_host, 0);
    pthread_mutex_unlock(&space_lock);
}

void standin_device_count(int devices)
{
    atomic_store(&device_count, devices);
}

static atomic_int error_code = 700;

void standin_fail_with(int code)
{
    atomic_store(&error_code, code);
}

void standin_fail_after(int64_t calls)
{
    current->fail_after = calls;
}

struct standin_counts standin_counts(void)
{
    pthread_mutex_lock(&space_lock);
    struct standin_counts now = counts;
    now.bytes_to_host = atomic_load(&bytes_to_host);
    pthread_mutex_unlock(&space_lock);
    return now;
}

/* Real programs die of this later and elsewhere. */
static void broken(const char *what)
{
    fprintf(stderr, "stand-in device: %s\n", what);
    abort();
}

/* ---- work ---- */

enum status standin_put(struct CUstream_st *stream, standin_work *work, const void *arguments,
                        size_t bytes)
{
    struct piece *piece = malloc(sizeof *piece + bytes);
    assert(piece);
    *piece = (struct piece){.work = work, .bytes = bytes};
    memcpy(piece->arguments, arguments, bytes);
    pthread_mutex_lock(&stream->device->lock);
    struct piece **first = stream->capture ? &stream->capture->first : &stream->first;
    struct piece **last = stream->capture ? &stream->capture->last : &stream->last;
    if (*first)
        (*last)->next = piece;
    else
        *first = piece;
    *last = piece;
    pthread_mutex_unlock(&stream->device->lock);
    return STATUS_OK;
}

/* Under the device's lock: does the next piece of a stream drawn at random, if it may run. */
static bool step(struct device_in_memory *device)
{
    struct CUstream_st *busy[STREAMS_MOST];
    int count = 0;
    for (int s = 0; s < STREAMS_MOST; s++)
        if (device->streams[s] && device->streams[s]->first)
            busy[count++] = device->streams[s];
    if (count == 0)
        return false;
    struct CUstream_st *stream = busy[standin_random() % (uint32_t)count];
    struct piece *piece = stream->first;
    if (piece->work(piece->arguments)) {
        stream->first = piece->next;
        free(piece);
    }
    return true;
}

static void steps(struct device_in_memory *device, uint32_t most)
{
    pthread_mutex_lock(&device->lock);
    for (uint32_t n = standin_random() % (most + 1); n > 0 && step(device); n--)
        continue;
    pthread_mutex_unlock(&device->lock);
}

/* Devices move on by themselves, slowly: a rank may wait elsewhere than at its device. */
static void *move(void *unused)
{
    const struct timespec rest = {0, 100000};
    (void)unused;
    while (atomic_load(&moving)) {
        pthread_mutex_lock(&space_lock);
        for (struct device_in_memory *device = all_devices; device; device = device->next)
            if (pthread_mutex_trylock(&device->lock) == 0) {
                for (uint32_t n = standin_random() % 4; n > 0 && step(device); n--)
                    continue;
                pthread_mutex_unlock(&device->lock);
            }
        pthread_mutex_unlock(&space_lock);
        nanosleep(&rest, NULL);
    }
    return NULL;
}

static void stop_moving(void)
{
    atomic_store(&moving, false);
    pthread_join(mover, NULL);
    while (all_devices) {
        struct device_in_memory *next = all_devices->next;
        pthread_mutex_destroy(&all_devices->lock);
        free(all_devices);
        all_devices = next;
    }
}

static bool idle(struct device_in_memory *device)
{
    pthread_mutex_lock(&device->lock);
    bool any = false;
    for (int n = 0; n < 16; n++)
        any = step(device);
    pthread_mutex_unlock(&device->lock);
    return !any;
}

static void finish_all(struct device_in_memory *device)
{
    const int64_t end_ns = clock_after_ms(200000);
    while (!idle(device))
        if (clock_now_ns() > end_ns)
            broken("memory is released while work on a stream can never end");
}

/* ---- devices ---- */

static enum status call(void)
{
    if (!current)
        return fail(STATUS_INTERNAL, "CUDA error 201: invalid device context");
    if (current->fail_after > 0 && --current->fail_after == 0)
        current->failed = true;
    const int code = atomic_load(&error_code);
    if (current->failed)
        return fail(cuda_error_status(code), "CUDA error %d: told by a test", code);
    return STATUS_OK;
}

static enum status count_devices(int *devices)
{
    *devices = atomic_load(&device_count);
    return STATUS_OK;
}

/* Under space_lock. */
static struct device_in_memory *take_device(void)
{
    struct device_in_memory *device = all_devices;
    while (device && device->taken)
        device = device->next;
    if (!device) {
        device = calloc(1, sizeof *device);
        assert(device);
        pthread_mutex_init(&device->lock, NULL);
        device->next = all_devices;
        all_devices = device;
    }
    device->taken = true;
    device->failed = false;
    device->fail_after = 0;
    return device;
}

static enum status open_device(int number, struct cuda_facts *facts)
{
    pthread_mutex_lock(&space_lock);
    if (!addresses) {
        addresses =
            mmap(NULL, SPACE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        behind = mmap(NULL, SPACE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert(addresses != MAP_FAILED && behind != MAP_FAILED);
        blocks[0] = (struct block){0, SPACE_BYTES, false};
        block_count = 1;
        atomic_store(&moving, true);
        pthread_create(&mover, NULL, move, NULL);
        atexit(stop_moving);
    }
    if (!current)
        current = take_device();
    pthread_mutex_unlock(&space_lock);
    *facts = (struct cuda_facts){.name = "stand-in",
                                 .major = 9,
                                 .minor = 0,
                                 .processors = 4,
                                 .memory_bytes = (int64_t)SPACE_BYTES,
                                 .free_bytes = (int64_t)SPACE_BYTES,
                                 .runtime_version = 13000,
                                 .driver_version = 13000,
                                 .numa_node = -1};
    snprintf(facts->bus, sizeof facts->bus, "0000:%02x:00.0", number & 0xff);
    return STATUS_OK;
}

/* Pairs share the best link, fours the next. */
static enum status find_link(enum cuda_link *link, int device, int other)
{
    TRY(call());
    *link = device / 2 == other / 2   ? CUDA_LINK_NVLINK
            : device / 4 == other / 4 ? CUDA_LINK_PCIE
                                      : CUDA_LINK_HOST;
    return STATUS_OK;
}

/* ---- memory ---- */

static bool on_device(const void *memory)
{
    const char *at = memory;
    return addresses && at >= addresses && at < addresses + SPACE_BYTES;
}

void *standin_behind(const void *memory)
{
    return on_device(memory) ? behind + ((const char *)memory - addresses) : (void *)memory;
}

static void split_block(int which, size_t bytes)
{
    struct block *block = &blocks[which];
    if (block->bytes > bytes) {
        assert(block_count < BLOCKS_MOST);
        memmove(block + 2, block + 1, (size_t)(block_count - which - 1) * sizeof *block);
        block[1] = (struct block){block->first + bytes, block->bytes - bytes, false};
        block_count++;
        block->bytes = bytes;
    }
    block->used = true;
}

static enum status allocate(void **memory, size_t bytes)
{
    TRY(call());
    size_t whole = (bytes + GUARD_BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pthread_mutex_lock(&space_lock);
    int which = 0;
    while (which < block_count && (blocks[which].used || blocks[which].bytes < whole))
        which++;
    bool found = which < block_count;
    if (found) {
        split_block(which, whole);
        counts.allocations++;
        counts.allocated_bytes += (int64_t)whole;
        memset(behind + blocks[which].first, 0xFF, bytes);
        memset(behind + blocks[which].first + bytes, GUARD, whole - bytes);
        /* The guard tells where it begins. */
        memcpy(behind + blocks[which].first + whole - sizeof bytes, &bytes, sizeof bytes);
        *memory = addresses + blocks[which].first;
    }
    pthread_mutex_unlock(&space_lock);
    return found ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "CUDA error 2: out of memory");
}

static void check_guard(const struct block *block)
{
    size_t bytes;
    const unsigned char *at = (const unsigned char *)behind + block->first;
    memcpy(&bytes, at + block->bytes - sizeof bytes, sizeof bytes);
    if (bytes >= block->bytes)
        broken("the end of a block was overwritten");
    for (size_t i = bytes; i < block->bytes - sizeof bytes; i++)
        if (at[i] != GUARD)
            broken("something wrote beyond the end of a block");
}

static void join_free_blocks(void)
{
    int kept = 0;
    for (int b = 1; b < block_count; b++) {
        if (!blocks[kept].used && !blocks[b].used)
            blocks[kept].bytes += blocks[b].bytes;
        else
            blocks[++kept] = blocks[b];
    }
    block_count = kept + 1;
}

static void release(void *memory)
{
    if (!memory)
        return;
    finish_all(current);
    pthread_mutex_lock(&space_lock);
    size_t first = (size_t)((char *)memory - addresses);
    int which = 0;
    while (which < block_count && (!blocks[which].used || blocks[which].first != first))
        which++;
    if (which == block_count)
        broken("memory that is not there is released");
    check_guard(&blocks[which]);
    counts.allocated_bytes -= (int64_t)blocks[which].bytes;
    blocks[which].used = false;
    join_free_blocks();
    pthread_mutex_unlock(&space_lock);
}

static enum status host_allocate(void **memory, size_t bytes)
{
    TRY(call());
    void *piece = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert(piece);
    memset(piece, 0xFF, bytes);
    pthread_mutex_lock(&space_lock);
    int which = 0;
    while (which < BLOCKS_MOST && pinned[which].memory)
        which++;
    assert(which < BLOCKS_MOST);
    pinned[which].memory = piece;
    pinned[which].bytes = bytes;
    counts.pinned_bytes += (int64_t)bytes;
    pthread_mutex_unlock(&space_lock);
    *memory = piece;
    return STATUS_OK;
}

static void host_release(void *memory)
{
    if (!memory)
        return;
    finish_all(current);
    pthread_mutex_lock(&space_lock);
    for (int p = 0; p < BLOCKS_MOST; p++)
        if (pinned[p].memory == memory) {
            counts.pinned_bytes -= (int64_t)pinned[p].bytes;
            pinned[p].memory = NULL;
        }
    pthread_mutex_unlock(&space_lock);
    free(memory);
}

/* Copies from ordinary memory would make CUDA wait. */
static void expect_reachable(const void *memory, size_t bytes)
{
    bool inside = on_device(memory) || bytes == 0;
    pthread_mutex_lock(&space_lock);
    for (int p = 0; p < BLOCKS_MOST && !inside; p++)
        inside = pinned[p].memory && (const char *)memory >= pinned[p].memory &&
                 (const char *)memory + bytes <= pinned[p].memory + pinned[p].bytes;
    pthread_mutex_unlock(&space_lock);
    if (!inside)
        broken("a copy names memory that is neither the device's nor pinned");
}

/* ---- streams and events ---- */

static enum status stream_create(struct CUstream_st **stream)
{
    TRY(call());
    int s = 0;
    while (s < STREAMS_MOST && current->streams[s])
        s++;
    assert(s < STREAMS_MOST);
    *stream = calloc(1, sizeof **stream);
    assert(*stream);
    (*stream)->device = current;
    pthread_mutex_lock(&current->lock);
    current->streams[s] = *stream;
    pthread_mutex_unlock(&current->lock);
    return STATUS_OK;
}

static void stream_destroy(struct CUstream_st *stream)
{
    if (!stream)
        return;
    struct device_in_memory *device = stream->device;
    finish_all(device);
    bool any = false;
    pthread_mutex_lock(&device->lock);
    for (int s = 0; s < STREAMS_MOST; s++) {
        if (device->streams[s] == stream)
            device->streams[s] = NULL;
        any = any || device->streams[s];
    }
    pthread_mutex_unlock(&device->lock);
    free(stream);
    if (any)
        return;
    /* Its thread has left it: the next one may have it. */
    pthread_mutex_lock(&space_lock);
    device->taken = false;
    pthread_mutex_unlock(&space_lock);
    current = NULL;
}

struct event_piece {
    struct CUevent_st *event;
    uint64_t number;
};

static bool event_reached(void *arguments)
{
    const struct event_piece *piece = arguments;
    return piece->event->completed >= piece->number;
}

static bool event_reach(void *arguments)
{
    const struct event_piece *piece = arguments;
    if (piece->event->completed < piece->number)
        piece->event->completed = piece->number;
    piece->event->completed_ns = clock_now_ns();
    return true;
}

static enum status stream_wait(struct CUstream_st *stream, struct CUevent_st *event)
{
    TRY(call());
    if (stream->capture)
        broken("a captured stream waits for an event of another one");
    const struct event_piece piece = {event, event->recorded};
    return standin_put(stream, event_reached, &piece, sizeof piece);
}

static enum status event_create(struct CUevent_st **event)
{
    TRY(call());
    *event = calloc(1, sizeof **event);
    assert(*event);
    (*event)->device = current;
    return STATUS_OK;
}

static enum status timed_event_create(struct CUevent_st **event)
{
    TRY(event_create(event));
    (*event)->timed = true;
    return STATUS_OK;
}

static enum status event_seconds(double *seconds, struct CUevent_st *from, struct CUevent_st *to)
{
    TRY(call());
    if (!from->timed || !to->timed)
        broken("the time between events that do not note it");
    pthread_mutex_lock(&to->device->lock);
    const bool done = from->completed >= from->recorded && to->completed >= to->recorded;
    *seconds = 1e-9 * (double)(to->completed_ns - from->completed_ns);
    pthread_mutex_unlock(&to->device->lock);
    return done ? STATUS_OK : fail(STATUS_INTERNAL, "CUDA error 600: device not ready");
}

static void event_destroy(struct CUevent_st *event)
{
    if (!event)
        return;
    finish_all(event->device);
    free(event);
}

static enum status event_record(struct CUevent_st *event, struct CUstream_st *stream)
{
    TRY(call());
    if (stream->capture)
        broken("an event is recorded in a captured stream");
    const struct event_piece piece = {event, ++event->recorded};
    return standin_put(stream, event_reach, &piece, sizeof piece);
}

static enum status event_query(struct CUevent_st *event, bool *done)
{
    TRY(call());
    steps(event->device, 6);
    pthread_mutex_lock(&event->device->lock);
    *done = event->completed >= event->recorded;
    pthread_mutex_unlock(&event->device->lock);
    return STATUS_OK;
}

/* ---- copies and products ---- */

struct copy_piece {
    void *to;
    const void *from;
    size_t bytes;
    int byte;     /* from is NULL */
    bool to_host; /* from the device */
};

static bool do_copy(void *arguments)
{
    const struct copy_piece *piece = arguments;
    if (piece->to_host)
        atomic_fetch_add(&bytes_to_host, (int64_t)piece->bytes);
    if (piece->from)
        memmove(piece->to, piece->from, piece->bytes);
    else
        memset(piece->to, piece->byte, piece->bytes);
    return true;
}

static enum status copy(void *to, const void *from, size_t bytes, struct CUstream_st *stream)
{
    TRY(call());
    expect_reachable(to, bytes);
    expect_reachable(from, bytes);
    const struct copy_piece piece = {standin_behind(to), standin_behind(from), bytes, 0,
                                     on_device(from) && !on_device(to)};
    return bytes ? standin_put(stream, do_copy, &piece, sizeof piece) : STATUS_OK;
}

static enum status fill(void *to, int byte, size_t bytes, struct CUstream_st *stream)
{
    TRY(call());
    expect_reachable(to, bytes);
    const struct copy_piece piece = {standin_behind(to), NULL, bytes, byte, false};
    return bytes ? standin_put(stream, do_copy, &piece, sizeof piece) : STATUS_OK;
}

static float *widened(const void *values, enum dtype operand, int64_t count)
{
    float *wide = malloc((size_t)count * sizeof *wide);
    const uint16_t *narrow = standin_behind(values);
    assert(wide);
    for (int64_t i = 0; i < count; i++)
        wide[i] =
            operand == DTYPE_F16 ? dtype_f32_from_f16(narrow[i]) : dtype_f32_from_bf16(narrow[i]);
    return wide;
}

static bool do_product(void *arguments)
{
    const struct cuda_product *args = arguments;
    float *x = widened(args->x, args->operand, args->rows * args->in);
    float *w = widened(args->w, args->operand, args->out * args->in);
    float *y = standin_behind(args->y);
    for (int64_t r = 0; r < args->rows; r++)
        for (int64_t o = 0; o < args->out; o++) {
            float sum = 0;
            for (int64_t k = 0; k < args->in; k++)
                sum += x[args->x_transposed ? k * args->rows + r : r * args->in + k] *
                       w[args->w_transposed ? k * args->out + o : o * args->in + k];
            float *to = y + r * args->y_stride + o;
            *to = args->accumulate ? *to + sum : sum;
        }
    free(x);
    free(w);
    return true;
}

static enum status product(const struct cuda_product *args, struct CUstream_st *stream)
{
    TRY(call());
    if ((uintptr_t)args->workspace % ALIGNMENT != 0)
        return fail(STATUS_INTERNAL, "cuBLAS error 7: the workspace lies at %p", args->workspace);
    return standin_put(stream, do_product, args, sizeof *args);
}

static enum status launched(int code, const char *kernel)
{
    TRY(call());
    return code == 0 ? STATUS_OK : fail(STATUS_INTERNAL, "%s: CUDA error %d", kernel, code);
}

/* ---- graphs ---- */

static enum status graph_begin(struct CUstream_st *stream)
{
    TRY(call());
    assert(!stream->capture);
    stream->capture = calloc(1, sizeof *stream->capture);
    assert(stream->capture);
    pthread_mutex_lock(&space_lock);
    counts.captures++;
    pthread_mutex_unlock(&space_lock);
    return STATUS_OK;
}

static enum status graph_end(struct CUstream_st *stream, struct CUgraphExec_st **graph)
{
    TRY(call());
    *graph = stream->capture;
    stream->capture = NULL;
    return STATUS_OK;
}

static enum status graph_launch(struct CUgraphExec_st *graph, struct CUstream_st *stream)
{
    TRY(call());
    for (const struct piece *piece = graph->first; piece; piece = piece->next)
        TRY(standin_put(stream, piece->work, piece->arguments, piece->bytes));
    pthread_mutex_lock(&space_lock);
    counts.graph_launches++;
    pthread_mutex_unlock(&space_lock);
    return STATUS_OK;
}

static void graph_destroy(struct CUgraphExec_st *graph)
{
    while (graph && graph->first) {
        struct piece *next = graph->first->next;
        free(graph->first);
        graph->first = next;
    }
    free(graph);
}

static const struct cuda_runtime runtime = {
    .name = "stand-in",
    .workspace_bytes = 256,
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
    .product = product,
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

const struct cuda_runtime *standin_runtime(void)
{
    return &runtime;
}
