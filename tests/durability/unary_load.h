/* Many unary calls at a time with little work of the caller's: one thread, one batch of operations
 * a call, and nothing between gRPC's C core and the wire. What is left is what the core itself
 * takes, so that the figures are the server's. */
#pragma once

#include <stdint.h>

struct unary_load {
    const char *server; /* HOST:PORT */
    const char *path;   /* "/SERVICE/METHOD" */
    int64_t clients;    /* each with a call under way, the next when it has ended */
    double seconds;
    /* Writes call `index`'s request, at most UNARY_LOAD_REQUEST_BYTES; returns its bytes. */
    int64_t (*request)(uint8_t *bytes, int64_t index);

    /* What came of it. */
    float *milliseconds; /* [calls], sorted; the caller frees it */
    int64_t calls;
    double calls_a_second;
    double own_cpu_us; /* a call, of this process */
};

enum { UNARY_LOAD_REQUEST_BYTES = 1024 };

/* 0, or 1 after saying on stderr why a call has failed. */
int unary_load_run(struct unary_load *load);
