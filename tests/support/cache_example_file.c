/* cache_example_file PATH: writes a small file of saved keys, of 130 tokens. */
#include <stdio.h>

#include "tests/support/cache_example.h"

int main(int argc, char **argv)
{
    struct cache_example example;
    if (argc != 2) {
        fprintf(stderr, "usage: cache_example_file PATH\n");
        return 2;
    }
    cache_example_make(&example, "string:shift=60,local=2", CHOICE_CACHE_BF16, 130, 0);
    cache_example_write(&example, argv[1]);
    return 0;
}
