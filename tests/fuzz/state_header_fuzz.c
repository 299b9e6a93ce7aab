/* The header of a checkpoint over any bytes: what is read covers every parameter once, and is
 * written as the same bytes again; what is refused has its place. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/trainer/state_header.h"

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    struct state_part parts[3] = {{0, 5, {"a", "b", "c"}}, {5, 5, {""}}, {5, 64, {"d", "e", "f"}}};
    struct state_header header = {7, 9, 64, "run", 3, parts};
    if (index > 2)
        return 0;
    header.parts_count = (uint32_t)index + 1;
    header.count = parts[index].end;
    const size_t bytes = state_header_bytes(header.parts_count);
    if (bytes > room)
        return 0;
    state_header_write(data, &header);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct state_header header;
    if (state_header_read(&header, "f", data, bytes) != STATUS_OK) {
        if (strncmp(status_message(), "f:", 2) != 0)
            abort();
        return 0;
    }
    uint64_t end = 0;
    for (uint32_t p = 0; p < header.parts_count; p++) {
        if (header.parts[p].first != end || header.parts[p].end < end)
            abort();
        end = header.parts[p].end;
    }
    uint8_t *again = malloc(state_header_bytes(header.parts_count));
    if (!again || end != header.count || bytes != state_header_bytes(header.parts_count))
        abort();
    state_header_write(again, &header);
    if (memcmp(again, data, bytes) != 0)
        abort();
    free(again);
    state_header_deinit(&header);
    return 0;
}
