/* Owns nothing. Promises that what cannot be found stays empty: it is told to people, and nothing
 * depends on it. */
#include "worker/own_address.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "HOST:PORT", "[HOST]:PORT". */
static struct addrinfo *look_up(const char *peer)
{
    char host[256];
    const char *colon = strrchr(peer, ':');
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    if (!colon)
        return NULL;
    const bool bracketed = peer[0] == '[' && colon > peer + 1 && colon[-1] == ']';
    const char *first = peer + bracketed;
    const int bytes = (int)(colon - first) - bracketed;
    if (snprintf(host, sizeof host, "%.*s", bytes, first) >= (int)sizeof host)
        return NULL;
    return getaddrinfo(host, colon + 1, &hints, &found) == 0 ? found : NULL;
}

/* A datagram socket that is connected has the address from which it would send. */
static bool find_source(struct sockaddr_storage *source, const struct addrinfo *peer)
{
    socklen_t bytes = sizeof *source;
    const int probe = socket(peer->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return false;
    const bool found = connect(probe, peer->ai_addr, peer->ai_addrlen) == 0 &&
                       getsockname(probe, (struct sockaddr *)source, &bytes) == 0;
    close(probe);
    return found;
}

static bool is_same(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (!a || a->sa_family != b->ss_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static void name_interface(struct own_address *own, const struct sockaddr_storage *source)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *each = all; each && !own->interface[0]; each = each->ifa_next)
        if (is_same(each->ifa_addr, source))
            snprintf(own->interface, sizeof own->interface, "%s", each->ifa_name);
    freeifaddrs(all);
}

void own_address_find(struct own_address *own, const char *peer)
{
    struct sockaddr_storage source;
    struct addrinfo *peers = look_up(peer);
    bool found = false;
    *own = (struct own_address){.address = ""};
    for (const struct addrinfo *each = peers; each && !found; each = each->ai_next)
        found = find_source(&source, each);
    if (peers)
        freeaddrinfo(peers);
    if (!found || getnameinfo((const struct sockaddr *)&source, sizeof source, own->address,
                              sizeof own->address, NULL, 0, NI_NUMERICHOST) != 0)
        own->address[0] = '\0';
    else
        name_interface(own, &source);
}
