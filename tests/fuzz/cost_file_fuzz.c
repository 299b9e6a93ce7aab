/* The reader of measured rates over any bytes: what it reads it prints, and reads again as the
 * same; what it refuses has its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cost_file.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    ("costs: {version: 1, measured: x}\nmachine: {cpu: c, cores: 2, kernels: avx2}\n"
     "model: {name: m, digest: d, weights: Q8_0, head_dim: 64}\nthreads:\n"
     "  1: {linear_flops: 1e9, attention_flops: 1e9, edge_keys: 3, layer_s: 0, stage_s: 0,\n"
     "      logits_flops: 1e9, memory_bytes: 1e9, keys_bytes: 1e9, token_s: 0, load_bytes: 1e9}\n"
     "links: {within: {bytes_per_second: 1e9, latency_s: 1e-6, message_s: 0}}\n"),
    "costs: {version: 1}\nthreads: {1: {2: {3: 4}}, x: 5}\nlinks: [1]\n",
    "costs: {version: &a 2}\n--- {}\n",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0] || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct cost_file file, again;
    char *text = NULL;
    size_t printed = 0;
    if (cost_file_read_bytes(&file, "f", data, bytes) != STATUS_OK) {
        if (strncmp(status_message(), "f:", 2) != 0)
            abort();
        return 0;
    }
    FILE *out = open_memstream(&text, &printed);
    if (!out)
        return 0;
    cost_file_print(out, &file);
    fclose(out);
    if (cost_file_read_bytes(&again, "f", text, printed) != STATUS_OK ||
        again.rates.count != file.rates.count ||
        memcmp(&again.rates.rows, &file.rates.rows,
               (size_t)file.rates.count * sizeof file.rates.rows[0]) != 0)
        abort();
    free(text);
    return 0;
}
