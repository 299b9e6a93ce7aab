/* The reader of users' own tables over any bytes: what it reads is a method's canonical spelling
 * with a table that covers every pair; what it refuses has its file. */
#include <stdlib.h>
#include <string.h>

#include "proto/own_table_file.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {
    ("keys:\n  - {rule: plain, below: 4096}\n  - {rule: shift, by: -2048, below: 8192}\n"
     "  - {rule: hidden}\nsinks: 4\nsink_keys:\n  - {rule: plain, below: 4096}\n"
     "  - {rule: fixed, at: 4096}\n"),
    "keys: [{rule: plain, below: 8}, {rule: scale, from: 8, factor: 2.5}]\n",
    "keys: [{rule: plain, below: 8}, {rule: group, of: 4, by: 6}]\n",
    "sinks: 2\nkeys: &a [{rule: plain}]\nsink_keys: [{rule: anchor, at: 9}]\n",
    "keys: [[[[[]]]]]\n",
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
    char spelling[METHOD_TEXT_BYTES], printed[METHOD_TEXT_BYTES];
    struct method method;
    struct bands bands;
    const char *reason;
    if (own_table_file_read_bytes(spelling, "f", data, bytes) != STATUS_OK) {
        if (strncmp(status_message(), "f:", 2) != 0)
            abort();
        return 0;
    }
    if (method_parse(&method, spelling, 0) != STATUS_OK)
        abort();
    method_print(&method, printed);
    method_bands(&method, &bands);
    if (strcmp(printed, spelling) != 0 || !bands_check(&bands, &reason))
        abort();
    return 0;
}
