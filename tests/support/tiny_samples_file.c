/* tiny_samples_file FILE VOCAB SAMPLES TOKENS SEED: samples for tests of training. They are TOKENS
 * long and up to a fourth less, ids come in runs that a model can learn, and about one token in
 * eight is not in the loss. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/train/sample_file.h"
#include "tests/support/random.h"

enum { TOKENS_MOST = 4096 };

static enum status write_samples(const char *path, int vocab, int samples, int tokens, int seed)
{
    static int32_t ids[TOKENS_MOST], positions[TOKENS_MOST];
    static uint8_t counts[TOKENS_MOST];
    struct record_writer writer;
    struct random random = {(uint64_t)seed};
    TRY(sample_file_create(&writer, path, vocab));
    for (int s = 0; s < samples; s++) {
        const int64_t count = tokens - random_between(&random, 0, tokens / 4 + 1);
        int32_t id = 0;
        for (int64_t t = 0; t < count; t++) {
            const bool jumps = random_between(&random, 0, 4) == 0;
            id = jumps ? (int32_t)random_between(&random, 0, vocab) : (id + 1) % vocab;
            ids[t] = id;
            positions[t] = (int32_t)t;
            counts[t] = t > 0 && random_between(&random, 0, 8) > 0;
        }
        const struct sample sample = {count, ids, positions, counts};
        const enum status status = sample_file_add(&writer, &sample);
        if (status != STATUS_OK) {
            record_writer_discard(&writer);
            return status;
        }
    }
    return record_writer_close(&writer);
}

int main(int argc, char **argv)
{
    if (argc != 6 || atoi(argv[4]) < 4 || atoi(argv[4]) > TOKENS_MOST)
        return 2;
    const enum status status =
        write_samples(argv[1], atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "tiny_samples_file: %s\n", status_message());
    return 1;
}
