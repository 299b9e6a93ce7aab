/* Which start of which host this is: processes of one boot share the monotonic clock. */
#pragma once

enum { BOOT_ID_BYTES = 40 };

/* "" where the kernel does not tell. */
void boot_id_read(char boot_id[BOOT_ID_BYTES]);
