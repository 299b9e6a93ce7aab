/* Planned memory: exact, aligned, zero. */
#include "tests/support/unit.h"

#include "worker/engine/device/arena.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static bool all_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void pieces_are_zero_aligned_and_follow_each_other(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 0, 65, 4096, 3 << 20};
    size_t total = 0;
    for (size_t i = 0; i < 6; i++)
        total += arena_rounded(sizes[i]);
    struct arena *arena;
    assert_int_equal(arena_create(&arena, "pieces", total), STATUS_OK);
    assert_int_equal(arena_bytes(arena), total);
    unsigned char *end = NULL;
    for (size_t i = 0; i < 6; i++) {
        void *piece;
        assert_int_equal(arena_take(arena, &piece, sizes[i]), STATUS_OK);
        assert_int_equal((uintptr_t)piece % ARENA_ALIGNMENT, 0);
        if (end)
            assert_ptr_equal(piece, end);
        assert_true(all_zero(piece, sizes[i]));
        memset(piece, 0xAB, sizes[i]);
        end = (unsigned char *)piece + arena_rounded(sizes[i]);
    }
    assert_int_equal(arena_used(arena), total);
    arena_destroy(arena);
}

static void more_than_the_plan_gave_is_refused(void **state)
{
    (void)state;
    struct arena *arena;
    void *piece = &arena;
    assert_int_equal(arena_create(&arena, "keys", 128), STATUS_OK);
    assert_int_equal(arena_take(arena, &piece, 129), STATUS_INTERNAL);
    assert_non_null(strstr(status_message(), "keys"));
    assert_int_equal(arena_take(arena, &piece, SIZE_MAX), STATUS_INTERNAL);
    assert_ptr_equal(piece, &arena);
    assert_int_equal(arena_take(arena, &piece, 65), STATUS_OK);
    assert_int_equal(arena_take(arena, &piece, 1), STATUS_INTERNAL);
    arena_destroy(arena);
}

/* A child writes one byte; whether that ended it. */
static bool faults(unsigned char *byte)
{
    int how = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *byte = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    return WIFSIGNALED(how) && WTERMSIG(how) == SIGSEGV;
}

static void what_is_frozen_cannot_be_written(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    for (int shared = 0; shared < 2; shared++) {
        struct arena *arena;
        void *piece;
        const int fd = shared ? memfd_create("arena", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
        assert_int_equal(shared ? ftruncate(fd, BYTES) : 0, 0);
        assert_int_equal(shared ? arena_create_over(&arena, "weights", BYTES, fd, true)
                                : arena_create(&arena, "weights", BYTES),
                         STATUS_OK);
        assert_int_equal(arena_take(arena, &piece, BYTES), STATUS_OK);
        unsigned char *bytes = piece;
        memset(bytes, 7, BYTES);
        assert_false(faults(&bytes[BYTES - 1]));
        assert_int_equal(arena_freeze(arena, fd), STATUS_OK);
        assert_true(faults(&bytes[0]) && faults(&bytes[BYTES - 1]));
        assert_int_equal(bytes[0], 7);
        assert_int_equal(bytes[BYTES - 1], shared ? 1 : 7); /* the first child's */
        if (shared) {
            assert_int_not_equal(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, 0);
            assert_ptr_equal(mmap(NULL, BYTES, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
            close(fd);
        }
        arena_destroy(arena);
    }
}

static void an_empty_region_holds_only_empty_pieces(void **state)
{
    (void)state;
    struct arena *arena;
    void *piece;
    assert_int_equal(arena_create(&arena, "empty", 0), STATUS_OK);
    assert_int_equal(arena_take(arena, &piece, 0), STATUS_OK);
    assert_int_equal(arena_take(arena, &piece, 1), STATUS_INTERNAL);
    arena_destroy(arena);
    arena_destroy(NULL);
}

static void a_region_larger_than_memory_is_refused(void **state)
{
    (void)state;
    struct arena *arena;
    assert_int_equal(arena_create(&arena, "weights", (size_t)1 << 62), STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status_message(), "weights"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zero_aligned_and_follow_each_other),
        cmocka_unit_test(more_than_the_plan_gave_is_refused),
        cmocka_unit_test(what_is_frozen_cannot_be_written),
        cmocka_unit_test(an_empty_region_holds_only_empty_pieces),
        cmocka_unit_test(a_region_larger_than_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
