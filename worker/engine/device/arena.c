/* Owns the mappings of large memory. Promises that a region's size is what the plan said, to the
 * byte, and that every piece is zero when it is handed out. */
#include "worker/engine/device/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE_BYTES = 2 << 20, PATH_BYTES = 32 };

struct arena {
    const char *name;
    unsigned char *start;
    size_t bytes;
    size_t used;
    void *mapping; /* start lies in it on a huge page's boundary */
    size_t mapping_bytes;
};

/* Room to align, where huge pages can be had at all. */
static size_t mapping_size(size_t bytes)
{
    return bytes < HUGE_PAGE_BYTES ? bytes : bytes + HUGE_PAGE_BYTES;
}

static enum status map_region(struct arena *arena)
{
    arena->mapping_bytes = mapping_size(arena->bytes);
    arena->mapping = mmap(NULL, arena->mapping_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena->mapping == MAP_FAILED)
        return fail(STATUS_RESOURCE_EXHAUSTED, "map %zu bytes for %s: %s", arena->bytes,
                    arena->name, strerror(errno));
    arena->start = arena->mapping;
    if (arena->bytes < HUGE_PAGE_BYTES)
        return STATUS_OK;
    const size_t past = (size_t)arena->start % HUGE_PAGE_BYTES;
    arena->start += past ? HUGE_PAGE_BYTES - past : 0;
    /* Advice: where the system has no huge pages, small ones do. */
    (void)madvise(arena->start, arena->bytes, MADV_HUGEPAGE);
    return STATUS_OK;
}

enum status arena_create(struct arena **arena, const char *name, size_t bytes)
{
    struct arena *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the arena %s", name);
    made->name = name;
    made->bytes = bytes;
    if (bytes > 0) {
        enum status status;
        TRY_ELSE(map_region(made), free_arena);
        *arena = made;
        return STATUS_OK;

    free_arena:
        free(made);
        return status;
    }
    *arena = made;
    return STATUS_OK;
}

enum status arena_create_over(struct arena **arena, const char *name, size_t bytes, int fd,
                              bool writes)
{
    struct arena *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the arena %s", name);
    *made = (struct arena){.name = name, .bytes = bytes, .mapping_bytes = bytes};
    const int access = writes ? PROT_READ | PROT_WRITE : PROT_READ;
    made->mapping = mmap(NULL, bytes, access, MAP_SHARED, fd, 0);
    if (made->mapping == MAP_FAILED) {
        free(made);
        return fail(STATUS_RESOURCE_EXHAUSTED, "map %zu shared bytes for %s: %s", bytes, name,
                    strerror(errno));
    }
    made->start = made->mapping;
    /* Advice, which counts only where the system lets shared memory have huge pages. */
    (void)madvise(made->start, bytes, MADV_HUGEPAGE);
    *arena = made;
    return STATUS_OK;
}

/* The same bytes through a descriptor that cannot write: a mapping that may become one for writing
 * again keeps a file from being sealed. */
static bool map_again(const struct arena *arena, int fd)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int reads = open(path, O_RDONLY | O_CLOEXEC);
    if (reads < 0)
        return false;
    const void *mapped =
        mmap(arena->mapping, arena->bytes, PROT_READ, MAP_SHARED | MAP_FIXED, reads, 0);
    close(reads);
    if (mapped == MAP_FAILED)
        return false;
    (void)madvise(arena->mapping, arena->bytes, MADV_HUGEPAGE);
    return true;
}

enum status arena_freeze(struct arena *arena, int fd)
{
    if (arena->bytes == 0)
        return STATUS_OK;
    if (fd >= 0 && map_again(arena, fd)) {
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        return STATUS_OK;
    }
    if (mprotect(arena->mapping, arena->mapping_bytes, PROT_READ) != 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "protect %zu bytes of %s: %s", arena->bytes,
                    arena->name, strerror(errno));
    return STATUS_OK;
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    if (arena->bytes > 0)
        munmap(arena->mapping, arena->mapping_bytes);
    free(arena);
}

enum status arena_take(struct arena *arena, void **piece, size_t bytes)
{
    const size_t left = arena->bytes - arena->used;
    const size_t rounded = arena_rounded(bytes);
    if (bytes > left || rounded > left)
        return fail(STATUS_INTERNAL,
                    "the plan gave %s %zu bytes, of which %zu are left; %zu were asked for",
                    arena->name, arena->bytes, left, bytes);
    *piece = arena->start + arena->used;
    arena->used += rounded;
    return STATUS_OK;
}

size_t arena_bytes(const struct arena *arena)
{
    return arena->bytes;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
