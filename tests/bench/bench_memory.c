#include "tests/bench/bench_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, CACHE_LINE = 64 };

void *bench_memory(size_t bytes)
{
    const size_t align = bytes < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;
    void *memory = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!memory) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    if (align == HUGE_PAGE)
        (void)madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 0, bytes);
    return memory;
}
