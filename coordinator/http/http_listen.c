/* Owns nothing that it does not hand on. */
#include "coordinator/http/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The system keeps no more than this for a client that does not read: so it is seen to be slow. */
enum { HOST_BYTES = 256, BACKLOG = 128, SEND_BYTES = 256 << 10 };

static enum status split(char host[HOST_BYTES], const char **port, const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t bytes = colon ? (size_t)(colon - address) : 0;
    if (bytes == 0 || bytes >= HOST_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "--http %s: must be HOST:PORT", address);
    const bool brackets = address[0] == '[' && address[bytes - 1] == ']';
    snprintf(host, HOST_BYTES, "%.*s", (int)(bytes - 2 * brackets), address + brackets);
    *port = colon + 1;
    return STATUS_OK;
}

static int bound_port(int socket)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    char port[NI_MAXSERV];
    int number = 0;
    if (getsockname(socket, (struct sockaddr *)&address, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&address, bytes, NULL, 0, port, sizeof port,
                    NI_NUMERICSERV) != 0)
        return 0;
    return sscanf(port, "%d", &number) == 1 ? number : 0;
}

/* -1 with errno where this address cannot be listened to. */
static int open_socket(const struct addrinfo *info)
{
    const int one = 1, send_bytes = SEND_BYTES;
    const int opened = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    if (opened < 0)
        return -1;
    if (setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        setsockopt(opened, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes) == 0 &&
        bind(opened, info->ai_addr, info->ai_addrlen) == 0 && listen(opened, BACKLOG) == 0)
        return opened;
    const int reason = errno;
    close(opened);
    errno = reason;
    return -1;
}

enum status http_listen(int *socket, int *port, const char *address)
{
    char host[HOST_BYTES];
    const char *service = NULL;
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    TRY(split(host, &service, address));
    const int failure = getaddrinfo(host, service, &hints, &found);
    if (failure)
        return fail(STATUS_INVALID_ARGUMENT, "--http %s: %s", address, gai_strerror(failure));
    int opened = -1;
    for (const struct addrinfo *info = found; info && opened < 0; info = info->ai_next)
        opened = open_socket(info);
    const int reason = errno;
    freeaddrinfo(found);
    if (opened < 0)
        return fail(STATUS_UNAVAILABLE, "--http %s: %s", address, strerror(reason));
    *socket = opened;
    *port = bound_port(opened);
    return STATUS_OK;
}
