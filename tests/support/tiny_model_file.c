/* tiny_model_file PATH: writes a small model file with random weights, for tests of whole programs.
 */
#include <stdio.h>

#include "tests/support/tiny_model.h"

int main(int argc, char **argv)
{
    const struct tiny_model_shape shape = {
        .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
    if (argc != 2) {
        fputs("usage: tiny_model_file PATH\n", stderr);
        return 2;
    }
    tiny_model_write(argv[1], &shape, 7, DTYPE_Q8_0);
    return 0;
}
