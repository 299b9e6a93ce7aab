/* How a model is cut along a tensor axis. */
#include "tests/support/unit.h"

#include "proto/plan/tensor_fit.h"
#include "proto/plan/tensor_slice.h"

static struct model_shape shape_of(int64_t heads, int64_t kv_heads, int64_t ffn, int64_t block)
{
    return (struct model_shape){.layers = 2,
                                .hidden = 64,
                                .heads = heads,
                                .kv_heads = kv_heads,
                                .head_dim = 16,
                                .ffn = ffn,
                                .ffn_block = block,
                                .vocab = 100};
}

/* A slice is a model of its own: each of its KV heads serves as many query heads, and those of the
 * whole model that read it. */
static void look_at_heads(const struct model_shape *shape, const struct tensor_slice *slice)
{
    const int64_t group = shape->heads / shape->kv_heads;
    const int64_t heads = slice->heads.end - slice->heads.first;
    const int64_t kv_heads = slice->kv_heads.end - slice->kv_heads.first;
    assert_true(heads > 0 && kv_heads > 0 && slice->kv_heads.end <= shape->kv_heads);
    assert_int_equal(heads % kv_heads, 0);
    for (int64_t h = 0; h < heads; h++)
        assert_int_equal((slice->heads.first + h) / group,
                         slice->kv_heads.first + h / (heads / kv_heads));
}

static void every_head_and_column_has_one_place(void **state)
{
    static const int64_t widths[] = {1, 16, 48, 96, 160, 256, 1536, 14336};
    static const int64_t blocks[] = {0, 32, 256};
    (void)state;
    for (int64_t kv_heads = 1; kv_heads <= 8; kv_heads++)
        for (int64_t group = 1; group <= 5; group++)
            for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
                for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
                    const struct model_shape shape =
                        shape_of(kv_heads * group, kv_heads, widths[w], blocks[b]);
                    for (int places = 1; places <= shape.heads && places <= shape.ffn; places++) {
                        int64_t head = 0, column = 0;
                        for (int place = 0; place < places; place++) {
                            struct tensor_slice slice;
                            assert_int_equal(tensor_slice_make(&slice, &shape, places, place),
                                             STATUS_OK);
                            look_at_heads(&shape, &slice);
                            assert_int_equal(slice.heads.first, head);
                            assert_int_equal(slice.ffn.first, column);
                            assert_true(slice.ffn.end > slice.ffn.first);
                            head = slice.heads.end;
                            column = slice.ffn.end;
                            if (shape.ffn_block > 0 && shape.ffn % shape.ffn_block == 0 &&
                                shape.ffn / shape.ffn_block >= places)
                                assert_int_equal(column % shape.ffn_block, 0);
                        }
                        assert_int_equal(head, shape.heads);
                        assert_int_equal(column, shape.ffn);
                    }
                }
}

/* 9 query heads to 3 KV heads, as a small Llama has them: the place with one KV head gets more of
 * the feed-forward part, so that a row's products are as many on both, within a unit. */
static void places_with_fewer_heads_get_more_columns(void **state)
{
    (void)state;
    const struct model_shape shape = {.layers = 30,
                                      .hidden = 576,
                                      .heads = 9,
                                      .kv_heads = 3,
                                      .head_dim = 64,
                                      .ffn = 1536,
                                      .ffn_block = 32,
                                      .vocab = 49152};
    struct tensor_slice first, second;
    assert_int_equal(tensor_slice_make(&first, &shape, 2, 0), STATUS_OK);
    assert_int_equal(tensor_slice_make(&second, &shape, 2, 1), STATUS_OK);
    assert_int_equal(first.heads.end, 3);
    assert_int_equal(first.kv_heads.end, 1);
    assert_int_equal(second.kv_heads.end, 3);
    const int64_t more = 2 * (8 - 4) * 64; /* columns of products that attention has beside */
    const int64_t fewer = 3 * (first.ffn.end - second.ffn.end + first.ffn.end);
    assert_in_range(fewer, more - 3 * 32, more + 3 * 32);
    const struct model_shape part = tensor_slice_shape(&shape, &second);
    assert_int_equal(part.heads, 6);
    assert_int_equal(part.kv_heads, 2);
    assert_int_equal(part.kv_first, 1);
    assert_int_equal(part.kv_all, 3);
    assert_int_equal(part.ffn, 1536 - first.ffn.end);
    assert_int_equal(part.hidden, 576);
    assert_int_equal(part.vocab, 49152);
}

static void one_kv_head_goes_to_several_places(void **state)
{
    (void)state;
    const struct model_shape shape = shape_of(8, 2, 96, 0);
    static const int64_t heads[3][2] = {{0, 2}, {2, 4}, {4, 8}};
    for (int place = 0; place < 3; place++) {
        struct tensor_slice slice;
        assert_int_equal(tensor_slice_make(&slice, &shape, 3, place), STATUS_OK);
        assert_int_equal(slice.heads.first, heads[place][0]);
        assert_int_equal(slice.heads.end, heads[place][1]);
        assert_int_equal(slice.kv_heads.first, place / 2);
        assert_int_equal(slice.kv_heads.end, place / 2 + 1);
    }
}

static void more_places_than_there_is_to_share_are_refused(void **state)
{
    (void)state;
    const struct model_shape shape = shape_of(4, 2, 96, 0);
    struct tensor_slice slice;
    assert_int_equal(tensor_slice_make(&slice, &shape, 5, 0), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "4 query heads"));
    assert_int_equal(tensor_slice_make(&slice, &shape, 2, 2), STATUS_INVALID_ARGUMENT);
    assert_int_equal(tensor_slice_make(&slice, &shape, 0, 0), STATUS_INVALID_ARGUMENT);
}

static void an_axis_that_does_not_fit_is_refused_with_one_that_does(void **state)
{
    (void)state;
    static const struct {
        int heads, ffn, tensor, ranks;
        const char *words; /* NULL: it fits */
    } cases[] = {
        {9, 1536, 9, 18, NULL},
        {9, 1536, 20, 20, "over 20 workers tensor=5,sequence=4 is"},
        {9, 1536, 11, 11, "over 11 workers tensor=1,sequence=11 is"},
        {64, 8, 16, 16, "over 16 workers tensor=8,sequence=2 is"},
        {1024, 4096, 128, 128, "over 128 workers tensor=64,sequence=2 is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct model_shape shape = shape_of(cases[i].heads, 1, cases[i].ffn, 0);
        const enum status status = tensor_fit_check(&shape, cases[i].tensor, cases[i].ranks);
        assert_int_equal(status, cases[i].words ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        if (cases[i].words)
            assert_non_null(strstr(status_message(), cases[i].words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_head_and_column_has_one_place),
        cmocka_unit_test(places_with_fewer_heads_get_more_columns),
        cmocka_unit_test(one_kv_head_goes_to_several_places),
        cmocka_unit_test(an_axis_that_does_not_fit_is_refused_with_one_that_does),
        cmocka_unit_test(more_places_than_there_is_to_share_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
