/* Owns nothing. */
#include "coordinator/cli/template_digest.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/batch/text_set.h"
#include "coordinator/text/chat_source.h"

_Static_assert((int)TEXT_SET_HEX_BYTES == (int)DIGEST_HEX_BYTES, "both are 128 bits");

enum status template_digest(char hex[DIGEST_HEX_BYTES], const char *name)
{
    struct chat_source source;
    snprintf(hex, DIGEST_HEX_BYTES, "%s", "auto");
    if (strcmp(name, "auto") == 0)
        return STATUS_OK;
    TRY(chat_source_open(&source, NULL, name));
    text_set_hex(hex, source.text.text, source.text.bytes);
    chat_source_close(&source);
    return STATUS_OK;
}
