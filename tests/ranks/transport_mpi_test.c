/* One rank of the transport's contract between processes; mpirun starts several (run-ranks).
 *
 * transport_mpi_test shared|apart|split [CASE|kill]: without a case, all those that leave the group
 * alive; exits 0 after MPI_Finalize. `split` is `apart` in two parts, each of which plays them.
 * With a case that ends the group, exits 75 when it ended as it should. A failure exits 1 at once;
 * success waits a little, so that mpirun, which reports the first exit code that is not 0, reports
 * a failure. */
#include "tests/ranks/transport_contract.h"
#include "worker/engine/transport/transport_mpi.h"
#include "worker/engine/transport/transport_split.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_ENDED = 75 };

static int failed(struct transport *t, const char *name, enum status status)
{
    fprintf(stderr, "%s: rank %d: %s: %s\n", name, t ? t->rank : -1, status_name(status),
            status_message());
    fflush(NULL);
    _exit(EXIT_FAILED);
}

/* `part`: others play beside these ranks, and the hint is everybody's. */
static int run_living_cases(struct transport *t, bool part)
{
    for (size_t i = 0; i < transport_contract_count; i++) {
        const struct transport_case *one = &transport_contract_cases[i];
        if (one->ends_group || t->size < one->least_ranks || (part && strstr(one->name, "hint")))
            continue;
        const enum status status = one->function(t, NULL);
        if (status != STATUS_OK)
            return failed(t, one->name, status);
        if (t->rank == 0)
            printf("ok %s\n", one->name);
    }
    return 0;
}

static int run_living_cases_on_parts(struct transport *t)
{
    struct transport *part;
    const enum status status = transport_split(&part, t, t->rank % 2);
    if (status != STATUS_OK)
        return failed(t, "split", status);
    const int code = run_living_cases(part, true);
    transport_destroy(part);
    return code;
}

static int run_ending_case(struct transport *t, const struct transport_case *one)
{
    const enum status status = one->function(t, NULL);
    if (status != STATUS_OK)
        return failed(t, one->name, status);
    transport_destroy(t);
    const struct timespec others = {1, 0};
    nanosleep(&others, NULL);
    _exit(EXIT_ENDED);
}

/* The last rank is killed; the others wait for it with the default silence, so only mpirun can end
 * them. */
static int run_kill(struct transport *t)
{
    int word = 0;
    struct transport_request *request;
    transport_set_silence(t, 600000000000);
    enum status status = transport_barrier(t);
    if (status == STATUS_OK && t->rank == t->size - 1)
        raise(SIGKILL);
    if (status == STATUS_OK)
        status = transport_receive(t, t->size - 1, TRANSPORT_KEYS, &word, sizeof word, &request);
    if (status == STATUS_OK)
        status = transport_wait(t, request);
    return failed(t, "kill", status);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return EXIT_USAGE;
    struct transport_options options = transport_contract_options();
    const bool parts = strcmp(argv[1], "split") == 0;
    options.apart = parts || strcmp(argv[1], "apart") == 0;
    struct transport *t = NULL;
    const enum status status = transport_mpi_create(&t, &options);
    if (status != STATUS_OK)
        return failed(NULL, "create", status);
    if (t->rank == 0)
        printf("%s\n", t->facts);
    if (argc < 3) {
        const int code = parts ? run_living_cases_on_parts(t) : run_living_cases(t, false);
        transport_destroy(t);
        return code;
    }
    if (strcmp(argv[2], "kill") == 0)
        return run_kill(t);
    for (size_t i = 0; i < transport_contract_count; i++)
        if (strcmp(argv[2], transport_contract_cases[i].name) == 0)
            return run_ending_case(t, &transport_contract_cases[i]);
    fprintf(stderr, "no case %s\n", argv[2]);
    return failed(t, "main", STATUS_OK);
}
