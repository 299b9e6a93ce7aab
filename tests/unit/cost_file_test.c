/* The file of measured rates: what is written is read again bit for bit, whatever is wrong is
 * refused with its place, and a worker's table follows from the row that suits it. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cost_file.h"

static struct cost_measured_row row_of(int threads, double unit)
{
    return (struct cost_measured_row){
        .threads = threads,
        .table = {.linear_flops = 1e11 * unit,
                  .attention_flops = 0x1.23456789abcdep+36 * unit,
                  .edge_keys = 17.5,
                  .layer_s = 1e-5,
                  .stage_s = 0.1 + 0.2,
                  .logits_flops = 3e9,
                  .memory_bytes = 9e9 + unit,
                  .keys_bytes = 7e9,
                  .token_s = 1e-4,
                  .load_bytes = 1e9},
    };
}

static struct cost_file sample(void)
{
    return (struct cost_file){
        .measured = "2026-11-30T19:00:00Z",
        .cpu = "a \"quoted\" \\ processor: # no comment",
        .cores = 2,
        .model = "m.gguf",
        .digest = "00ff",
        .weights = "Q4_1",
        .head_dim = 64,
        .rates = {.kernels = "avx2",
                  .rows = {row_of(1, 1), row_of(8, 7)},
                  .count = 2,
                  .within = {5e9, 1e-6, 2e-7},
                  .between = {1e8, 5e-4, 3e-6}},
    };
}

static char *text_of(const struct cost_file *file)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    cost_file_print(out, file);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct cost_file file = sample(), read;
    for (int links = 0; links < 3; links++) {
        if (links < 2)
            file.rates.between = (struct cost_link){.bytes_per_second = 0};
        if (links < 1)
            file.rates.within = (struct cost_link){.bytes_per_second = 0};
        char *text = text_of(&file);
        memset(&read, 0xff, sizeof read);
        if (cost_file_read_bytes(&read, "f", text, strlen(text)) != STATUS_OK)
            fail_msg("%s", status_message());
        char *again = text_of(&read);
        assert_string_equal(again, text);
        assert_string_equal(read.cpu, file.cpu);
        assert_memory_equal(&read.rates.rows[1], &file.rates.rows[1], sizeof file.rates.rows[1]);
        assert_memory_equal(&read.rates.within, &file.rates.within, sizeof file.rates.within);
        free(again);
        free(text);
        file = sample();
    }
}

/* `text` with the first `old` in it replaced. */
static char *changed(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    char *result = NULL;
    if (!at)
        fail_msg("the sample has no \"%s\"", old);
    assert_true(asprintf(&result, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) > 0);
    return result;
}

static void what_is_wrong_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new, *named;
    } cases[] = {
        {"version: 1", "version: 2", "f:3:12: costs.version"},
        {"  version: 1\n", "", "costs.version is missing"},
        {"cores: 2", "cores: 0", "machine.cores"},
        {"cores: 2", "cores: 1.5", "whole number"},
        {"cores: 2", "cores: nan", "\"nan\""},
        {"cores: 2", "cores: [2]", "not a list"},
        {"linear_flops: ", "linear_flops: -", "linear_flops"},
        {"linear_flops: ", "linear_flops: 1e400 #", "1e400"},
        {"linear_flops: ", "linear_flops: inf #", "inf"},
        {"linear_flops: ", "linear_flops: 0x10 #", "0x10"},
        {"linear_flops: ", "linear_flops: 0 #", "number from 1"},
        {"linear_flops: ", "bogus: 1\n    linear_flops: ",
         "bogus: a file of rates has no such key"},
        {"edge_keys: 17.5", "edge_keys: 17.5\n    edge_keys: 17.5", "edge_keys: is there twice"},
        {"    edge_keys: 17.5\n", "", "threads.1.edge_keys is missing"},
        {"  1:\n", "  0:\n", "threads"},
        {"  1:\n", "  one:\n", "\"one"},
        {"  8:\n", "  1:\n", "is there twice"},
        {"    latency_s: ", "    latency_s: 1e9 #", "latency_s"},
        {"  within:\n", "  beside:\n", "links.beside"},
        {"kernels: \"avx2\"", "kernels: \"a name of more than thirty-one bytes\"", "kernels"},
        {"cpu: ", "cpu: &a ", "anchors"},
        {"model:\n", "threads: 7\nmodel:\n", "threads"},
        {"costs:\n", "- costs\n", "f:2:1"},
    };
    const struct cost_file file = sample();
    char *text = text_of(&file);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct cost_file read = {.cores = 77};
        char *wrong = changed(text, cases[c].old, cases[c].new);
        assert_int_equal(cost_file_read_bytes(&read, "f", wrong, strlen(wrong)),
                         STATUS_INVALID_ARGUMENT);
        if (!strstr(status_message(), cases[c].named) || strncmp(status_message(), "f:", 2) != 0)
            fail_msg("case %zu: \"%s\" does not name %s", c, status_message(), cases[c].named);
        assert_int_equal(read.cores, 77);
        free(wrong);
    }
    /* Cut off anywhere it is never taken for whole, but at the end of the links. */
    for (size_t bytes = 0; bytes < strlen(text); bytes += 7) {
        struct cost_file read;
        if (cost_file_read_bytes(&read, "f", text, bytes) == STATUS_OK)
            assert_true(bytes > (size_t)(strstr(text, "load_bytes") - text));
    }
    free(text);
}

static void more_numbers_of_threads_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    char text[2048];
    size_t used = (size_t)snprintf(text, sizeof text, "costs: {version: 1}\nthreads:\n");
    for (int t = 1; t <= COST_MEASURED_THREADS_MAX + 1; t++)
        used += (size_t)snprintf(text + used, sizeof text - used, "  %d: {linear_flops: 1}\n", t);
    struct cost_file read;
    assert_int_equal(cost_file_read_bytes(&read, "f", text, used), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "more than 16 numbers of threads"));
}

static void a_file_is_replaced_as_a_whole_in_a_folder_that_is_made(void **state)
{
    (void)state;
    char folder[] = "/tmp/longhaul-costs-XXXXXX", path[128], above[64], beside[160];
    struct cost_file file = sample(), read;
    assert_non_null(mkdtemp(folder));
    snprintf(above, sizeof above, "%s/a", folder);
    snprintf(path, sizeof path, "%s/b.yaml", above);
    assert_int_equal(cost_file_read(&read, path), STATUS_NOT_FOUND);
    assert_int_equal(cost_file_write(&file, path), STATUS_OK);
    file.cores = 3;
    assert_int_equal(cost_file_write(&file, path), STATUS_OK);
    assert_int_equal(cost_file_read(&read, path), STATUS_OK);
    assert_int_equal(read.cores, 3);
    assert_int_equal(cost_file_write(&file, "/proc/no/such/folder.yaml"), STATUS_IO);
    snprintf(beside, sizeof beside, "%s/below", path);
    assert_int_equal(cost_file_read(&read, beside), STATUS_IO); /* more is wrong than no file */
    snprintf(beside, sizeof beside, "%s.part", path); /* of somebody who writes at the same time */
    assert_int_equal(mkdir(beside, 0700), 0);
    assert_int_equal(cost_file_write(&file, path), STATUS_OK);
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(unlink(path), 0); /* and nothing is left beside it */
    assert_int_equal(rmdir(above), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void the_file_lies_where_xdg_says(void **state)
{
    (void)state;
    char path[COST_FILE_PATH_BYTES];
    assert_int_equal(cost_file_default_path(path, "/c", "/h"), STATUS_OK);
    assert_string_equal(path, "/c/longhaul/costs.yaml");
    assert_int_equal(cost_file_default_path(path, "relative", "/h"), STATUS_OK);
    assert_string_equal(path, "/h/.local/state/longhaul/costs.yaml");
    assert_int_equal(cost_file_default_path(path, NULL, "/h"), STATUS_OK);
    assert_string_equal(path, "/h/.local/state/longhaul/costs.yaml");
    assert_int_equal(cost_file_default_path(path, "", NULL), STATUS_OK);
    assert_string_equal(path, "");
}

static void a_worker_gets_the_row_nearest_to_its_threads(void **state)
{
    (void)state;
    const struct cost_file file = sample();
    struct cost_table table = {.linear_flops = 5};
    assert_false(cost_measured_table(&table, &file.rates, "avx512", 8));
    assert_true(table.linear_flops == 5);
    assert_true(cost_measured_table(&table, &file.rates, "avx2", 8));
    assert_true(table.linear_flops == file.rates.rows[1].table.linear_flops);
    assert_true(table.between.latency_s == 5e-4 && table.within.bytes_per_second == 5e9);
    /* 2 is nearer to 1 than to 8, 3 is not; arithmetic goes with the threads, memory does not. */
    assert_true(cost_measured_table(&table, &file.rates, "avx2", 2));
    assert_true(table.linear_flops == 2 * 1e11);
    assert_true(table.memory_bytes == file.rates.rows[0].table.memory_bytes);
    assert_true(cost_measured_table(&table, &file.rates, "avx2", 3));
    assert_true(table.linear_flops == file.rates.rows[1].table.linear_flops * 3 / 8);
    assert_true(cost_measured_table(&table, &file.rates, "avx2", 0));
    assert_true(table.linear_flops == 1e11);
}

/* Today's estimates, written as a file, plan as they do without one. */
static void a_file_of_the_estimates_is_as_good_as_none(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads *= 2) {
        const struct cost_table estimate = cost_table_estimate("avx2", threads);
        struct cost_file file = sample(), read;
        struct cost_table table;
        file.rates = (struct cost_measured){.kernels = "avx2",
                                            .rows = {{threads, estimate}},
                                            .count = 1,
                                            .within = estimate.within,
                                            .between = estimate.between};
        /* What costs nothing in the estimates is as good as free in a file. */
        file.rates.rows[0].table.logits_flops = file.rates.rows[0].table.load_bytes = 1e21;
        char *text = text_of(&file);
        assert_int_equal(cost_file_read_bytes(&read, "f", text, strlen(text)), STATUS_OK);
        assert_true(cost_measured_table(&table, &read.rates, "avx2", threads));
        assert_true(table.logits_flops == 1e21 && table.load_bytes == 1e21);
        table.logits_flops = estimate.logits_flops;
        table.load_bytes = estimate.load_bytes;
        assert_memory_equal(&table, &estimate, offsetof(struct cost_table, host_ranks));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_is_wrong_is_refused_with_its_place),
        cmocka_unit_test(more_numbers_of_threads_than_there_is_room_for_are_refused),
        cmocka_unit_test(a_file_is_replaced_as_a_whole_in_a_folder_that_is_made),
        cmocka_unit_test(the_file_lies_where_xdg_says),
        cmocka_unit_test(a_worker_gets_the_row_nearest_to_its_threads),
        cmocka_unit_test(a_file_of_the_estimates_is_as_good_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
