/* Any text in normal form C: UTF-8 again, the same when it is normalised once more, and not shorter
 * than promised; or refused for its marks. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/nfc.h"
#include "proto/utf8_check.h"
#include "tests/fuzz/fuzz.h"

static const char *const texts[] = {
    "re\xCC\x81sum\xC3\xA9 A\xCC\x8A q\xCC\xA3\xCC\x87",
    "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB \xEA\xB0\x80\xE1\x86\xA7 \xCD\x84\xE0\xBD\xB3",
    "x\xE0\xA2\x98\xCC\x81\xCC\x96 \xF0\x9D\x85\x9E \xE2\x84\xAB\xE2\x84\xA6",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index >= (int)(sizeof texts / sizeof texts[0]) || strlen(texts[index]) > room)
        return 0;
    memcpy(data, texts[index], strlen(texts[index]));
    return strlen(texts[index]);
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct nfc first = {0};
    struct nfc second = {0};
    const char *normal;
    const char *again;
    size_t normal_bytes;
    size_t again_bytes;
    if (utf8_check((const char *)data, bytes, "") != STATUS_OK)
        return 0;
    if (nfc_normalise(&first, &normal, &normal_bytes, (const char *)data, bytes, false) ==
        STATUS_OK) {
        require(utf8_check(normal, normal_bytes, "") == STATUS_OK);
        require(normal_bytes * NFC_SHRINKS_BY >= bytes);
        require(nfc_normalise(&second, &again, &again_bytes, normal, normal_bytes, false) ==
                STATUS_OK);
        require(again_bytes == normal_bytes && memcmp(again, normal, again_bytes) == 0);
    }
    nfc_deinit(&first);
    nfc_deinit(&second);
    return 0;
}
