/* A training run's file over any bytes: what is read keeps its ranges, and prints its values; what
 * is refused says where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/train/train_config.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    "model: {path: m, rope_base: auto}\ndata: {files: a, selection: digits, ratio: 0.6}\n"
    "positions: {setting: recipe, target: 80k, right_points: true}\n"
    "training: {steps: 3, decay: cosine, replay: {steps: 2}}\noutput: {folder: o}\n",
    "model:\n  shape: s\n  rope_base: 1e6\ndata:\n  files: a\n  replay:\n    loss: response\n"
    "mesh: {data: 2}\noutput:\n  folder: o\n  dtype: float16\n",
    "data: [1]\n--- {}\n",
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
    static struct train_config config;
    char *text = NULL;
    size_t printed = 0;
    if (train_config_read_bytes(&config, "f", data, bytes) != STATUS_OK) {
        if (strncmp(status_message(), "f:", 2) != 0)
            abort();
        return 0;
    }
    if (config.training.batch < 1 || config.training.keep < 2 || config.mesh.tensor != 1 ||
        !(config.training.beta2 < 1) || config.replay.batch < 1 || !config.output.folder[0])
        abort();
    FILE *file = open_memstream(&text, &printed);
    if (!file)
        return 0;
    train_config_print_values(file, &config, "", "");
    fclose(file);
    if (!strstr(text, "output.folder = "))
        abort();
    free(text);
    return 0;
}
