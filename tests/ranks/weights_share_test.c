/* One copy of the weights for the ranks of a host that can have the same: one rank packs, all read
 * the same bytes, and slices that differ are kept apart. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "tests/support/ranks.h"
#include "tests/support/tiny_model.h"
#include "tests/support/unit.h"
#include "worker/engine/weights_share.h"

enum { RANKS = 6 };

static const struct tiny_model_shape tiny = {
    .layers = 2, .hidden = 64, .heads = 8, .kv_heads = 2, .head_dim = 32, .ffn = 224};

static struct model *model;

/* What every rank found. */
struct found {
    int tensor;
    int packs[RANKS];
};

static enum status expect_the_same(const struct weights *one, const struct weights *other)
{
    for (int layer = 0; layer < tiny.layers; layer++)
        for (int role = MODEL_ATTN_NORM; role < MODEL_ROLE_COUNT; role++) {
            const struct model_spec *spec = model_spec(model);
            if (!model_role_is_there(spec, (enum model_role)role) ||
                model_role_shape(spec, (enum model_role)role).is_vector)
                continue;
            const struct matmul_weights *a = weights_matrix(one, (enum model_role)role, layer);
            const struct matmul_weights *b = weights_matrix(other, (enum model_role)role, layer);
            const size_t bytes = kernels_best()->matmul_packed_bytes(a->dtype, a->out, a->in);
            if (a->out != b->out || a->in != b->in || memcmp(a->packed, b->packed, bytes) != 0)
                return fail(STATUS_INTERNAL, "role %d of layer %d differs", role, layer);
        }
    return STATUS_OK;
}

/* Nobody can write into the copy: not through a mapping of it, nor through another descriptor. */
static enum status expect_read_only(const struct weights_share *share, const struct weights *shared)
{
    char path[64], line[512], access[5];
    const size_t packed = (size_t)weights_matrix(shared, MODEL_ATTN_Q, 0)->packed;
    const size_t vector = (size_t)weights_vector(shared, MODEL_FFN_NORM, 1);
    size_t first, end;
    int found = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", share->store.fd);
    const int writes = open(path, O_RDWR | O_CLOEXEC);
    const bool wrote = writes >= 0 && pwrite(writes, "x", 1, 0) >= 0;
    const int refused = errno;
    const bool cut = writes >= 0 && ftruncate(writes, 0) == 0;
    close(writes);
    if (writes < 0 || wrote || refused != EPERM || cut)
        return fail(STATUS_INTERNAL, "the copy is not sealed");
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%zx-%zx %4s", &first, &end, access) == 3)
            for (int i = 0; i < 2; i++) {
                const size_t at = i ? vector : packed;
                found += at >= first && at < end && strcmp(access, "r--s") == 0;
            }
    if (maps)
        fclose(maps);
    return found == 2 ? STATUS_OK : fail(STATUS_INTERNAL, "%d of 2 mappings only read", found);
}

static void nothing(void *context)
{
    (void)context;
}

static enum status play(struct transport *transport, void *context)
{
    struct found *found = context;
    const struct model_shape shape = spec_shape(model_spec(model), 0);
    const struct weights_store own = {.fd = -1, .packs = true, .between = nothing};
    const int tensor = found->tensor;
    struct tensor_slice slice;
    struct weights_share share;
    struct weights *shared, *alone;
    TRY(tensor_slice_make(&slice, &shape, tensor, transport->rank % tensor));
    const struct weights_share_args args = {.model = model, .slice = &slice};
    TRY(weights_share_open(&share, transport, &args));
    TRY(weights_create(&shared, model, &slice, kernels_best(), &share.store));
    TRY(weights_share_settle(&share));
    found->packs[transport->rank] = share.store.packs;
    if (share.sharers != RANKS / tensor || share.store.fd < 0)
        return fail(STATUS_INTERNAL, "%d ranks share", share.sharers);
    TRY(expect_read_only(&share, shared));
    weights_share_close(&share);
    TRY(weights_create(&alone, model, &slice, kernels_best(), &own));
    TRY(expect_the_same(shared, alone));
    weights_destroy(alone);
    weights_destroy(shared);
    return STATUS_OK;
}

static void one_rank_packs_for_all_that_have_its_slice(void **state)
{
    (void)state;
    for (int tensor = 1; tensor <= 3; tensor++) {
        struct found found = {.tensor = tensor};
        void *contexts[RANKS];
        for (int rank = 0; rank < RANKS; rank++)
            contexts[rank] = &found;
        assert_int_equal(ranks_run(RANKS, NULL, play, contexts), STATUS_OK);
        for (int rank = 0; rank < RANKS; rank++)
            assert_int_equal(found.packs[rank], rank < tensor);
    }
}

/* What each rank was started with, and whether it has others' weights. */
struct apart {
    const char *kernels;
    int sharers;
    bool packs;
};

static enum status open_alone(struct transport *transport, void *context)
{
    struct apart *apart = context;
    const struct model_shape shape = spec_shape(model_spec(model), 0);
    struct tensor_slice slice;
    struct weights_share share;
    TRY(tensor_slice_make(&slice, &shape, 1, 0));
    const struct weights_share_args args = {
        .model = model, .slice = &slice, .kernels = apart->kernels};
    TRY(weights_share_open(&share, transport, &args));
    TRY(weights_share_settle(&share));
    apart->sharers = share.sharers;
    apart->packs = share.store.packs;
    weights_share_close(&share);
    return STATUS_OK;
}

static void open_two(struct apart ranks[2])
{
    void *contexts[] = {&ranks[0], &ranks[1]};
    assert_int_equal(ranks_run(2, NULL, open_alone, contexts), STATUS_OK);
    for (int rank = 0; rank < 2; rank++) {
        assert_int_equal(ranks[rank].sharers, 1);
        assert_true(ranks[rank].packs);
    }
}

/* Two variants that take as many bytes: only their names tell them apart. */
static const struct kernels *twin_of(const struct kernels *one, const struct tensor_slice *slice)
{
    for (int k = 0; kernels_at(k); k++)
        if (kernels_at(k) != one &&
            weights_bytes(model, slice, kernels_at(k)) == weights_bytes(model, slice, one))
            return kernels_at(k);
    return NULL;
}

static void ranks_of_other_kernels_share_nothing(void **state)
{
    (void)state;
    const struct model_shape shape = spec_shape(model_spec(model), 0);
    struct tensor_slice slice;
    assert_int_equal(tensor_slice_make(&slice, &shape, 1, 0), STATUS_OK);
    int pairs = 0;
    for (int k = 0; kernels_at(k); k++) {
        const struct kernels *twin = twin_of(kernels_at(k), &slice);
        if (!twin)
            continue;
        struct apart ranks[] = {{.kernels = kernels_at(k)->name}, {.kernels = twin->name}};
        open_two(ranks);
        pairs++;
    }
    assert_true(pairs > 0);
}

/* SIGXFSZ would end the test. */
static void a_limit_on_files_leaves_each_rank_its_own(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit low = {4096, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    struct apart ranks[2] = {{0}};
    open_two(ranks);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_packs_for_all_that_have_its_slice),
        cmocka_unit_test(ranks_of_other_kernels_share_nothing),
        cmocka_unit_test(a_limit_on_files_leaves_each_rank_its_own),
    };
    char path[TINY_MODEL_PATH_BYTES];
    tiny_model_make(path, &tiny, DTYPE_Q4_1);
    const enum status status = model_open(&model, path);
    unlink(path);
    if (status != STATUS_OK)
        return 1;
    const int failed = cmocka_run_group_tests_name("weights_share", tests, NULL, NULL);
    model_close(model);
    return failed;
}
