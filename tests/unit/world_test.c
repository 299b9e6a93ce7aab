/* Who is a rank of what, by what launchers leave in the environment. */
#include "tests/support/unit.h"

#include <string.h>

#include "worker/world.h"

/* As real ones set them. */
static const struct world_environment by_hand = {.ompi_size = NULL};
static const struct world_environment batch_script = {.slurm_process = "0"};
static const struct world_environment mpirun = {
    .ompi_size = "4", .ompi_rank = "3", .pmix_namespace = "1097465857", .pmix_rank = "3"};
/* On a remote host of a job srun has started mpirun's daemon, one a host. */
static const struct world_environment mpirun_in_a_job = {.ompi_size = "4",
                                                         .ompi_rank = "3",
                                                         .pmix_namespace = "1097465857",
                                                         .pmix_rank = "3",
                                                         .slurm_tasks = "1",
                                                         .slurm_process = "0"};
static const struct world_environment srun_pmix = {
    .pmix_namespace = "slurm.pmix.1.0", .pmix_rank = "1", .slurm_tasks = "2", .slurm_process = "1"};
static const struct world_environment srun_none = {.slurm_tasks = "2", .slurm_process = "1"};
static const struct world_environment srun_pmi2 = {
    .pmi_size = "2", .pmi_rank = "1", .slurm_tasks = "2", .slurm_process = "1"};
static const struct world_environment srun_one_task = {
    .pmix_namespace = "slurm.pmix.1.0", .pmix_rank = "0", .slurm_tasks = "1", .slurm_process = "0"};
static const struct world_environment other_pmix = {.pmix_namespace = "prterun-host-1@1",
                                                    .pmix_rank = "2"};

static void expect(const struct world_environment *environment, const char *transport, int ranks,
                   bool mpi, int tasks, int rank)
{
    struct world world;
    assert_int_equal(world_find(&world, environment, transport, ranks), STATUS_OK);
    assert_int_equal(world.mpi, mpi);
    assert_int_equal(world.tasks, tasks);
    assert_int_equal(world.rank, rank);
}

static void expect_refusal(const struct world_environment *environment, const char *transport,
                           int ranks, enum status status, const char *words)
{
    struct world world;
    assert_int_equal(world_find(&world, environment, transport, ranks), status);
    if (!strstr(status_message(), words))
        fail_msg("\"%s\" is not in: %s", words, status_message());
}

static void processes_that_were_started_together_are_one_group(void **state)
{
    (void)state;
    expect(&mpirun, "auto", 1, true, 4, 3);
    expect(&mpirun_in_a_job, "auto", 1, true, 4, 3);
    expect(&mpirun, "nccl", 1, true, 4, 3);
    expect(&srun_pmix, "auto", 1, true, 2, 1);
    expect(&srun_pmix, "mpi", 1, true, 2, 1);
    expect(&other_pmix, "auto", 1, true, 0, 2);
}

static void a_process_alone_needs_no_mpi(void **state)
{
    (void)state;
    expect(&by_hand, "auto", 1, false, 0, 0);
    expect(&by_hand, "nccl", 2, false, 0, 0);
    expect(&by_hand, "auto", 4, false, 0, 0);
    expect(&batch_script, "auto", 1, false, 0, 0);
    expect(&srun_one_task, "auto", 1, false, 1, 0);
    expect(&srun_one_task, "auto", 4, false, 1, 0);
    expect(&by_hand, "mpi", 1, true, 0, 0);
}

static void tasks_that_mpi_cannot_join_are_refused(void **state)
{
    (void)state;
    const char *const transports[] = {"auto", "mpi", "nccl"};
    for (size_t t = 0; t < sizeof transports / sizeof transports[0]; t++)
        expect_refusal(&srun_none, transports[t], 1, STATUS_FAILED_PRECONDITION,
                       "srun started 2 workers");
    expect(&srun_none, "loopback", 1, false, 2, 1);
    expect(&srun_none, "loopback", 3, false, 2, 1);
}

static void ranks_are_threads_or_processes(void **state)
{
    (void)state;
    expect_refusal(&mpirun, "auto", 2, STATUS_INVALID_ARGUMENT, "--ranks");
    expect_refusal(&srun_pmix, "auto", 2, STATUS_INVALID_ARGUMENT, "srun");
    expect_refusal(&by_hand, "mpi", 2, STATUS_INVALID_ARGUMENT, "--transport mpi");
}

/* Open MPI without PMI-2 makes worlds of one under srun --mpi=pmi2, and says nothing. */
static void a_world_of_another_size_is_refused(void **state)
{
    (void)state;
    struct world world;
    assert_int_equal(world_find(&world, &srun_pmi2, "auto", 1), STATUS_OK);
    assert_true(world.mpi);
    assert_int_equal(world_check(&world, 2), STATUS_OK);
    assert_int_equal(world_check(&world, 1), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "srun started 2 workers, and MPI found 1"));
    assert_int_equal(world_find(&world, &other_pmix, "auto", 1), STATUS_OK);
    assert_int_equal(world_check(&world, 3), STATUS_OK);
}

static void what_is_no_number_counts_as_not_set(void **state)
{
    (void)state;
    const char *const texts[] = {"", "x", "2x", "-2", "0", "99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct world_environment environment = {.ompi_size = texts[i],
                                                      .slurm_tasks = texts[i],
                                                      .pmi_size = texts[i],
                                                      .pmix_rank = texts[i]};
        expect(&environment, "auto", 1, false, 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_that_were_started_together_are_one_group),
        cmocka_unit_test(a_process_alone_needs_no_mpi),
        cmocka_unit_test(tasks_that_mpi_cannot_join_are_refused),
        cmocka_unit_test(ranks_are_threads_or_processes),
        cmocka_unit_test(a_world_of_another_size_is_refused),
        cmocka_unit_test(what_is_no_number_counts_as_not_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
