/* Reads /proc. */
#include "worker/process_memory.h"

#include <stdio.h>
#include <string.h>

/* The kB value of a line "KEY:   N kB" of a file, in bytes; 0 when there is none. */
static int64_t value_of(const char *path, const char *key)
{
    char line[256];
    long long kilobytes = 0;
    size_t length = strlen(key);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            sscanf(line + length + 1, "%lld", &kilobytes);
    fclose(file);
    return (int64_t)kilobytes * 1024;
}

int64_t process_memory_anonymous(void)
{
    return value_of("/proc/self/status", "RssAnon") + value_of("/proc/self/status", "RssShmem");
}

int64_t process_memory_available(void)
{
    return value_of("/proc/meminfo", "MemAvailable");
}
