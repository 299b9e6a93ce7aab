/* The host's transport between forked processes, by which tests on GPU machines run several ranks
 * without MPI: it keeps the contract too. */
#include "tests/support/unit.h"

#include "tests/ranks/transport_contract.h"
#include "tests/support/forked_transport.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS_MOST = 4 };

static int play(const struct transport_case *one, void *memory, int rank, int size)
{
    const struct transport_options options = transport_contract_options();
    struct transport *t;
    enum status status = forked_transport_create(&t, memory, rank, size, &options);
    if (status == STATUS_OK)
        status = one->function(t, NULL);
    if (status != STATUS_OK)
        fprintf(stderr, "%s: rank %d of %d: %s\n", one->name, rank, size, status_message());
    return status == STATUS_OK ? 0 : 1;
}

static void the_contract_holds(void **state)
{
    const struct transport_case *one = *state;
    for (int size = one->least_ranks; size <= RANKS_MOST; size++) {
        pid_t processes[RANKS_MOST];
        int worst = 0;
        void *memory = forked_transport_map(size);
        assert_non_null(memory);
        fflush(NULL);
        for (int rank = 0; rank < size; rank++) {
            processes[rank] = fork();
            if (processes[rank] == 0)
                _exit(play(one, memory, rank, size));
        }
        for (int rank = 0; rank < size; rank++) {
            int how = 0;
            waitpid(processes[rank], &how, 0);
            worst = how > worst ? how : worst;
        }
        assert_int_equal(worst, 0);
    }
}

int main(void)
{
    struct CMUnitTest tests[64];
    size_t count = 0;
    for (size_t i = 0; i < transport_contract_count; i++)
        if (!transport_contract_cases[i].ends_group)
            tests[count++] = (struct CMUnitTest){
                .name = transport_contract_cases[i].name,
                .test_func = the_contract_holds,
                .initial_state = (void *)&transport_contract_cases[i],
            };
    return _cmocka_run_group_tests("forked_transport", tests, count, NULL, NULL);
}
