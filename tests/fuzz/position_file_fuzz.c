/* The reader of positions over any text: what it reads lies in the range, as many as the text can
 * hold; what it refuses has its file. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/position_file.h"
#include "proto/plan/given_positions.h"
#include "tests/fuzz/fuzz.h"

static const char *const seeds[] = {"0 1 2\n7,8,9\n1099511627775\n", "1\n\n-2 x", ",,,\t\r\n"};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0] || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    int64_t *positions = NULL;
    size_t count = 0;
    if (!text)
        return 0;
    if (bytes > 0)
        memcpy(text, data, bytes);
    text[bytes] = '\0';
    if (position_file_read_text(&positions, &count, "f", text) != STATUS_OK) {
        if (strncmp(status_message(), "f:", 2) != 0)
            abort();
    } else if (count == 0 || count > bytes / 2 + 1) {
        abort();
    }
    for (size_t i = 0; i < count; i++)
        if (positions[i] < 0 || positions[i] >= GIVEN_POSITIONS_END)
            abort();
    free(positions);
    free(text);
    return 0;
}
