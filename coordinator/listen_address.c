/* Owns nothing. Promises that an open port without TLS is never an accident. */
#include "coordinator/listen_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the host in "HOST:PORT". */
static size_t host_bytes(const char *listen)
{
    const char *colon = strrchr(listen, ':');
    return colon ? (size_t)(colon - listen) : strlen(listen);
}

static bool host_is(const char *listen, const char *host)
{
    size_t bytes = host_bytes(listen);
    return strlen(host) == bytes && strncmp(listen, host, bytes) == 0;
}

bool listen_address_is_local(const char *listen)
{
    return host_is(listen, "localhost") || host_is(listen, "[::1]") ||
           (strncmp(listen, "127.", 4) == 0 && host_bytes(listen) >= 7);
}

enum status listen_address_check(const char *listen, bool insecure)
{
    if (listen_address_is_local(listen) || insecure)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "listen on %s: other hosts could read and write without TLS; listen on 127.0.0.1, "
                "or say --insecure-bind on a trusted network",
                listen);
}

enum status listen_address_for_workers(char address[LISTEN_ADDRESS_BYTES], const char *asked,
                                       const char *listen, const char *host)
{
    enum { PORT_MOST = 65535 };
    if (asked[0]) {
        if (snprintf(address, LISTEN_ADDRESS_BYTES, "%s", asked) >= LISTEN_ADDRESS_BYTES)
            return fail(STATUS_INVALID_ARGUMENT, "--worker-listen: the address is too long");
        return STATUS_OK;
    }
    long port = strtol(strrchr(listen, ':') + 1, NULL, 10);
    if (port == PORT_MOST)
        return fail(STATUS_INVALID_ARGUMENT,
                    "listen on %s: no port comes after it for workers; give them one with "
                    "--worker-listen HOST:PORT",
                    listen);
    snprintf(address, LISTEN_ADDRESS_BYTES, "%s:%ld", host, port ? port + 1 : 0);
    return STATUS_OK;
}

void listen_address_reach(char address[LISTEN_ADDRESS_BYTES], const char *listen, int port,
                          const char *host)
{
    bool any = host_is(listen, "0.0.0.0") || host_is(listen, "[::]");
    if (any)
        snprintf(address, LISTEN_ADDRESS_BYTES, "%s:%d", host, port);
    else
        snprintf(address, LISTEN_ADDRESS_BYTES, "%.*s:%d", (int)host_bytes(listen), listen, port);
}
