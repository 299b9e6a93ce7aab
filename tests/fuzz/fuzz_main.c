/* Runs a fuzz target without libFuzzer. Promises the same inputs for the same seed, which it
 * prints. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_BYTES = 1 << 20, ROUNDS = 4000, CHANGES_MAX = 8 };

static uint64_t random_state = 20240229;

/* xorshift64* */
static uint64_t draw(uint64_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545f4914f6cdd1dU >> 16) % below;
}

static uint8_t interesting_byte(void)
{
    static const uint8_t bytes[] = {0,   1,   0x7f, 0x80, 0xff, '\n', ' ',
                                    ':', '"', '[',  '{',  '&',  '*'};
    return draw(2) ? (uint8_t)draw(256) : bytes[draw(sizeof bytes)];
}

/* One change in place; returns the new length. */
static size_t change(uint8_t *data, size_t bytes, size_t room)
{
    if (bytes == 0) {
        data[0] = interesting_byte();
        return 1;
    }
    size_t at = draw(bytes);
    size_t length = 1 + draw(bytes - at < 64 ? bytes - at : 64);
    switch (draw(5)) {
    case 0:
        data[at] = interesting_byte();
        return bytes;
    case 1:
        data[at] ^= (uint8_t)(1U << draw(8));
        return bytes;
    case 2: /* cut out */
        memmove(data + at, data + at + length, bytes - at - length);
        return bytes - length;
    case 3: /* cut off */
        return draw(8) ? bytes : at;
    default: /* repeat a part */
        if (bytes + length > room)
            return bytes;
        memmove(data + at + length, data + at, bytes - at);
        return bytes + length;
    }
}

static void run_file(const char *path, uint8_t *data)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t bytes = fread(data, 1, INPUT_BYTES, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, bytes);
}

/* Arguments: files to run, as libFuzzer takes them; none: seeds and mutations. */
int main(int argc, char **argv)
{
    uint8_t *seed = malloc(INPUT_BYTES);
    uint8_t *data = malloc(INPUT_BYTES);
    if (!seed || !data)
        return 1;
    for (int i = 1; i < argc; i++)
        run_file(argv[i], data);
    int seeds = 0;
    while (argc == 1 && fuzz_seed(seeds, seed, INPUT_BYTES) > 0)
        seeds++;
    printf("seed %llu, %d rounds over %d seeds\n", (unsigned long long)random_state, ROUNDS, seeds);
    for (int round = 0; seeds > 0 && round < ROUNDS; round++) {
        size_t bytes = fuzz_seed(round % seeds, seed, INPUT_BYTES);
        memcpy(data, seed, bytes);
        for (uint64_t changes = round < seeds ? 0 : 1 + draw(CHANGES_MAX); changes > 0; changes--)
            bytes = change(data, bytes, INPUT_BYTES);
        /* A copy of its own length, so that the sanitizer sees a read past the end. */
        uint8_t *input = malloc(bytes ? bytes : 1);
        if (!input)
            return 1;
        memcpy(input, data, bytes);
        LLVMFuzzerTestOneInput(input, bytes);
        free(input);
    }
    free(seed);
    free(data);
    return argc == 1 && seeds == 0;
}
