/* tiny_model_file PATH [mixed]: writes a small model file with random weights, for tests of whole
 * programs; mixed, of the block formats that "Q4_K_M" files hold. */
#include <stdio.h>
#include <string.h>

#include "tests/support/tiny_model.h"

int main(int argc, char **argv)
{
    const struct tiny_model_shape shape = {
        .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
    const struct tiny_model_shape mixed = {.layers = 2,
                                           .hidden = 256,
                                           .heads = 4,
                                           .kv_heads = 4,
                                           .head_dim = 64,
                                           .ffn = 256,
                                           .mixed = true};
    bool is_mixed = argc == 3 && strcmp(argv[2], "mixed") == 0;
    if (argc != 2 && !is_mixed) {
        fputs("usage: tiny_model_file PATH [mixed]\n", stderr);
        return 2;
    }
    tiny_model_write(argv[1], is_mixed ? &mixed : &shape, 7, DTYPE_Q8_0);
    return 0;
}
