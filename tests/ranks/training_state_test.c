/* Checkpoints: written by some ranks and read by others, whole or not at all. */
#include "tests/support/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/ranks.h"
#include "worker/trainer/state_folder.h"
#include "worker/trainer/state_header.h"
#include "worker/trainer/training_state.h"

enum { COUNT = 1003, RANKS_MOST = 4 };

static const char run_digest[] = "0123456789abcdef0123456789abcdef";

/* What the ranks do together, and what must come of it. */
struct scene {
    const char *folder;
    const char *run;
    int64_t step;
    int keep;
    bool reads;
    enum status status;
    bool found;
    int64_t found_step;
};

static float number(int array, size_t i, int64_t step)
{
    return (float)(array * 5000) + (float)i + (float)step / 1024.0f;
}

static enum status play(struct transport *t, void *context)
{
    struct scene *scene = context;
    const size_t first = optimiser_first(COUNT, t->rank, t->size);
    const size_t end = optimiser_first(COUNT, t->rank + 1, t->size);
    float weights[COUNT] = {0}, moments[COUNT] = {0}, variances[COUNT] = {0};
    struct training_state state = {.step = scene->step,
                                   .tokens = 10 * scene->step,
                                   .count = COUNT,
                                   .weights = weights,
                                   .mine = {first, end, moments, variances}};
    float *arrays[] = {weights, moments + 0, variances + 0};
    snprintf(state.run, sizeof state.run, "%s", scene->run);
    for (size_t i = 0; i < COUNT && !scene->reads; i++) {
        weights[i] = number(0, i, scene->step);
        moments[i] = number(1, first + i, scene->step);
        variances[i] = number(2, first + i, scene->step);
    }
    bool found = false;
    const enum status status = scene->reads
                                   ? training_state_read(t, scene->folder, &state, &found)
                                   : training_state_write(t, scene->folder, &state, scene->keep);
    bool right = status == scene->status && found == scene->found;
    if (found) {
        right = right && state.step == scene->found_step && state.tokens == 10 * state.step;
        for (size_t i = 0; i < COUNT; i++)
            right = right && weights[i] == number(0, i, state.step);
        for (int a = 1; a < 3; a++)
            for (size_t i = first; i < end; i++)
                right = right && arrays[a][i - first] == number(a, i, state.step);
    }
    if (!right && t->rank == 0)
        fprintf(stderr, "%s: %s\n", status_name(status), status_message());
    expect_on_all_ranks(t, right);
    return STATUS_OK;
}

static void act(struct scene scene, int ranks)
{
    scene.run = scene.run ? scene.run : run_digest;
    scene.keep = scene.keep ? scene.keep : TRAINING_STATE_KEEP_LEAST;
    struct scene scenes[RANKS_MOST];
    void *contexts[RANKS_MOST];
    for (int rank = 0; rank < RANKS_MOST; rank++) {
        scenes[rank] = scene;
        contexts[rank] = &scenes[rank];
    }
    assert_int_equal(ranks_run(ranks, NULL, play, contexts), STATUS_OK);
}

static char *make_folder(void)
{
    static char path[] = "/tmp/longhaul-state-XXXXXX";
    snprintf(path, sizeof path, "/tmp/longhaul-state-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void remove_folder(const char *folder)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static int names_in(const char *folder, char names[512])
{
    int count = 0, bytes = 0;
    names[0] = '\0';
    DIR *opened = opendir(folder);
    for (struct dirent *entry; opened && (entry = readdir(opened));) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        bytes += snprintf(names + bytes, 512 - (size_t)bytes, "%.60s ", entry->d_name);
    }
    closedir(opened);
    return count;
}

static void any_ranks_read_what_any_ranks_wrote(void **state)
{
    (void)state;
    const char *folder = make_folder();
    act((struct scene){.folder = folder, .reads = true}, 2);
    int64_t step = 0;
    for (int writers = 1; writers <= RANKS_MOST; writers++) {
        act((struct scene){.folder = folder, .step = ++step}, writers);
        for (int readers = 1; readers <= RANKS_MOST; readers++)
            act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = step},
                readers);
    }
    remove_folder(folder);
}

/* The files of one layout of ranks are those of another, byte for byte, but for the header. */
static void the_files_do_not_tell_who_wrote_them(void **state)
{
    (void)state;
    char *folders[2];
    char command[512];
    for (int f = 0; f < 2; f++) {
        folders[f] = strdup(make_folder());
        act((struct scene){.folder = folders[f], .step = 5}, f == 0 ? 1 : 3);
    }
    for (int f = 0; f < 3; f++) {
        snprintf(command, sizeof command, "cmp %s/step-000000005/%s %s/step-000000005/%s",
                 folders[0], state_folder_files[f], folders[1], state_folder_files[f]);
        assert_int_equal(system(command), 0);
    }
    for (int f = 0; f < 2; f++) {
        remove_folder(folders[f]);
        free(folders[f]);
    }
}

static void the_newest_are_kept_and_what_was_half_done_goes(void **state)
{
    (void)state;
    char names[512], path[256];
    const char *folder = make_folder();
    for (int64_t step = 8; step < 12; step++)
        act((struct scene){.folder = folder, .step = step, .keep = 3}, 2);
    snprintf(path, sizeof path, "%s/step-000000012.part", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/step-of-mine", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = 11}, 2);
    act((struct scene){.folder = folder, .step = 13, .keep = 2}, 2);
    assert_int_equal(names_in(folder, names), 3);
    assert_true(strstr(names, "step-000000011 ") && strstr(names, "step-000000013 ") &&
                strstr(names, "step-of-mine "));
    remove_folder(folder);
}

static void change_byte(const char *folder, int64_t step, const char *file, off_t at)
{
    char path[STATE_FOLDER_PATH_BYTES];
    unsigned char byte;
    assert_int_equal(state_folder_path(path, folder, step, file), STATUS_OK);
    const int descriptor = open(path, O_RDWR);
    assert_true(descriptor >= 0 && pread(descriptor, &byte, 1, at) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(descriptor, &byte, 1, at), 1);
    close(descriptor);
}

static void a_damaged_one_is_passed_over_and_none_is_an_error(void **state)
{
    (void)state;
    const char *folder = make_folder();
    for (int64_t step = 1; step <= 4; step++)
        act((struct scene){.folder = folder, .step = step, .keep = 4}, 3);
    change_byte(folder, 4, "moments", COUNT * 4 - 1);
    change_byte(folder, 3, "header", 20);
    act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = 2}, 2);
    char path[STATE_FOLDER_PATH_BYTES];
    assert_int_equal(state_folder_path(path, folder, 2, "weights"), STATUS_OK);
    assert_int_equal(truncate(path, 1000), 0);
    act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = 1}, 2);
    change_byte(folder, 1, "variances", 0);
    act((struct scene){.folder = folder, .reads = true, .status = STATUS_DATA_LOSS}, 2);
    remove_folder(folder);
}

/* What was passed over does not take the place of a whole one among those that are kept. */
static void a_damaged_one_is_not_kept(void **state)
{
    (void)state;
    const char *folder = make_folder();
    for (int64_t step = 10; step <= 30; step += 10)
        act((struct scene){.folder = folder, .step = step, .keep = 2}, 2);
    change_byte(folder, 30, "weights", 0);
    act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = 20}, 2);
    act((struct scene){.folder = folder, .step = 25, .keep = 2}, 2);
    change_byte(folder, 25, "weights", 0);
    act((struct scene){.folder = folder, .reads = true, .found = true, .found_step = 20}, 2);
    remove_folder(folder);
}

static void another_runs_checkpoint_is_refused(void **state)
{
    (void)state;
    const char *folder = make_folder();
    act((struct scene){.folder = folder, .step = 1}, 2);
    act((struct scene){.folder = folder,
                       .reads = true,
                       .run = "ffffffffffffffffffffffffffffffff",
                       .status = STATUS_FAILED_PRECONDITION},
        2);
    remove_folder(folder);
}

/* Every rank hears of what only one could not do. */
static void a_folder_that_cannot_be_written_ends_all_ranks(void **state)
{
    (void)state;
    act((struct scene){.folder = "/proc/none", .step = 1, .status = STATUS_IO}, 3);
}

static void a_header_of_any_bytes_is_read_or_refused(void **state)
{
    (void)state;
    struct state_part parts[2] = {{0, 10, {"a", "b", "c"}}, {10, 25, {"d", "e", "f"}}};
    struct state_header header = {3, 4, 25, "", 2, parts}, read;
    memset(header.run, '7', DIGEST_HEX_BYTES - 1);
    const size_t bytes = state_header_bytes(2);
    unsigned char *memory = malloc(bytes), *cut;
    state_header_write(memory, &header);
    assert_int_equal(state_header_read(&read, "h", memory, bytes), STATUS_OK);
    assert_int_equal(read.parts[1].end, 25);
    assert_string_equal(read.run, header.run);
    state_header_deinit(&read);
    for (size_t at = 0; at < bytes; at++) {
        memory[at] ^= 4;
        assert_int_equal(state_header_read(&read, "h", memory, bytes), STATUS_DATA_LOSS);
        memory[at] ^= 4;
        cut = malloc(at + 1);
        memcpy(cut, memory, at);
        assert_int_equal(state_header_read(&read, "h", cut, at), STATUS_DATA_LOSS);
        free(cut);
    }
    parts[1].first = 11; /* whole, and not end to end */
    state_header_write(memory, &header);
    assert_int_equal(state_header_read(&read, "h", memory, bytes), STATUS_DATA_LOSS);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_ranks_read_what_any_ranks_wrote),
        cmocka_unit_test(the_files_do_not_tell_who_wrote_them),
        cmocka_unit_test(the_newest_are_kept_and_what_was_half_done_goes),
        cmocka_unit_test(a_damaged_one_is_passed_over_and_none_is_an_error),
        cmocka_unit_test(a_damaged_one_is_not_kept),
        cmocka_unit_test(another_runs_checkpoint_is_refused),
        cmocka_unit_test(a_folder_that_cannot_be_written_ends_all_ranks),
        cmocka_unit_test(a_header_of_any_bytes_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
