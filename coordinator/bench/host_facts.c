/* Owns nothing: reads /proc when asked. What cannot be read is empty, 0 or negative. */
#include "coordinator/bench/host_facts.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void read_cpu(char name[HOST_FACTS_TEXT_BYTES])
{
    char line[512];
    name[0] = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !name[0] && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, HOST_FACTS_TEXT_BYTES, "%.*s", HOST_FACTS_TEXT_BYTES - 1,
                 colon + 1 + strspn(colon + 1, " \t"));
    }
    if (file)
        fclose(file);
}

void host_facts_read(struct host_facts *facts)
{
    struct utsname system;
    cpu_set_t usable;
    *facts = (struct host_facts){.load = -1};
    read_cpu(facts->cpu);
    if (uname(&system) == 0) {
        snprintf(facts->system, sizeof facts->system, "%.20s %.70s %.30s", system.sysname,
                 system.release, system.machine);
        snprintf(facts->name, sizeof facts->name, "%s", system.nodename);
    }
    facts->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    facts->usable_cores =
        sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : facts->cores;
    facts->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    if (getloadavg(&facts->load, 1) != 1)
        facts->load = -1;
}
