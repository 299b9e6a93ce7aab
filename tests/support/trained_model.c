/* Owns nothing: one spec, from what is varied of it. */
#include "tests/support/trained_model.h"

#include "tests/support/unit.h"

struct model_spec trained_model_spec(const struct trained_model *model)
{
    struct model_spec spec = {.layers = 2,
                              .hidden = 48,
                              .heads = 4,
                              .kv_heads = model->kv_heads,
                              .head_dim = 16,
                              .ffn = 80,
                              .vocab = TRAINED_MODEL_VOCAB,
                              .trained_tokens = 8192,
                              .norm_eps = 1e-5f,
                              .tied_output = model->tied,
                              .qkv_bias = model->qkv_bias,
                              .output_bias = model->output_bias,
                              .mlp_bias = model->mlp_bias,
                              .qk_norm = model->qk_norm};
    const struct spec_rope rope = {
        .base = 1000, .scaling = MODEL_ROPE_NONE, .factor = 1, .mscale = 1};
    assert_int_equal(spec_set_rope(&spec, &rope, "the test's model"), STATUS_OK);
    spec.window.tokens = model->window;
    if (model->window)
        model_window_cover(&spec.window, 1);
    return spec;
}
