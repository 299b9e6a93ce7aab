/* The configuration reader over any bytes: every input is read or refused with problems that have
 * their place. */
#include <stdlib.h>
#include <string.h>

#include "proto/config.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    ("model:\n  path: /m.gguf\nengine:\n  workers: 2\n  method: string:shift=4096,local=128\n"
     "coordinator:\n  listen: 127.0.0.1:0\n  launch: true\ncontrol: {heartbeat_seconds: 0.5}\n"),
    "engine: {workers: [1, 2], threads: \"3\", nowhere: {a: {b: c}}}\nlog:\n  level: loud\n",
    "a: &x [*x, !t y]\n--- {}\n? [k]\n: v\n",
    "log:\n  level: >-\n    debug\n  # comment\n\"engine\":\n  'workers': |\n    4\n",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0])
        return 0;
    size_t bytes = strlen(seeds[index]);
    if (bytes > room)
        return 0;
    memcpy(data, seeds[index], bytes);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct config *config = NULL;
    if (config_create(&config) != STATUS_OK)
        return 0;
    enum status status = config_read_bytes(config, "f", data, bytes);
    size_t problems = config_problems_count(config);
    if ((status == STATUS_OK) != (problems == 0))
        abort();
    for (size_t i = 0; i < problems; i++)
        if (strncmp(config_problem(config, i), "f:", 2) != 0)
            abort();
    config_destroy(config);
    return 0;
}
