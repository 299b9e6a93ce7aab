/* lan-switch DELAY_US LOST INTERFACE...: an Ethernet switch between emulated hosts. Frames take
 * DELAY_US longer, one way, and LOST of a million are lost.
 *
 * Not every kernel has netem, so delay comes from here. It runs in the namespace that holds one end
 * of every host's link, the ends in no bridge; learns which address is behind which port; writes
 * "ready" once it forwards, and goes on until it is killed. What it adds itself is measured by who
 * uses it (hosts.py). Frames come and go with the kernel's header for segments that the sender
 * leaves uncut, so that large ones pass whole. A port whose link is down loses its frames, as a cut
 * cable does. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PORTS = 65,
    FRAMES = 4096, /* on their way out of a port; more are lost */
    FRAME_BYTES = 66000,
    ADDRESSES = 256,
    AT_ONCE = 64, /* frames taken from a port before the others have their turn */
    BUFFER_BYTES = 64 << 20,
    FULL_NS = 20000, /* before a port that took no frame is tried again */
};

struct frame {
    int64_t due_ns;
    size_t bytes;
    unsigned char *data;
};

struct port {
    int socket;
    struct frame frames[FRAMES]; /* [head, tail), modulo FRAMES, in order of due_ns */
    unsigned head, tail;
    int64_t full_until_ns;
};

static struct port ports[PORTS];
static int ports_total;
static struct {
    unsigned char address[ETH_ALEN];
    int port;
} learned[ADDRESSES];
static int learned_total;
static uint32_t lost_of_million;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "lan-switch: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_port(struct port *port, const char *name)
{
    const int yes = 1, buffer = BUFFER_BYTES;
    const struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                        .sll_protocol = htons(ETH_P_ALL),
                                        .sll_ifindex = (int)if_nametoindex(name)};
    const struct packet_mreq all = {.mr_ifindex = address.sll_ifindex,
                                    .mr_type = PACKET_MR_PROMISC};
    if (!address.sll_ifindex)
        die(name);
    port->socket = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    if (port->socket < 0 ||
        setsockopt(port->socket, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) ||
        setsockopt(port->socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) ||
        setsockopt(port->socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) ||
        setsockopt(port->socket, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) ||
        setsockopt(port->socket, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) ||
        bind(port->socket, (const struct sockaddr *)&address, sizeof address))
        die(name);
}

/* The port behind which the address is; -1: not known. */
static int *port_of(const unsigned char *address)
{
    static int unknown;
    for (int i = 0; i < learned_total; i++)
        if (memcmp(learned[i].address, address, ETH_ALEN) == 0)
            return &learned[i].port;
    unknown = -1;
    return &unknown;
}

static void learn(const unsigned char *address, int port)
{
    int *known = port_of(address);
    if (*known >= 0) {
        *known = port;
    } else if (learned_total < ADDRESSES) {
        memcpy(learned[learned_total].address, address, ETH_ALEN);
        learned[learned_total++].port = port;
    }
}

/* The same ones each time (Marsaglia's xorshift). */
static bool is_lost(void)
{
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % 1000000 < lost_of_million;
}

static void enqueue(struct port *port, const unsigned char *data, size_t bytes, int64_t due_ns)
{
    if (port->tail - port->head == FRAMES)
        return; /* lost, as a full switch loses it */
    unsigned char *copy = malloc(bytes);
    if (!copy)
        die("memory");
    memcpy(copy, data, bytes);
    port->frames[port->tail++ % FRAMES] = (struct frame){due_ns, bytes, copy};
}

static void take_from(int port, int64_t delay_ns)
{
    static unsigned char data[FRAME_BYTES];
    for (int taken = 0; taken < AT_ONCE; taken++) {
        const ssize_t bytes = recv(ports[port].socket, data, sizeof data, 0);
        if (bytes < (ssize_t)(sizeof(struct virtio_net_hdr) + ETH_HLEN))
            return;
        if (is_lost())
            continue;
        const int64_t due_ns = now_ns() + delay_ns;
        const unsigned char *target = data + sizeof(struct virtio_net_hdr);
        learn(target + ETH_ALEN, port);
        const bool is_for_many = target[0] & 1;
        const int only = is_for_many ? -1 : *port_of(target);
        for (int other = 0; other < ports_total; other++)
            if (other != port && (only < 0 || only == other))
                enqueue(&ports[other], data, (size_t)bytes, due_ns);
    }
}

/* Sends what is due; returns when the next frame is. */
static int64_t send_due(struct port *port)
{
    for (; port->head != port->tail; port->head++) {
        struct frame *frame = &port->frames[port->head % FRAMES];
        const int64_t now = now_ns();
        if (now < frame->due_ns || now < port->full_until_ns)
            return now < frame->due_ns ? frame->due_ns : port->full_until_ns;
        if (send(port->socket, frame->data, frame->bytes, 0) < 0 &&
            (errno == EAGAIN || errno == ENOBUFS)) {
            port->full_until_ns = now + FULL_NS;
            return port->full_until_ns;
        }
        free(frame->data);
    }
    return INT64_MAX;
}

static void forward(int64_t delay_ns)
{
    struct pollfd waiting[PORTS];
    for (int i = 0; i < ports_total; i++)
        waiting[i] = (struct pollfd){.fd = ports[i].socket, .events = POLLIN};
    for (;;) {
        int64_t next_ns = INT64_MAX;
        for (int i = 0; i < ports_total; i++) {
            const int64_t due_ns = send_due(&ports[i]);
            next_ns = due_ns < next_ns ? due_ns : next_ns;
        }
        const int64_t now = now_ns();
        const int64_t wait_ns = next_ns == INT64_MAX ? 1000000000 : next_ns - now;
        const struct timespec wait = {.tv_sec = wait_ns > 0 ? wait_ns / 1000000000 : 0,
                                      .tv_nsec = wait_ns > 0 ? wait_ns % 1000000000 : 0};
        if (ppoll(waiting, (nfds_t)ports_total, &wait, NULL) <= 0)
            continue;
        for (int i = 0; i < ports_total; i++)
            if (waiting[i].revents)
                take_from(i, delay_ns);
    }
}

/* A whole number up to `most`; -1: it is none. */
static int64_t read_number(const char *text, int64_t most)
{
    char *end;
    const intmax_t number = strtoimax(text, &end, 10);
    return *text && !*end && number >= 0 && number <= most ? number : -1;
}

int main(int argc, char **argv)
{
    const int64_t delay_us = argc > 1 ? read_number(argv[1], 60000000) : -1;
    const int64_t lost = argc > 2 ? read_number(argv[2], 1000000) : -1;
    if (argc < 5 || argc - 3 > PORTS || delay_us < 0 || lost < 0) {
        fprintf(stderr, "usage: lan-switch DELAY_US LOST_OF_A_MILLION INTERFACE INTERFACE...\n");
        return 2;
    }
    lost_of_million = (uint32_t)lost;
    prctl(PR_SET_TIMERSLACK, 1);
    for (; ports_total < argc - 3; ports_total++)
        open_port(&ports[ports_total], argv[ports_total + 3]);
    puts("ready");
    fflush(stdout);
    forward(delay_us * 1000);
}
