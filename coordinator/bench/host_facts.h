/* What this host is, and what it is doing. */
#pragma once

#include <stdint.h>

enum { HOST_FACTS_TEXT_BYTES = 128 };

struct host_facts {
    char cpu[HOST_FACTS_TEXT_BYTES];    /* the model's name; "" where the kernel tells none */
    char system[HOST_FACTS_TEXT_BYTES]; /* "Linux 6.1.0 x86_64" */
    char name[HOST_FACTS_TEXT_BYTES];   /* of the host */
    int cores;                          /* that are online */
    int usable_cores;                   /* that this process may run on */
    int64_t memory_bytes;
    double load; /* of the last minute; negative: not known */
};

void host_facts_read(struct host_facts *facts);
