/* The folder for Open MPI's files: what is removed, and what is left alone. */
#include "tests/support/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/mpi_files.h"

static void write_file(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.2000s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void fill(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.2000s/ompi.host.0", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(path, "contact.txt");
    write_file(folder, "vader_segment.host.0.1");
}

static void a_folder_is_cleared_and_removed_with_all_that_is_in_it(void **state)
{
    (void)state;
    struct mpi_files *files = NULL;
    char folder[PATH_MAX], outside[] = "/tmp/mpi-files-XXXXXX", link[PATH_MAX];
    struct stat about;
    assert_non_null(mkdtemp(outside));
    write_file(outside, "kept");
    assert_int_equal(mpi_files_create(&files, NULL), STATUS_OK);
    snprintf(folder, sizeof folder, "%s", mpi_files_folder(files));
    assert_int_equal(stat(folder, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0700);
    fill(folder);
    snprintf(link, sizeof link, "%.2000s/link", folder);
    assert_int_equal(symlink(outside, link), 0);
    mpi_files_clear(files);
    assert_int_equal(rmdir(folder), 0); /* it is empty */
    assert_int_equal(mkdir(folder, 0700), 0);
    fill(folder);
    mpi_files_destroy(files);
    assert_int_equal(access(folder, F_OK), -1);
    snprintf(link, sizeof link, "%s/kept", outside);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(outside), 0);
}

static void what_a_dead_coordinator_left_is_removed_and_a_living_ones_is_not(void **state)
{
    (void)state;
    struct mpi_files *living = NULL, *next = NULL;
    char left[PATH_MAX] = "";
    int ends[2];
    assert_int_equal(mpi_files_create(&living, NULL), STATUS_OK);
    fill(mpi_files_folder(living));
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct mpi_files *own = NULL;
        if (mpi_files_create(&own, NULL) != STATUS_OK)
            _exit(1);
        fill(mpi_files_folder(own));
        const char *folder = mpi_files_folder(own);
        _exit(write(ends[1], folder, strlen(folder)) < 0);
    }
    int how = -1;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_true(read(ends[0], left, sizeof left - 1) > 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(access(left, F_OK), 0);
    assert_int_equal(mpi_files_create(&next, NULL), STATUS_OK);
    assert_int_equal(access(left, F_OK), -1);
    fill(mpi_files_folder(next));
    mpi_files_destroy(next);
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s/ompi.host.0/contact.txt", mpi_files_folder(living));
    assert_int_equal(access(kept, F_OK), 0);
    mpi_files_destroy(living);
}

static void a_folder_that_another_process_still_uses_is_left_alone(void **state)
{
    (void)state;
    struct mpi_files *next = NULL;
    char used[PATH_MAX] = "";
    int told[2], held[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(held), 0);
    pid_t coordinator = fork();
    if (coordinator == 0) {
        struct mpi_files *own = NULL;
        if (mpi_files_create(&own, NULL) != STATUS_OK)
            _exit(1);
        if (fork() == 0) { /* mpirun, which has the lock too and lives until `held` is closed */
            char end;
            close(held[1]);
            close(told[1]);
            _exit(read(held[0], &end, 1) != 0);
        }
        const char *folder = mpi_files_folder(own);
        _exit(write(told[1], folder, strlen(folder)) < 0);
    }
    int how = -1;
    assert_int_equal(waitpid(coordinator, &how, 0), coordinator);
    assert_int_equal(how, 0);
    assert_true(read(told[0], used, sizeof used - 1) > 0);
    assert_int_equal(mpi_files_create(&next, NULL), STATUS_OK);
    mpi_files_destroy(next);
    assert_int_equal(access(used, F_OK), 0);
    close(held[1]);
    close(held[0]);
    close(told[0]);
    close(told[1]);
    for (int i = 0; i < 100 && access(used, F_OK) == 0; i++) {
        usleep(20000);
        assert_int_equal(mpi_files_create(&next, NULL), STATUS_OK);
        mpi_files_destroy(next);
    }
    assert_int_equal(access(used, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_cleared_and_removed_with_all_that_is_in_it),
        cmocka_unit_test(what_a_dead_coordinator_left_is_removed_and_a_living_ones_is_not),
        cmocka_unit_test(a_folder_that_another_process_still_uses_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
