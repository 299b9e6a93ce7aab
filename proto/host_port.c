/* Owns nothing. Promises that what passes has a host and a port: gRPC would take port 443 where
 * there is none. */
#include "proto/host_port.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60, DIGITS_MAX = 5, PORT_MAX = 65535 };

static enum status check_host(const char *text, size_t bytes)
{
    bool bracketed = bytes > 2 && text[0] == '[' && text[bytes - 1] == ']';
    if (bytes == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "\"%.*s\" has no host: write HOST:PORT, for example 127.0.0.1:7711", SHOWN,
                    text);
    if (!bracketed && memchr(text, ':', bytes))
        return fail(STATUS_INVALID_ARGUMENT,
                    "\"%.*s\": an IPv6 address stands in brackets, for example [::1]:7711", SHOWN,
                    text);
    if (strcspn(text, " \t\r\n/") < bytes)
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\" is not HOST:PORT", SHOWN, text);
    return STATUS_OK;
}

enum status host_port_check(const char *text, int port_least)
{
    const char *colon = strrchr(text, ':');
    bool in_brackets = colon && strchr(colon, ']');
    if (!colon || in_brackets || !colon[1])
        return fail(STATUS_INVALID_ARGUMENT,
                    "\"%.*s\" has no port: write HOST:PORT, for example 127.0.0.1:7711", SHOWN,
                    text);
    TRY(check_host(text, (size_t)(colon - text)));
    size_t digits = strspn(colon + 1, "0123456789");
    if (colon[1 + digits])
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\": the port \"%.*s\" is not a number", SHOWN,
                    text, SHOWN, colon + 1);
    long port = digits <= DIGITS_MAX ? strtol(colon + 1, NULL, 10) : PORT_MAX + 1;
    if (port < port_least || port > PORT_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "\"%.*s\": the port is outside %d to %d", SHOWN, text,
                    port_least, PORT_MAX);
    return STATUS_OK;
}
