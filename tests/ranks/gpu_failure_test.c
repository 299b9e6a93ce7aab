/* What goes wrong around GPUs, over the stand-in: none there, too few of them, an error of CUDA or
 * of NCCL in the middle of a request, a peer that is gone. Every rank ends, and the cause is named.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "tests/support/model_fixture.h"
#include "tests/support/unit.h"
#include "worker/rank_place.h"

enum { TOKENS = 200 };

static struct model_fixture fixture = {
    .shape = {.layers = 3, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96},
    .tokens = TOKENS};

/* ---- where a rank computes ---- */

static enum status find_standin(const struct cuda_runtime **runtime,
                                const struct kernels_cuda **kernels)
{
    *runtime = standin_runtime();
    *kernels = standin_kernels();
    return STATUS_OK;
}

static enum status find_no_cuda(const struct cuda_runtime **runtime,
                                const struct kernels_cuda **kernels)
{
    (void)runtime;
    (void)kernels;
    return fail(STATUS_FAILED_PRECONDITION, "no GPU: libcuda.so.1 is not here");
}

static enum status find_standin_nccl(const struct nccl_api **api)
{
    *api = standin_nccl();
    return STATUS_OK;
}

static enum status find_no_nccl(const struct nccl_api **api)
{
    (void)api;
    return fail(STATUS_FAILED_PRECONDITION, "libnccl.so.2 is not to be had");
}

struct place_case {
    struct rank_place_wish wish;
    struct rank_place place;
    bool on_gpu; /* expected */
};

static enum status open_place(struct transport **t, void *context)
{
    struct place_case *place_case = context;
    TRY(rank_place_open(&place_case->place, *t, &place_case->wish));
    *t = place_case->place.transport;
    return STATUS_OK;
}

static void close_place(void *context)
{
    struct place_case *place_case = context;
    if (place_case->place.on_gpu)
        cuda_lane_close(&place_case->place.lane);
}

static enum status is_as_expected(struct transport *t, void *context)
{
    const struct place_case *place_case = context;
    const char *name = place_case->on_gpu && t->size > 1 ? "nccl" : "loopback";
    expect_on_all_ranks(t, place_case->place.on_gpu == place_case->on_gpu);
    expect_on_all_ranks(t, strcmp(t->name, name) == 0);
    return STATUS_OK;
}

static enum status place(int ranks, const struct rank_place_wish *wish, bool on_gpu)
{
    static const struct ranks_setting setting = {open_place, close_place};
    struct place_case cases[4];
    void *contexts[4];
    for (int rank = 0; rank < ranks; rank++) {
        cases[rank] = (struct place_case){.wish = *wish, .on_gpu = on_gpu};
        contexts[rank] = &cases[rank];
    }
    return ranks_run_in(ranks, NULL, &setting, is_as_expected, contexts);
}

static void ranks_take_gpus_where_all_have_one(void **state)
{
    (void)state;
    struct rank_place_wish wish = {.find_cuda = find_standin, .find_nccl = find_standin_nccl};
    for (int ranks = 1; ranks <= 3; ranks++)
        assert_int_equal(place(ranks, &wish, true), STATUS_OK);
    wish.cpu = true;
    assert_int_equal(place(2, &wish, false), STATUS_OK);
}

static void what_was_not_asked_for_falls_back_to_the_cpu(void **state)
{
    (void)state;
    struct rank_place_wish wish = {.find_cuda = find_no_cuda, .find_nccl = find_standin_nccl};
    assert_int_equal(place(1, &wish, false), STATUS_OK);
    assert_int_equal(place(3, &wish, false), STATUS_OK);
    wish.find_cuda = find_standin;
    wish.find_nccl = find_no_nccl;
    assert_int_equal(place(1, &wish, true), STATUS_OK); /* alone it needs none */
    assert_int_equal(place(2, &wish, false), STATUS_OK);
    wish.find_nccl = find_standin_nccl;
    standin_device_count(1);
    assert_int_equal(place(2, &wish, false), STATUS_OK);
    standin_device_count(64);
}

static void a_rank_knows_how_its_gpu_reaches_the_others(void **state)
{
    (void)state;
    struct cuda_lane lane;
    standin_device_count(6);
    assert_int_equal(cuda_lane_open(&lane, standin_runtime(), standin_kernels(), 1, 6, false),
                     STATUS_OK);
    assert_string_equal(lane.links, "nvlink,self,pcie,pcie,host,host");
    cuda_lane_close(&lane);
    standin_device_count(64);
    assert_int_equal(cuda_lane_open(&lane, standin_runtime(), standin_kernels(), 0, 64, false),
                     STATUS_OK);
    assert_memory_equal(lane.links, "self,nvlink,pcie,pcie,host,", 27);
    assert_string_equal(lane.links + strlen(lane.links) - 9, ",host,...");
    cuda_lane_close(&lane);
    standin_device_count(1);
    assert_int_equal(cuda_lane_open(&lane, standin_runtime(), standin_kernels(), 0, 1, false),
                     STATUS_OK);
    assert_string_equal(lane.links, "self");
    cuda_lane_close(&lane);
    standin_device_count(64);
}

static void what_was_asked_for_is_refused_by_name(void **state)
{
    (void)state;
    struct rank_place_wish wish = {
        .cuda = true, .find_cuda = find_no_cuda, .find_nccl = find_standin_nccl};
    assert_int_equal(place(2, &wish, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "libcuda.so.1"));
    wish.find_cuda = find_standin;
    wish.find_nccl = find_no_nccl;
    wish.nccl = true;
    assert_int_equal(place(2, &wish, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "libnccl.so.2"));
    wish.find_nccl = find_standin_nccl;
    standin_device_count(1);
    assert_int_equal(place(2, &wish, false), STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "--oversubscribe-gpu"));
    wish.oversubscribe = true;
    assert_int_equal(place(2, &wish, true), STATUS_OK);
    standin_device_count(64);
}

/* ---- in the middle of a request ---- */

static void break_cuda(struct engine *engine, struct transport *t, int64_t tokens_done)
{
    (void)engine;
    (void)t;
    (void)tokens_done;
    standin_fail_after(1);
}

static void break_nccl(struct engine *engine, struct transport *t, int64_t tokens_done)
{
    (void)engine;
    (void)t;
    (void)tokens_done;
    standin_nccl_fail(1);
}

static void leave(struct engine *engine, struct transport *t, int64_t tokens_done)
{
    (void)engine;
    (void)tokens_done;
    transport_abort(t, "the coordinator is gone");
}

static void ends_with(struct engine_case wanted, enum status status, const char *cause)
{
    const struct engine_gpus gpus = {standin_runtime(), standin_kernels(), standin_nccl()};
    struct engine_outcome outcome;
    wanted.model_path = fixture.path;
    wanted.ids = fixture.ids;
    wanted.count = TOKENS;
    wanted.gpus = &gpus;
    const int64_t begun_ns = clock_now_ns();
    assert_int_equal(engine_ranks_run(&outcome, &wanted), status);
    const double seconds = clock_seconds_since(begun_ns);
    standin_nccl_fail(-1);
    if (!strstr(status_message(), cause))
        printf("%d ranks: %s\n", wanted.ranks, status_message());
    assert_non_null(strstr(status_message(), cause));
    assert_true(seconds < 25); /* no wait was sat out */
    engine_outcome_free(&outcome);
}

static void an_error_of_cuda_ends_all_ranks_with_its_cause(void **state)
{
    (void)state;
    struct engine_case wanted = {.kind = ENGINE_SCORE, .progress = break_cuda};
    for (wanted.ranks = 1; wanted.ranks <= 3; wanted.ranks++)
        ends_with(wanted, STATUS_INTERNAL, "CUDA error 700");
}

static void an_error_of_nccl_ends_all_ranks_with_its_cause(void **state)
{
    (void)state;
    struct engine_case wanted = {.progress = break_nccl, .max_tokens = 40};
    for (wanted.ranks = 2; wanted.ranks <= 3; wanted.ranks++)
        ends_with(wanted, STATUS_UNAVAILABLE, "NCCL error 6");
}

static void a_rank_that_leaves_ends_the_others(void **state)
{
    (void)state;
    struct engine_case wanted = {.kind = ENGINE_SCORE, .progress = leave};
    for (wanted.ranks = 2; wanted.ranks <= 4; wanted.ranks++)
        ends_with(wanted, STATUS_UNAVAILABLE, "the coordinator is gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_take_gpus_where_all_have_one),
        cmocka_unit_test(what_was_not_asked_for_falls_back_to_the_cpu),
        cmocka_unit_test(a_rank_knows_how_its_gpu_reaches_the_others),
        cmocka_unit_test(what_was_asked_for_is_refused_by_name),
        cmocka_unit_test(an_error_of_cuda_ends_all_ranks_with_its_cause),
        cmocka_unit_test(an_error_of_nccl_ends_all_ranks_with_its_cause),
        cmocka_unit_test(a_rank_that_leaves_ends_the_others),
    };
    log_configure(LOG_ERROR, -1);
    model_fixture_make(&fixture);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_fixture_drop(&fixture);
    return failed;
}
