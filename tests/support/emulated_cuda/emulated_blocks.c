/* Owns the fibers: their stacks, who waits for what, and whose turn it is. */
#include "tests/support/emulated_cuda/emulated_blocks.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "kernels/variants_cuda.h"
#include "tests/support/random.h"

enum {
    LANES = 32,
    WARPS_MAX = 32,
    STACK_BYTES = 96 * 1024,
    BROUGHT_BYTES = 64,
    SHARED_MAX = 163 * 1024, /* of sm_80: the smallest that the kernels must do with */
    COPIES_MAX = 512,
    POISON = 0xff,
};

enum waiting { RUNS, WAITS_FOR_WARP, WAITS_FOR_BLOCK, ENDED };

struct copy {
    uint32_t to;
    const void *from;
    bool there;
    int group;
};

struct fiber {
    ucontext_t start;
    jmp_buf at;
    bool started;
    enum waiting waiting;
    char *stack;
    struct copy copies[COPIES_MAX];
    int copy_count;
    int groups; /* committed */
};

struct warp {
    int arrived;
    int kind;
    unsigned generation;
    char brought[2][LANES][BROUGHT_BYTES];
};

struct emulated_place emulated_thread, emulated_block, emulated_block_size;
static _Alignas(128) char shared_memory[SHARED_MAX];
char *emulated_shared = shared_memory;

static struct fiber fibers[LANES * WARPS_MAX];
static struct warp warps[WARPS_MAX];
static jmp_buf scheduler;
static unsigned threads, current;
static unsigned ended, at_barrier;
static void (*running)(void *context);
static void *running_context;
static struct random order = {1};

static void stop(const char *what)
{
    fprintf(stderr, "emulated CUDA, block (%u, %u, %u), thread %u: %s\n", emulated_block.x,
            emulated_block.y, emulated_block.z, current, what);
    abort();
}

static void enter(void)
{
    running(running_context);
    fibers[current].waiting = ENDED;
    ended++;
    _longjmp(scheduler, 1);
}

/* Gives the turn back until this fiber may run again. */
static void wait_as(enum waiting waiting)
{
    struct fiber *fiber = &fibers[current];
    fiber->waiting = waiting;
    if (_setjmp(fiber->at) == 0)
        _longjmp(scheduler, 1);
}

static void resume(unsigned number)
{
    struct fiber *fiber = &fibers[number];
    current = number;
    emulated_thread.x = number;
    if (_setjmp(scheduler) != 0)
        return;
    if (fiber->started)
        _longjmp(fiber->at, 1);
    fiber->started = true;
    if (!fiber->stack)
        fiber->stack = malloc(STACK_BYTES);
    if (!fiber->stack || getcontext(&fiber->start) != 0)
        stop("no memory for a stack");
    fiber->start.uc_stack.ss_sp = fiber->stack;
    fiber->start.uc_stack.ss_size = STACK_BYTES;
    fiber->start.uc_link = NULL;
    makecontext(&fiber->start, enter, 0);
    setcontext(&fiber->start);
}

/* Lets the warp's lanes run until none can; or only up to a meeting, now and then. */
static bool run_warp(unsigned warp)
{
    bool any = false;
    for (bool more = true; more;) {
        more = false;
        for (unsigned lane = 0; lane < LANES; lane++) {
            if (fibers[warp * LANES + lane].waiting != RUNS)
                continue;
            resume(warp * LANES + lane);
            any = more = true;
        }
        if (random_between(&order, 0, 64) == 0)
            break;
    }
    return any;
}

static void run_block(void)
{
    const unsigned count = threads / LANES;
    ended = at_barrier = 0;
    memset(warps, 0, sizeof warps);
    for (unsigned t = 0; t < threads; t++) {
        fibers[t].started = false;
        fibers[t].waiting = RUNS;
        fibers[t].copy_count = fibers[t].groups = 0;
    }
    for (unsigned idle = 0; ended < threads;) {
        const unsigned first = (unsigned)random_between(&order, 0, count);
        idle = 0;
        for (unsigned w = 0; w < count; w++)
            idle += !run_warp((first + w) % count);
        if (idle == count && ended < threads)
            stop("every thread waits: a barrier or a warp-wide operation that not all reach");
    }
}

void emulated_launch(struct emulated_place grid, unsigned block_threads, size_t shared_bytes,
                     void (*kernel)(void *context), void *context)
{
    if (block_threads % LANES != 0 || block_threads > LANES * WARPS_MAX ||
        shared_bytes > SHARED_MAX)
        stop("a launch that no device would take");
    threads = block_threads;
    running = kernel;
    running_context = context;
    emulated_block_size = (struct emulated_place){block_threads, 1, 1};
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                emulated_block = (struct emulated_place){x, y, z};
                memset(shared_memory, POISON, shared_bytes);
                run_block();
            }
}

const char *emulated_exchange(int kind, const void *mine, size_t bytes)
{
    const unsigned number = current / LANES, lane = current % LANES;
    struct warp *warp = &warps[number];
    const unsigned side = warp->generation % 2;
    if (warp->arrived > 0 && warp->kind != kind)
        stop("lanes of a warp meet at different operations");
    warp->kind = kind;
    memcpy(warp->brought[side][lane], mine, bytes);
    if (++warp->arrived == LANES) {
        warp->arrived = 0;
        warp->generation++;
        for (unsigned l = 0; l < LANES; l++)
            fibers[number * LANES + l].waiting = RUNS;
    } else {
        wait_as(WAITS_FOR_WARP);
    }
    return warp->brought[side][0];
}

void emulated_barrier(void)
{
    if (++at_barrier == threads) {
        at_barrier = 0;
        for (unsigned t = 0; t < threads; t++)
            fibers[t].waiting = RUNS;
    } else {
        wait_as(WAITS_FOR_BLOCK);
    }
}

void emulated_copy(uint32_t to, const void *from, bool there)
{
    struct fiber *fiber = &fibers[current];
    if (fiber->copy_count == COPIES_MAX || to % 16 != 0 || (uintptr_t)from % 16 != 0 ||
        to + 16 > SHARED_MAX)
        stop("a copy that no device would take");
    memset(shared_memory + to, POISON, 16);
    fiber->copies[fiber->copy_count++] = (struct copy){to, from, there, fiber->groups};
}

void emulated_copy_commit(void)
{
    fibers[current].groups++;
}

void emulated_copy_wait(int pending)
{
    struct fiber *fiber = &fibers[current];
    int kept = 0;
    for (int c = 0; c < fiber->copy_count; c++) {
        const struct copy *copy = &fiber->copies[c];
        if (copy->group >= fiber->groups - pending)
            fiber->copies[kept++] = *copy;
        else if (copy->there)
            memcpy(shared_memory + copy->to, copy->from, 16);
        else
            memset(shared_memory + copy->to, 0, 16);
    }
    fiber->copy_count = kept;
}

/* Its instructions are not emulated: nothing is put in the place of the portable kernels. */
void attention_hopper_cuda_install(struct kernels_cuda *kernels)
{
    (void)kernels;
}
