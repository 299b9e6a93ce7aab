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

/* A length, count or type that a binary format may choke on. */
static uint64_t interesting_word(void)
{
    static const uint64_t words[] = {0,         1,          2,          8,          31,
                                     32,        64,         255,        256,        65536,
                                     1 << 24,   INT32_MAX,  1ULL << 31, UINT32_MAX, 1ULL << 32,
                                     INT64_MAX, 1ULL << 63, UINT64_MAX};
    return words[draw(sizeof words / sizeof words[0])];
}

/* One change in place; returns the new length. */
static size_t change(uint8_t *data, size_t bytes, size_t room)
{
    if (bytes == 0) {
        data[0] = interesting_byte();
        return 1;
    }
    size_t at = draw(draw(3) ? bytes / 4 + 1 : bytes); /* early bytes decide most */
    uint64_t word = interesting_word();
    size_t length = 1 + draw(bytes - at < 64 ? bytes - at : 64);
    switch (draw(6)) {
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
    case 4:
        memcpy(data + at, &word, bytes - at < 8 ? bytes - at : draw(2) ? 4 : 8);
        return bytes;
    default: /* repeat a part */
        if (bytes + length > room)
            return bytes;
        memmove(data + at + length, data + at, bytes - at);
        return bytes + length;
    }
}

static long round_now;

/* Present in checked builds alone. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void say_round(void)
{
    fprintf(stderr, "in round %ld\n", round_now);
}

/* Seeds as files, to start libFuzzer from. */
static int write_seeds(const char *folder, uint8_t *seed)
{
    size_t bytes;
    for (int i = 0; (bytes = fuzz_seed(i, seed, INPUT_BYTES)) > 0; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%d", folder, i);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(seed, 1, bytes, file) != bytes || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
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

/* The inputs between two changes of the seed: the seed itself first, then changed copies of it. */
enum { ROUNDS_A_SEED = 250 };

static void run_rounds(uint8_t *seed, uint8_t *data)
{
    printf("seed %llu, %d rounds\n", (unsigned long long)random_state, ROUNDS);
    size_t seed_bytes = 0;
    int index = 0;
    for (round_now = 0; round_now < ROUNDS; round_now++) {
        bool unchanged = round_now % ROUNDS_A_SEED == 0;
        if (unchanged) {
            seed_bytes = fuzz_seed(index++, seed, INPUT_BYTES);
            if (seed_bytes == 0) { /* past the last one: start over */
                index = 1;
                seed_bytes = fuzz_seed(0, seed, INPUT_BYTES);
            }
        }
        size_t bytes = seed_bytes;
        memcpy(data, seed, bytes);
        for (uint64_t changes = unchanged ? 0 : 1 + draw(CHANGES_MAX); changes > 0; changes--)
            bytes = change(data, bytes, INPUT_BYTES);
        /* A copy of its own length, so that the sanitizer sees a read past the end. */
        uint8_t *input = malloc(bytes ? bytes : 1);
        if (!input)
            exit(1);
        memcpy(input, data, bytes);
        LLVMFuzzerTestOneInput(input, bytes);
        free(input);
    }
}

/* Arguments: files to run, as libFuzzer takes them, or --seeds and a folder to write the seeds to;
 * none: seeds and mutations. */
int main(int argc, char **argv)
{
    uint8_t *seed = malloc(INPUT_BYTES);
    uint8_t *data = malloc(INPUT_BYTES);
    if (!seed || !data)
        return 1;
    int result = 0;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_round);
    if (argc == 1)
        run_rounds(seed, data);
    else if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        result = write_seeds(argv[2], seed);
    else
        for (int i = 1; i < argc; i++)
            run_file(argv[i], data);
    free(seed);
    free(data);
    return result;
}
