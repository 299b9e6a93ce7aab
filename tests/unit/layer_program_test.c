/* The transformer's ops: what they ask of each other, where runs end, and how buffers share a
 * thread's scratch. */
#include "tests/support/unit.h"

#include <string.h>

#include "worker/engine/layer_program.h"

static const struct model_spec tiny = {
    .layers = 3,
    .hidden = 64,
    .heads = 6,
    .kv_heads = 2,
    .head_dim = 32, /* not hidden / heads */
    .ffn = 176,
    .vocab = 300,
};

static int make(void **state)
{
    struct layer_program *program;
    assert_int_equal(layer_program_create(&program, &tiny, false), STATUS_OK);
    *state = program;
    return 0;
}

/* Of a model that has every part that some have. */
static int make_full(void **state)
{
    struct layer_program *program;
    struct model_spec full = tiny;
    full.qkv_bias = full.output_bias = full.mlp_bias = full.qk_norm = true;
    assert_int_equal(layer_program_create(&program, &full, false), STATUS_OK);
    *state = program;
    return 0;
}

/* Norms of outputs alone, GELU, a cap. */
static int make_other(void **state)
{
    struct layer_program *program;
    struct model_spec other = tiny;
    other.output_norms = other.no_input_norms = other.gelu = other.qk_norm = true;
    other.logit_cap = 30;
    assert_int_equal(layer_program_create(&program, &other, false), STATUS_OK);
    *state = program;
    return 0;
}

static int unmake(void **state)
{
    layer_program_destroy(*state);
    return 0;
}

static void every_buffer_is_written_before_it_is_read(void **state)
{
    const struct layer_program *program = *state;
    bool written[LAYER_BUFFERS] = {[LAYER_NOTHING] = true};
    for (int o = 0; o < program->count; o++) {
        const struct layer_op *op = &program->ops[o];
        assert_true(written[op->input] && written[op->second]);
        if (op->kind == LAYER_ADD || op->kind == LAYER_BIAS)
            assert_true(written[op->output]);
        written[op->output] = true;
    }
    assert_int_equal(program->ops[program->count - 1].output, LAYER_LOGITS);
}

/* Whole rows stop for attention alone. */
static void a_layer_ends_where_the_next_begins(void **state)
{
    const struct layer_program *program = *state;
    int first = 0;
    for (int layer = 0; layer < tiny.layers; layer++) {
        const int cut = layer_program_cut(program, first, 0);
        assert_int_equal(program->ops[cut].kind, LAYER_ATTEND);
        assert_int_equal(program->ops[cut].layer, layer);
        for (int o = first; o < cut; o++)
            assert_true(program->ops[o].layer == layer || program->ops[o].layer == layer - 1);
        first = cut + 1;
    }
    assert_int_equal(layer_program_cut(program, first, 0), program->logits);
}

static void split_products_are_awaited_by_what_reads_their_rows(void **state)
{
    const struct layer_program *program = *state;
    static const enum layer_buffer awaited[] = {LAYER_QKV, LAYER_NOTHING, LAYER_DELTA, LAYER_ACTIVE,
                                                LAYER_DELTA};
    int first = 0;
    for (int layer = 0; layer < tiny.layers; layer++)
        for (size_t a = 0; a < sizeof awaited / sizeof awaited[0]; a++) {
            const int cut = layer_program_cut(program, first, DECODE_SPLIT_ALL);
            assert_int_equal(program->ops[cut].awaits, awaited[a]);
            assert_int_equal(program->ops[cut].kind == LAYER_ATTEND, awaited[a] == LAYER_NOTHING);
            first = program->ops[cut].kind == LAYER_ATTEND ? cut + 1 : cut;
        }
    assert_int_equal(layer_program_cut(program, first, DECODE_SPLIT_ALL), program->logits);
}

/* A product that is split by itself is awaited once a layer, and nothing else is. */
static void each_split_product_is_one_cut_of_a_layer(void **state)
{
    const struct layer_program *program = *state;
    for (unsigned split = 1; split < DECODE_SPLIT_LOGITS; split <<= 1) {
        int cuts = 0;
        for (int first = 0; first < program->logits;) {
            const int cut = layer_program_cut(program, first, split);
            const bool attends = program->ops[cut].kind == LAYER_ATTEND;
            if (!attends && cut < program->logits) {
                assert_int_equal(program->ops[cut].awaits_split, split);
                cuts++;
            }
            first = attends ? cut + 1 : cut;
        }
        assert_int_equal(cuts, tiny.layers);
    }
    assert_int_equal(program->ops[program->logits].split, DECODE_SPLIT_LOGITS);
}

/* The planner's count of bytes has only the table. */
static void what_is_awaited_is_as_planned(void **state)
{
    const struct layer_program *program = *state;
    int awaited[LAYER_BUFFERS] = {0};
    unsigned split[LAYER_BUFFERS] = {0};
    for (int o = 0; o < program->count; o++) {
        awaited[program->ops[o].awaits]++;
        split[program->ops[o].awaits] |= program->ops[o].awaits_split;
    }
    for (int b = LAYER_NOTHING + 1; b < LAYER_BUFFERS; b++) {
        assert_int_equal(awaited[b], tiny.layers * __builtin_popcount(split[b]));
        assert_int_equal(split[b], program->buffers[b].awaited);
    }
}

/* What a joined op reads of other columns would not be there yet. */
static void joined_ops_read_the_columns_that_they_write(void **state)
{
    const struct layer_program *program = *state;
    int joined = 0;
    for (int o = 1; o < program->count; o++) {
        const struct layer_op *op = &program->ops[o];
        if (!op->joined)
            continue;
        joined++;
        assert_int_equal(program->buffers[op->output].width, program->buffers[op[-1].output].width);
        for (int before = o - 1; op->kind == LAYER_PRODUCT; before--) {
            assert_int_not_equal(op->input, program->ops[before].output);
            if (!program->ops[before].joined)
                break;
        }
    }
    /* Up, and what is made of gate and up; biases of q, k and v together, of attention's output, of
     * gate, up and down. */
    const bool full = program->ops[3].kind == LAYER_BIAS;
    assert_int_equal(joined, tiny.layers * (full ? 7 : 2));
}

static void another_architecture_has_other_ops(void **state)
{
    const struct layer_program *program = *state;
    struct layer_layout layout;
    int kinds[LAYER_CAP + 1] = {0};
    for (int o = 0; o < program->count; o++)
        kinds[program->ops[o].kind]++;
    assert_int_equal(kinds[LAYER_NORM], 2 * tiny.layers + 1);
    assert_int_equal(kinds[LAYER_GEGLU], tiny.layers);
    assert_int_equal(kinds[LAYER_SWIGLU], 0);
    assert_int_equal(program->ops[program->count - 1].kind, LAYER_CAP);
    assert_int_equal(program->count, program->logits + 2);
    assert_int_equal(program->ops[1].kind, LAYER_PRODUCT);
    assert_int_equal(program->ops[1].input, LAYER_HIDDEN);
    assert_true(program->adds_apart);
    layer_program_lay_out(&layout, program, sizeof(float));
    assert_true(layout.row_bytes >= (size_t)program->buffers[LAYER_DELTA].width * sizeof(float));
}

static void ops_without_weights_are_left_out(void **state)
{
    const struct layer_program *program = *state;
    int kinds[LAYER_MIX + 1] = {0};
    for (int o = 0; o < program->count; o++)
        kinds[program->ops[o].kind]++;
    assert_int_equal(kinds[LAYER_BIAS] + kinds[LAYER_NORM_HEADS], 0);
    assert_int_equal(kinds[LAYER_PRODUCT], 5 * tiny.layers + 1);
    assert_int_equal(kinds[LAYER_NORM], 2 * tiny.layers + 1);
}

static size_t bytes_of(const struct layer_program *program, const struct layer_layout *layout,
                       enum layer_buffer buffer, size_t left_bytes)
{
    const struct layer_buffer_row *row = &program->buffers[buffer];
    if (row->kept || buffer == LAYER_DELTA || (buffer == LAYER_ACTIVE && layout->in_place))
        return 0;
    return (size_t)row->width * (row->dtype == LAYER_LEFT ? left_bytes : sizeof(float));
}

/* Runs the program over one row of bytes in which each buffer leaves its mark. */
static void what_is_read_is_what_was_written_last(void **state)
{
    const struct layer_program *program = *state;
    for (size_t left_bytes = 2; left_bytes <= 4; left_bytes += 2) {
        struct layer_layout layout;
        unsigned char row[8192] = {0};
        layer_program_lay_out(&layout, program, left_bytes);
        assert_true(layout.row_bytes <= sizeof row);
        for (int o = 0; o < program->count; o++) {
            const struct layer_op *op = &program->ops[o];
            const enum layer_buffer inputs[] = {op->input, op->second};
            for (int i = 0; i < 2; i++)
                for (size_t b = 0; b < bytes_of(program, &layout, inputs[i], left_bytes); b++)
                    assert_int_equal(row[layout.offset[inputs[i]] + b], inputs[i]);
            enum layer_buffer output = op->output;
            memset(row + layout.offset[output], output,
                   bytes_of(program, &layout, output, left_bytes));
        }
    }
}

static void scratch_is_as_wide_as_what_is_alive_together(void **state)
{
    const struct layer_program *program = *state;
    struct layer_layout layout;
    layer_program_lay_out(&layout, program, 4);
    assert_true(layout.in_place);
    assert_int_equal(layout.row_bytes, 4 * (tiny.hidden + 2 * tiny.ffn));
    layer_program_lay_out(&layout, program, 2);
    assert_false(layout.in_place);
    assert_int_equal(layout.row_bytes, 2 * tiny.hidden + 4 * 2 * tiny.ffn + 2 * tiny.ffn);
}

#define FOR_BOTH(test)                                                                             \
    cmocka_unit_test_setup_teardown(test, make, unmake),                                           \
        cmocka_unit_test_setup_teardown(test, make_full, unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOR_BOTH(every_buffer_is_written_before_it_is_read),
        FOR_BOTH(a_layer_ends_where_the_next_begins),
        FOR_BOTH(split_products_are_awaited_by_what_reads_their_rows),
        FOR_BOTH(each_split_product_is_one_cut_of_a_layer),
        FOR_BOTH(what_is_awaited_is_as_planned),
        FOR_BOTH(joined_ops_read_the_columns_that_they_write),
        FOR_BOTH(what_is_read_is_what_was_written_last),
        FOR_BOTH(scratch_is_as_wide_as_what_is_alive_together),
        cmocka_unit_test_setup_teardown(ops_without_weights_are_left_out, make, unmake),
        cmocka_unit_test_setup_teardown(another_architecture_has_other_ops, make_other, unmake),
        cmocka_unit_test_setup_teardown(every_buffer_is_written_before_it_is_read, make_other,
                                        unmake),
        cmocka_unit_test_setup_teardown(what_is_awaited_is_as_planned, make_other, unmake),
        cmocka_unit_test_setup_teardown(what_is_read_is_what_was_written_last, make_other, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
