/* How ranks lay themselves out: alike on all of them, whatever each of them has of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "tests/support/ranks.h"
#include "tests/support/tiny_directory.h"
#include "tests/support/unit.h"
#include "worker/rank_mesh.h"

enum { RANKS = 2, FEW_THREADS = 1, MANY_THREADS = 64 };

static const struct tiny_model_shape tiny = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 16, .ffn = 96};

static struct model *model, *joined;

struct rank {
    struct rank_mesh_args args;
    struct rank_mesh mesh;
    enum status status;
    char said[512];
};

/* The failure is kept: it must be the same on all ranks. */
static enum status choose(struct transport *transport, void *context)
{
    struct rank *rank = context;
    rank->status = rank_mesh_choose(&rank->mesh, transport, &rank->args);
    snprintf(rank->said, sizeof rank->said, "%s", rank->status ? status_message() : "");
    return STATUS_OK;
}

static void lay_out(struct rank ranks[RANKS])
{
    void *contexts[RANKS];
    for (int rank = 0; rank < RANKS; rank++)
        contexts[rank] = &ranks[rank];
    assert_int_equal(ranks_run(RANKS, NULL, choose, contexts), STATUS_OK);
    assert_int_equal(ranks[1].status, ranks[0].status);
    assert_string_equal(ranks[1].said, ranks[0].said);
}

/* Each of its own memory node, so none shares weights. */
static void set(struct rank ranks[RANKS], const struct model *of, int64_t memory_bytes)
{
    static const char *const nodes[RANKS] = {"0", "1"};
    for (int rank = 0; rank < RANKS; rank++)
        ranks[rank] = (struct rank){.args = {.asked = {.data = 1},
                                             .model = of,
                                             .kernels = kernels_find("reference"),
                                             .threads = FEW_THREADS,
                                             .sequences = 1,
                                             .context_tokens = 2048,
                                             .memory_bytes = memory_bytes,
                                             .nodes = nodes[rank]}};
}

static int64_t whole_bytes(void)
{
    struct rank ranks[RANKS];
    set(ranks, model, INT64_C(1) << 40);
    lay_out(ranks);
    assert_int_equal(ranks[0].status, STATUS_OK);
    assert_int_equal(ranks[0].mesh.mesh.tensor, 1);
    assert_true(ranks[0].mesh.whole_bytes > 0);
    return ranks[0].mesh.whole_bytes;
}

static void the_tensor_axis_is_as_long_as_memory_asks_for(void **state)
{
    (void)state;
    struct rank ranks[RANKS];
    set(ranks, model, whole_bytes());
    lay_out(ranks);
    assert_int_equal(ranks[0].mesh.mesh.tensor, 1);
    ranks[1].args.memory_bytes -= 1;
    lay_out(ranks);
    for (int rank = 0; rank < RANKS; rank++) {
        assert_int_equal(ranks[rank].mesh.mesh.tensor, 2);
        assert_int_equal(ranks[rank].mesh.mesh.sequence, 1);
    }
}

/* By its own threads either of them would want another mesh. */
static void rank_0s_word_counts(void **state)
{
    (void)state;
    for (int many = 0; many < RANKS; many++) {
        struct rank ranks[RANKS];
        set(ranks, model, whole_bytes());
        ranks[many].args.threads = MANY_THREADS;
        lay_out(ranks);
        for (int rank = 0; rank < RANKS; rank++)
            assert_int_equal(ranks[rank].mesh.mesh.tensor, many == 0 ? 2 : 1);
        assert_int_equal(ranks[0].mesh.whole_bytes, ranks[1].mesh.whole_bytes);
    }
}

static void norms_over_all_heads_stay_whole(void **state)
{
    (void)state;
    struct rank ranks[RANKS];
    assert_true(model_spec(joined)->qk_norm_joined);
    set(ranks, joined, 1);
    lay_out(ranks);
    assert_int_equal(ranks[0].status, STATUS_OK);
    assert_int_equal(ranks[0].mesh.mesh.tensor, 1);
    assert_int_equal(ranks[0].mesh.mesh.sequence, RANKS);
}

static void expect_refusal(struct rank ranks[RANKS], const char *words)
{
    lay_out(ranks);
    assert_int_equal(ranks[0].status, STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(ranks[0].said, words));
}

static void a_mesh_that_the_model_does_not_take_is_refused(void **state)
{
    (void)state;
    struct rank ranks[RANKS];
    set(ranks, model, 0);
    for (int rank = 0; rank < RANKS; rank++)
        ranks[rank].args.asked.tensor = RANKS;
    lay_out(ranks);
    assert_int_equal(ranks[0].status, STATUS_OK);
    for (int rank = 0; rank < RANKS; rank++)
        ranks[rank].args.model = joined;
    lay_out(ranks);
    assert_int_equal(ranks[0].status, STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(ranks[0].said, "normalises queries and keys over all heads"));
}

static void ranks_that_were_started_unlike_are_refused(void **state)
{
    (void)state;
    struct rank ranks[RANKS];
    set(ranks, model, 0);
    ranks[1].args.asked.tensor = 2;
    expect_refusal(ranks, "rank 1 with tensor=2,sequence=0");
    set(ranks, model, 0);
    ranks[1].args.kernels = kernels_best();
    expect_refusal(ranks, "kernels \"reference\" and rank 1 with");
    ranks[1].args.kernels = NULL;
    expect_refusal(ranks, "and rank 1 with \"\"");
    set(ranks, model, 0);
    ranks[1].args.int8_cache = true;
    expect_refusal(ranks, "rank 1 was started with --cache int8 and rank 0 was not");
}

static enum status make(struct model **made, const struct tiny_model_shape *shape)
{
    char folder[] = "/tmp/longhaul-rank-mesh-XXXXXX";
    if (!mkdtemp(folder))
        return fail(STATUS_INTERNAL, "no folder for a model");
    tiny_directory_write(folder, shape, 1, DTYPE_F32, 1);
    const enum status status = model_open(made, folder);
    tiny_directory_remove(folder);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tensor_axis_is_as_long_as_memory_asks_for),
        cmocka_unit_test(rank_0s_word_counts),
        cmocka_unit_test(norms_over_all_heads_stay_whole),
        cmocka_unit_test(a_mesh_that_the_model_does_not_take_is_refused),
        cmocka_unit_test(ranks_that_were_started_unlike_are_refused),
    };
    struct tiny_model_shape other = tiny;
    other.architecture = "olmo2";
    other.untied = true;
    other.qk_norm = true;
    if (make(&model, &tiny) != STATUS_OK || make(&joined, &other) != STATUS_OK) {
        print_error("%s\n", status_message());
        return 1;
    }
    const int failed = cmocka_run_group_tests_name("rank_mesh", tests, NULL, NULL);
    model_close(joined);
    model_close(model);
    return failed;
}
