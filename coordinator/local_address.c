/* Owns nothing. Promises that the address is one of this host's, and no loopback's. */
#include "coordinator/local_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANY_PORT = 9, LOOPBACK_NETWORK = 127 };

static uint32_t bits_of(const struct sockaddr *address)
{
    struct sockaddr_in inet;
    memcpy(&inet, address, sizeof inet);
    return ntohl(inet.sin_addr.s_addr);
}

static void write_bits(char text[LOCAL_ADDRESS_BYTES], uint32_t bits)
{
    snprintf(text, LOCAL_ADDRESS_BYTES, "%u.%u.%u.%u", bits >> 24, bits >> 16 & 255,
             bits >> 8 & 255, bits & 255);
}

static void fill(struct local_address *address, const struct ifaddrs *entry)
{
    *address = (struct local_address){.bits = bits_of(entry->ifa_addr),
                                      .mask = bits_of(entry->ifa_netmask)};
    const size_t width = (size_t)__builtin_popcount(address->mask);
    char network[LOCAL_ADDRESS_BYTES];
    write_bits(address->text, address->bits);
    write_bits(network, address->bits & address->mask);
    snprintf(address->network, sizeof address->network, "%.15s/%zu", network, width);
    snprintf(address->interface, sizeof address->interface, "%s", entry->ifa_name);
}

static bool is_usable(const struct ifaddrs *entry)
{
    return entry->ifa_addr && entry->ifa_netmask && entry->ifa_addr->sa_family == AF_INET &&
           (entry->ifa_flags & IFF_UP) && bits_of(entry->ifa_addr) >> 24 != LOOPBACK_NETWORK;
}

/* ---- by the route ---- */

/* A datagram socket that is connected has chosen its route, and sends nothing. */
static enum status own_end(struct sockaddr_in *own, struct in_addr other, const char *host)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(ANY_PORT), .sin_addr = other};
    socklen_t bytes = sizeof *own;
    const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool connected = descriptor >= 0 &&
                           connect(descriptor, (const struct sockaddr *)&to, sizeof to) == 0 &&
                           getsockname(descriptor, (struct sockaddr *)own, &bytes) == 0;
    const int error = errno;
    if (descriptor >= 0)
        close(descriptor);
    return connected ? STATUS_OK
                     : fail(STATUS_UNAVAILABLE, "no route to host %s: %s", host, strerror(error));
}

enum status local_address_towards(struct local_address *address, const char *host,
                                  struct in_addr other)
{
    struct sockaddr_in own;
    struct ifaddrs *all = NULL;
    TRY(own_end(&own, other, host));
    if (getifaddrs(&all) != 0)
        return fail(STATUS_IO, "list this host's interfaces: %s", strerror(errno));
    bool found = false;
    for (const struct ifaddrs *entry = all; entry && !found; entry = entry->ifa_next) {
        found = is_usable(entry) && bits_of(entry->ifa_addr) == ntohl(own.sin_addr.s_addr);
        if (found)
            fill(address, entry);
    }
    freeifaddrs(all);
    return found ? STATUS_OK
                 : fail(STATUS_UNAVAILABLE,
                        "host %s is reached over this host's loopback, which no other host can "
                        "answer: correct its name, or give --interface NAME",
                        host);
}

bool local_address_is_near(const struct local_address *address, struct in_addr other)
{
    return ((ntohl(other.s_addr) ^ address->bits) & address->mask) == 0;
}

/* ---- by name ---- */

/* "10.1.0.0/16"; false where it is not written so. */
static bool read_network(const char *text, uint32_t *bits, uint32_t *mask)
{
    char address[LOCAL_ADDRESS_BYTES];
    struct in_addr parsed;
    const char *slash = strchr(text, '/');
    char *end = NULL;
    if (!slash || (size_t)(slash - text) >= sizeof address)
        return false;
    snprintf(address, sizeof address, "%.*s", (int)(slash - text), text);
    const long width = strtol(slash + 1, &end, 10);
    if (end == slash + 1 || *end || width < 1 || width > 32 ||
        inet_pton(AF_INET, address, &parsed) != 1)
        return false;
    *bits = ntohl(parsed.s_addr);
    *mask = UINT32_MAX << (32 - width);
    return true;
}

enum status local_address_of(struct local_address *address, const char *interface)
{
    uint32_t bits = 0, mask = 0;
    char there[256] = "";
    struct ifaddrs *all = NULL;
    const bool is_network = read_network(interface, &bits, &mask);
    if (getifaddrs(&all) != 0)
        return fail(STATUS_IO, "list this host's interfaces: %s", strerror(errno));
    bool found = false;
    for (const struct ifaddrs *entry = all; entry && !found; entry = entry->ifa_next) {
        if (!is_usable(entry))
            continue;
        struct local_address each;
        const size_t used = strlen(there);
        fill(&each, entry);
        found =
            is_network ? ((each.bits ^ bits) & mask) == 0 : strcmp(each.interface, interface) == 0;
        if (found)
            *address = each;
        snprintf(there + used, sizeof there - used, "%s%s (%s)", used ? ", " : "", each.interface,
                 each.network);
    }
    freeifaddrs(all);
    return found ? STATUS_OK
                 : fail(STATUS_NOT_FOUND, "--interface %s: this host has no such one, but %s",
                        interface, there[0] ? there : "only its loopback");
}
