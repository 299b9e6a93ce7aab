/* Owns the agreement on who packs. Promises that all ranks take the same collectives, and that a
 * rank maps nothing but what its own group made. */
#include "worker/engine/weights_share.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/boot_id.h"
#include "worker/engine/device/binding.h"

enum { NODES_BYTES = 96, HOST_BYTES = 64, TOKEN_BYTES = 16, PATH_BYTES = 64, KERNELS_BYTES = 32 };

/* What a rank says of itself: all that must be alike. */
struct kin {
    char boot_id[BOOT_ID_BYTES]; /* "": like no other */
    char host[HOST_BYTES];
    char nodes[NODES_BYTES];
    char kernels[KERNELS_BYTES]; /* which may pack otherwise in as many bytes */
    uint64_t bytes;
    int32_t place, places;
};

/* Where a copy is; the token lies behind the weights, and shows that it is this one. */
struct copy {
    int32_t pid, fd; /* fd -1: there is none */
    unsigned char token[TOKEN_BYTES];
};

static bool are_kin(const struct kin *one, const struct kin *other)
{
    return one->boot_id[0] && memcmp(one, other, sizeof *one) == 0;
}

static int first_kin(const struct kin *all, int rank)
{
    int first = 0;
    while (first < rank && !are_kin(&all[first], &all[rank]))
        first++;
    return first;
}

/* A file that is longer than files may be would end the process. */
static bool is_allowed(size_t bytes)
{
    struct rlimit most;
    return getrlimit(RLIMIT_FSIZE, &most) == 0 &&
           (most.rlim_cur == RLIM_INFINITY || most.rlim_cur >= bytes);
}

/* A copy of its own is what the rank has where this fails. */
static void make_copy(struct copy *copy, size_t bytes)
{
    copy->pid = getpid();
    copy->fd = -1;
    if (!is_allowed(bytes + TOKEN_BYTES))
        return;
    const int fd = memfd_create("longhaul weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return;
    if (getrandom(copy->token, TOKEN_BYTES, 0) == TOKEN_BYTES &&
        ftruncate(fd, (off_t)(bytes + TOKEN_BYTES)) == 0 &&
        pwrite(fd, copy->token, TOKEN_BYTES, (off_t)bytes) == TOKEN_BYTES)
        copy->fd = fd;
    else
        close(fd);
}

/* -1 where it cannot be reached, or is something else. */
static int open_copy(const struct copy *copy, size_t bytes)
{
    char path[PATH_BYTES];
    unsigned char token[TOKEN_BYTES];
    struct stat facts;
    if (copy->fd < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", copy->pid, copy->fd);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (fstat(fd, &facts) == 0 && facts.st_size == (off_t)(bytes + TOKEN_BYTES) &&
        pread(fd, token, TOKEN_BYTES, (off_t)bytes) == TOKEN_BYTES &&
        memcmp(token, copy->token, TOKEN_BYTES) == 0)
        return fd;
    close(fd);
    return -1;
}

/* What all ranks say, rank by rank. */
struct said {
    struct kin *kin;
    struct copy *copies;
    int32_t *leads; /* whose copy each has */
};

/* Which copy this rank takes part in: its own, or that of the first rank that is like it. */
static enum status agree(struct weights_share *share, struct said *said, size_t bytes)
{
    struct transport *world = share->world;
    const int rank = world->rank;
    int alike = 0;
    TRY(transport_gather_each(world, &said->kin[rank], said->kin, sizeof *said->kin));
    const int lead = first_kin(said->kin, rank);
    for (int r = 0; r < world->size; r++)
        alike += are_kin(&said->kin[r], &said->kin[rank]);
    said->copies[rank] = (struct copy){.fd = -1};
    if (lead == rank && alike > 1)
        make_copy(&said->copies[rank], bytes);
    share->store.fd = said->copies[rank].fd; /* weights_share_close has it, whatever fails */
    TRY(transport_gather_each(world, &said->copies[rank], said->copies, sizeof *said->copies));
    const bool leads = lead == rank;
    if (!leads)
        share->store.fd = open_copy(&said->copies[lead], bytes);
    share->store.packs = leads || share->store.fd < 0;
    said->leads[rank] = share->store.fd < 0 ? -1 - rank : lead;
    TRY(transport_gather_each(world, &said->leads[rank], said->leads, sizeof *said->leads));
    share->sharers = 0;
    for (int r = 0; r < world->size; r++)
        share->sharers += said->leads[r] == said->leads[rank];
    return STATUS_OK;
}

static void mark(void *context)
{
    transport_mark(context);
}

/* What this rank says; alike ranks have a copy of so many bytes. */
static void introduce(struct kin *own, const struct transport *world,
                      const struct weights_share_args *args, const char *kernels, size_t bytes)
{
    if (world->local_size > 1)
        boot_id_read(own->boot_id);
    gethostname(own->host, sizeof own->host - 1);
    if (args->binding)
        snprintf(own->nodes, sizeof own->nodes, "%s", args->binding->nodes);
    snprintf(own->kernels, sizeof own->kernels, "%s", kernels);
    own->bytes = bytes;
    own->place = args->slice->place;
    own->places = args->slice->places;
}

enum status weights_share_open(struct weights_share *share, struct transport *world,
                               const struct weights_share_args *args)
{
    const size_t size = (size_t)world->size;
    const struct kernels *kernels = args->kernels ? kernels_find(args->kernels) : kernels_best();
    enum status status = STATUS_OK;
    *share = (struct weights_share){.world = world, .sharers = 1, .store = {-1, true, mark, world}};
    if (args->on_gpu || !kernels || size == 1)
        return STATUS_OK;
    const size_t bytes = weights_bytes(args->model, args->slice, kernels);
    struct said said = {calloc(size, sizeof *said.kin), calloc(size, sizeof *said.copies),
                        calloc(size, sizeof *said.leads)};
    if (!said.kin || !said.copies || !said.leads)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the weights of %zu ranks", size),
                 end);
    introduce(&said.kin[world->rank], world, args, kernels->name, bytes);
    status = agree(share, &said, bytes);
end:
    free(said.kin);
    free(said.copies);
    free(said.leads);
    return status;
}

int64_t weights_share_elsewhere(const struct weights_share *share, int64_t bytes)
{
    return bytes - bytes / share->sharers;
}

enum status weights_share_settle(const struct weights_share *share)
{
    int32_t nothing = 0;
    if (share->world->size == 1)
        return STATUS_OK;
    int32_t *all = calloc((size_t)share->world->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to wait for %d ranks",
                    share->world->size);
    const enum status status = transport_gather_each(share->world, &nothing, all, sizeof nothing);
    free(all);
    return status;
}

void weights_share_close(struct weights_share *share)
{
    if (share->store.fd >= 0)
        close(share->store.fd);
    share->store.fd = -1;
}
