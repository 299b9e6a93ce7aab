/* Owns nothing. */
#include "proto/boot_id.h"

#include <stdio.h>
#include <string.h>

void boot_id_read(char boot_id[BOOT_ID_BYTES])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    boot_id[0] = 0;
    if (!file)
        return;
    if (!fgets(boot_id, BOOT_ID_BYTES, file))
        boot_id[0] = 0;
    boot_id[strcspn(boot_id, "\n")] = 0;
    fclose(file);
}
