/* tiny_model_file PATH [mixed | Q3_K | IQ4_NL | IQ4_XS | Q2_K | f32 | spoilt | directory | shards |
 * large]: writes a small model with random weights, for tests of whole programs. mixed: of the
 * block formats that "Q4_K_M" files hold. Q3_K and so on: of the shape of mixed, all matrices of
 * that type. spoilt: the embedding of the byte 'z' holds a NaN. f32, directory and shards: the same
 * float32 model, as a GGUF file and as a directory of one or of three safetensors files. large: of
 * the shape of an 8B Llama, 4.5 GB. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/tiny_directory.h"
#include "tests/support/tiny_model.h"

int main(int argc, char **argv)
{
    const struct tiny_model_shape shape = {
        .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
    struct tiny_model_shape mixed = {.layers = 2,
                                     .hidden = 256,
                                     .heads = 4,
                                     .kv_heads = 4,
                                     .head_dim = 64,
                                     .ffn = 256,
                                     .mixed = true};
    const struct tiny_model_shape large = {.layers = 32,
                                           .hidden = 4096,
                                           .heads = 32,
                                           .kv_heads = 8,
                                           .head_dim = 128,
                                           .ffn = 14336,
                                           .vocab = 128256,
                                           .context = 8192,
                                           .untied = true,
                                           .distinct_rows = 61};
    struct tiny_model_shape spoilt = shape;
    spoilt.untied = true; /* or 'z' would be a logit of every request */
    spoilt.spoilt = "token_embd.weight";
    spoilt.spoilt_row = TINY_MODEL_BYTE_0 + 'z';
    const char *form = argc == 3 ? argv[2] : "";
    enum dtype small = DTYPE_Q3_K;
    while (small < DTYPE_COUNT && strcmp(form, dtype_name(small)) != 0)
        small++;
    const bool is_small = small < DTYPE_COUNT;
    bool is_shards = strcmp(form, "shards") == 0;
    if (argc == 2) {
        tiny_model_write(argv[1], &shape, 7, DTYPE_Q8_0);
    } else if (strcmp(form, "mixed") == 0) {
        tiny_model_write(argv[1], &mixed, 7, DTYPE_Q8_0);
    } else if (is_small) {
        mixed.mixed = false;
        tiny_model_write(argv[1], &mixed, 7, small);
    } else if (strcmp(form, "large") == 0) {
        tiny_model_write(argv[1], &large, 7, DTYPE_Q4_0);
    } else if (strcmp(form, "f32") == 0) {
        tiny_model_write(argv[1], &shape, 7, DTYPE_F32);
    } else if (strcmp(form, "spoilt") == 0) {
        tiny_model_write(argv[1], &spoilt, 7, DTYPE_F32);
    } else if ((is_shards || strcmp(form, "directory") == 0) && mkdir(argv[1], 0700) == 0) {
        tiny_directory_write(argv[1], &shape, 7, DTYPE_F32, is_shards ? 3 : 1);
    } else {
        fputs("usage: tiny_model_file PATH [mixed | Q3_K | IQ4_NL | IQ4_XS | Q2_K | f32 | spoilt | "
              "directory | shards | large]\n",
              stderr);
        return 2;
    }
    return 0;
}
