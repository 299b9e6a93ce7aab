/* Which hosts own workers run on: a Slurm job's, those that are named, this one. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/allocation.h"

/* As sbatch --nodes=2 --ntasks-per-node=1 --cpus-per-task=2 has it, without confinement. */
static const struct allocation_environment two_nodes = {
    .job = "12",
    .nodes = "lh[1-2]",
    .tasks_per_node = "1(x2)",
    .tasks_asked = "1",
    .cores_per_task = "2",
    .cores_per_node = "2(x2)",
    .cores_here = "2",
    .node = "lh1",
    .host = "lh1",
    .usable_cores = 8,
};
static const struct allocation_environment no_job = {.host = "lh1", .usable_cores = 8};
static const struct allocation_asked nothing_said = {
    .hosts = "", .hostfile = "", .hostfile_text = ""};

/* "lh1:2 lh2:1 remote workers=3 threads=4" */
static void expect(const struct allocation_asked *asked,
                   const struct allocation_environment *environment, const char *wanted)
{
    struct allocation found;
    char text[512] = "";
    assert_int_equal(allocation_find(&found, asked, environment), STATUS_OK);
    for (int i = 0; i < found.list.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%d ",
                 found.list.hosts[i].name, found.dealt[i]);
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s workers=%d threads=%d",
             found.remote ? "remote" : "here", found.workers, found.threads);
    assert_string_equal(text, wanted);
    assert_int_equal(found.remote, found.here < found.workers);
    allocation_free(&found);
}

static void a_job_is_used_with_its_tasks_and_cores(void **state)
{
    (void)state;
    struct allocation_environment environment = two_nodes;
    struct allocation_asked asked = nothing_said;
    expect(&asked, &environment, "lh1:1 lh2:1 remote workers=2 threads=2");
    asked.workers = 4;
    expect(&asked, &environment, "lh1:2 lh2:2 remote workers=4 threads=1");
    asked.threads = 3;
    expect(&asked, &environment, "lh1:2 lh2:2 remote workers=4 threads=3");
    asked = nothing_said;
    environment.tasks_per_node = "2(x2)"; /* sbatch --nodes=2 --ntasks=4 --cpus-per-task=1 */
    environment.tasks_asked = NULL;
    environment.cores_per_task = "1";
    expect(&asked, &environment, "lh1:2 lh2:2 remote workers=4 threads=1");
    environment.cores_per_task = NULL; /* tasks alone are cores */
    expect(&asked, &environment, "lh1:1 lh2:1 remote workers=2 threads=2");
    environment.usable_cores = 2; /* Slurm confines: a worker sees its cores */
    expect(&asked, &environment, "lh1:1 lh2:1 remote workers=2 threads=0");
    asked.workers = 1;
    expect(&asked, &environment, "lh1:1 lh2:0 here workers=1 threads=0");
}

static void this_host_comes_first_where_it_is_one_of_them(void **state)
{
    (void)state;
    struct allocation_environment environment = two_nodes;
    struct allocation_asked asked = nothing_said;
    environment.node = "lh2";
    environment.host = "login"; /* Slurm calls it otherwise */
    expect(&asked, &environment, "lh2:1 lh1:1 remote workers=2 threads=2");
    environment.node = NULL; /* salloc's shell on the login host */
    environment.cores_here = NULL;
    expect(&asked, &environment, "lh1:1 lh2:1 remote workers=2 threads=0");
    environment.nodes = "lh9";
    environment.tasks_per_node = "1";
    environment.cores_per_node = "2";
    expect(&asked, &environment, "lh9:1 remote workers=1 threads=0");
}

static void a_task_of_srun_keeps_to_its_host(void **state)
{
    (void)state;
    struct allocation_environment environment = two_nodes;
    struct allocation_asked asked = nothing_said;
    struct allocation found;
    environment.step = "0";
    environment.step_tasks = "2";
    environment.tasks_per_node = "2(x2)"; /* are the job's, not this task's */
    expect(&asked, &environment, "lh1:1 here workers=1 threads=0");
    environment.node = "lh2";
    asked.workers = 2; /* which mpirun would start on both hosts, if it were not told */
    expect(&asked, &environment, "lh2:2 here workers=2 threads=0");
    assert_int_equal(allocation_find(&found, &asked, &environment), STATUS_OK);
    assert_non_null(strstr(found.unused, "one of 2,"));
    allocation_free(&found);
    environment.step_tasks = "1"; /* srun --pty */
    assert_int_equal(allocation_find(&found, &asked, &environment), STATUS_OK);
    assert_non_null(strstr(found.unused, "SLURM_STEP_NUM_TASKS unset"));
    allocation_free(&found);
    environment.node = "elsewhere"; /* neither name is in the list */
    environment.host = "elsewhere";
    expect(&asked, &environment, "here workers=2 threads=0");
    environment = two_nodes;
    environment.step_tasks = "2";
    environment.nodes = "lh1"; /* then there is nothing that it leaves alone */
    environment.tasks_per_node = "2";
    environment.cores_per_node = "4";
    expect(&nothing_said, &environment, "lh1:1 here workers=1 threads=0");
    assert_int_equal(allocation_find(&found, &nothing_said, &environment), STATUS_OK);
    assert_string_equal(found.unused, "");
    allocation_free(&found);
}

/* With LaunchParameters=use_interactive_step this is a step of one task. */
static void the_shell_of_salloc_has_the_whole_job(void **state)
{
    (void)state;
    struct allocation_environment environment = two_nodes;
    struct allocation found;
    environment.step = "4294967290";
    environment.step_tasks = "1";
    expect(&nothing_said, &environment, "lh1:1 lh2:1 remote workers=2 threads=2");
    assert_int_equal(allocation_find(&found, &nothing_said, &environment), STATUS_OK);
    assert_string_equal(found.unused, "");
    allocation_free(&found);
}

static void hosts_that_are_named_come_before_the_jobs(void **state)
{
    (void)state;
    struct allocation_asked asked = nothing_said;
    asked.hosts = "lh2:2,lh1:1";
    expect(&asked, &no_job, "lh1:1 lh2:2 remote workers=3 threads=0");
    expect(&asked, &two_nodes, "lh1:1 lh2:2 remote workers=3 threads=0");
    asked.hosts = "lh1";
    expect(&asked, &no_job, "lh1:1 here workers=1 threads=0");
    asked.hosts = "lh2,localhost:2";
    expect(&asked, &no_job, "localhost:2 lh2:1 remote workers=3 threads=0");
    asked.hosts = "";
    asked.hostfile = "hosts";
    asked.hostfile_text = "lh3 slots=2\nlh4\n";
    expect(&asked, &no_job, "lh3:2 lh4:1 remote workers=3 threads=0");
    asked.workers = 2;
    expect(&asked, &no_job, "lh3:1 lh4:1 remote workers=2 threads=0");
    expect(&nothing_said, &no_job, "here workers=1 threads=0");
}

static void one_process_stays_here_and_says_so(void **state)
{
    (void)state;
    struct allocation_asked asked = nothing_said;
    struct allocation found;
    asked.one_process = true;
    asked.workers = 3;
    expect(&asked, &two_nodes, "lh1:3 here workers=3 threads=1");
    assert_int_equal(allocation_find(&found, &asked, &two_nodes), STATUS_OK);
    assert_non_null(strstr(found.unused, "loopback"));
    allocation_free(&found);
    expect(&asked, &no_job, "here workers=3 threads=0");
    asked.hosts = "lh2";
    assert_int_equal(allocation_find(&found, &asked, &no_job), STATUS_INVALID_ARGUMENT);
}

static void what_cannot_be_read_is_refused_or_told(void **state)
{
    (void)state;
    struct allocation_asked asked = nothing_said;
    struct allocation_environment environment = two_nodes;
    struct allocation found;
    asked.hosts = "lh2:";
    assert_int_equal(allocation_find(&found, &asked, &no_job), STATUS_INVALID_ARGUMENT);
    asked.hosts = "lh2";
    asked.hostfile = "hosts";
    assert_int_equal(allocation_find(&found, &asked, &no_job), STATUS_INVALID_ARGUMENT);
    environment.nodes = "lh[1-";
    assert_int_equal(allocation_find(&found, &nothing_said, &environment), STATUS_OK);
    assert_non_null(strstr(found.unused, "SLURM_JOB_NODELIST=lh[1-"));
    assert_int_equal(found.list.count, 0);
    allocation_free(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_used_with_its_tasks_and_cores),
        cmocka_unit_test(this_host_comes_first_where_it_is_one_of_them),
        cmocka_unit_test(a_task_of_srun_keeps_to_its_host),
        cmocka_unit_test(the_shell_of_salloc_has_the_whole_job),
        cmocka_unit_test(hosts_that_are_named_come_before_the_jobs),
        cmocka_unit_test(one_process_stays_here_and_says_so),
        cmocka_unit_test(what_cannot_be_read_is_refused_or_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
