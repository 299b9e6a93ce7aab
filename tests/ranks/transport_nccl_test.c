/* The transport's contract between devices, over the stand-in: each case with memory of the device,
 * and with memory of the host; and what only this transport has, NCCL's own errors. */
#include "tests/support/unit.h"

#include "tests/ranks/transport_contract.h"
#include "tests/support/device_messages.h"
#include "tests/support/standin.h"
#include "worker/engine/transport/transport_nccl.h"
#include "worker/engine/transport/transport_reduce.h"

#include <stdio.h>
#include <time.h>

enum { SEED = 20261123 };

struct nccl_case {
    const struct transport_case *one;
    bool on_device;
    struct cuda_streams streams;
};

static enum status open_streams(struct transport **t, void *context)
{
    struct nccl_case *nccl_case = context;
    const struct transport_options options = transport_contract_options();
    struct transport *nccl;
    TRY(cuda_streams_open(&nccl_case->streams, standin_runtime(), standin_kernels(),
                          (*t)->local_rank, (*t)->local_size, true));
    TRY(transport_nccl_create(&nccl, *t, &nccl_case->streams, standin_nccl(), &options));
    *t = nccl;
    if (nccl_case->on_device)
        TRY(device_messages_create(t, nccl, &nccl_case->streams));
    return transport_barrier(*t); /* no case ends the group before all are there */
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct nccl_case *)context)->streams);
}

static enum status play(struct transport *t, void *context)
{
    const struct nccl_case *nccl_case = context;
    return nccl_case->one->function(t, NULL);
}

static void holds(const struct transport_case *one, int size, bool on_device)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct transport_options options = transport_contract_options();
    struct nccl_case cases[4];
    options.requests *= 2; /* of the host's transport: letters take some */
    void *contexts[4];
    for (int rank = 0; rank < 4; rank++) {
        cases[rank] = (struct nccl_case){.one = one, .on_device = on_device};
        contexts[rank] = &cases[rank];
    }
    printf("%s, %d ranks, memory of the %s\n", one->name, size, on_device ? "device" : "host");
    assert_int_equal(ranks_run_in(size, &options, &setting, play, contexts), STATUS_OK);
}

static void the_contract_holds(void **state)
{
    const struct transport_case *one = *state;
    for (int size = one->least_ranks; size <= 4; size++)
        holds(one, size, true);
    holds(one, 3, false);
}

/* A sum that lies on devices in part is refused by every rank alike, and the group goes on. */
static enum status add_in_part_on_the_device(struct transport *t, void *context)
{
    const struct cuda_runtime *runtime = ((struct nccl_case *)context)->streams.runtime;
    const size_t offsets[4] = {0}, sizes[4] = {0};
    float scratch[4];
    struct transport_request *requests[8];
    void *there;
    TRY(runtime->allocate(&there, sizeof scratch));
    const enum status status = transport_reduce_scatter(
        t, there, there, &(struct transport_sums){offsets, sizes, scratch, 4, requests});
    const bool refused = status == STATUS_INVALID_ARGUMENT && strstr(status_message(), "scratch");
    runtime->release(there);
    expect_on_all_ranks(t, refused);
    return STATUS_OK;
}

static void sums_in_part_on_devices_are_refused(void **state)
{
    (void)state;
    static const struct ranks_setting setting = {open_streams, close_streams};
    const struct transport_options options = transport_contract_options();
    struct nccl_case cases[2] = {0};
    void *contexts[2] = {&cases[0], &cases[1]};
    assert_int_equal(ranks_run_in(2, &options, &setting, add_in_part_on_the_device, contexts),
                     STATUS_OK);
}

int main(void)
{
    enum { MOST = 64 };
    struct CMUnitTest tests[MOST] = {
        [0] = cmocka_unit_test(sums_in_part_on_devices_are_refused),
    };
    printf("seed %d\n", SEED);
    standin_seed(SEED);
    for (size_t i = 0; i < transport_contract_count; i++)
        tests[1 + i] = (struct CMUnitTest){
            .name = transport_contract_cases[i].name,
            .test_func = the_contract_holds,
            .initial_state = (void *)&transport_contract_cases[i],
        };
    return _cmocka_run_group_tests("transport_nccl", tests, 1 + transport_contract_count, NULL,
                                   NULL);
}
