/* Owns libnccl.so.2 once it is loaded: the table of NCCL, call by call. */
#include "worker/engine/transport/nccl_api.h"
#include "proto/clock.h"

#include <assert.h>
#include <dlfcn.h>
#include <nccl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FINALIZE_PAUSE_NS = 1000000 };

#define FINALIZE_NS 10000000000

static struct {
    ncclResult_t (*get_version)(int *);
    ncclResult_t (*get_id)(ncclUniqueId *);
    ncclResult_t (*init)(ncclComm_t *, int, ncclUniqueId, int, ncclConfig_t *);
    ncclResult_t (*async_error)(ncclComm_t, ncclResult_t *);
    ncclResult_t (*group_start)(void);
    ncclResult_t (*group_end)(void);
    ncclResult_t (*send)(const void *, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t);
    ncclResult_t (*receive)(void *, size_t, ncclDataType_t, int, ncclComm_t, cudaStream_t);
    ncclResult_t (*finalize)(ncclComm_t);
    ncclResult_t (*destroy)(ncclComm_t);
    ncclResult_t (*abort)(ncclComm_t);
    const char *(*error_text)(ncclResult_t);
    const char *(*last_error)(ncclComm_t);
} nccl;

static const struct {
    const char *name;
    void **function;
} symbols[] = {
    {"ncclGetVersion", (void **)&nccl.get_version},
    {"ncclGetUniqueId", (void **)&nccl.get_id},
    {"ncclCommInitRankConfig", (void **)&nccl.init},
    {"ncclCommGetAsyncError", (void **)&nccl.async_error},
    {"ncclGroupStart", (void **)&nccl.group_start},
    {"ncclGroupEnd", (void **)&nccl.group_end},
    {"ncclSend", (void **)&nccl.send},
    {"ncclRecv", (void **)&nccl.receive},
    {"ncclCommFinalize", (void **)&nccl.finalize},
    {"ncclCommDestroy", (void **)&nccl.destroy},
    {"ncclCommAbort", (void **)&nccl.abort},
    {"ncclGetErrorString", (void **)&nccl.error_text},
    {"ncclGetLastError", (void **)&nccl.last_error},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of loading */
static bool loaded;

/* "In progress" is how a communicator that does not block says yes. */
static enum status check(ncclResult_t code, const char *call)
{
    if (code == ncclSuccess || code == ncclInProgress)
        return STATUS_OK;
    const char *more = nccl.last_error(NULL);
    return fail(code == ncclRemoteError || code == ncclSystemError ? STATUS_UNAVAILABLE
                                                                   : STATUS_INTERNAL,
                "%s: NCCL error %d: %s%s%.300s", call, (int)code, nccl.error_text(code),
                more && more[0] ? ": " : "", more ? more : "");
}

static enum status make_id(struct nccl_id *id)
{
    ncclUniqueId made;
    static_assert(sizeof made == sizeof *id, "an id's bytes are NCCL's");
    TRY(check(nccl.get_id(&made), "ncclGetUniqueId"));
    memcpy(id, &made, sizeof made);
    return STATUS_OK;
}

static enum status begin_init(struct ncclComm **comm, const struct nccl_id *id, int size, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId given;
    config.blocking = 0;
    memcpy(&given, id, sizeof given);
    return check(nccl.init(comm, size, given, rank, &config), "ncclCommInitRankConfig");
}

static enum status state(struct ncclComm *comm, bool *busy)
{
    ncclResult_t met = ncclSuccess;
    TRY(check(nccl.async_error(comm, &met), "ncclCommGetAsyncError"));
    *busy = met == ncclInProgress;
    return check(met, "a communicator");
}

static enum status group_begin(void)
{
    return check(nccl.group_start(), "ncclGroupStart");
}

static enum status group_end(void)
{
    return check(nccl.group_end(), "ncclGroupEnd");
}

static enum status send_bytes(struct ncclComm *comm, const void *data, size_t bytes, int peer,
                              struct CUstream_st *stream)
{
    return check(nccl.send(data, bytes, ncclUint8, peer, comm, stream), "ncclSend");
}

static enum status receive_bytes(struct ncclComm *comm, void *data, size_t bytes, int peer,
                                 struct CUstream_st *stream)
{
    return check(nccl.receive(data, bytes, ncclUint8, peer, comm, stream), "ncclRecv");
}

static void abort_comm(struct ncclComm *comm)
{
    if (comm)
        (void)nccl.abort(comm);
}

/* Finalizing waits for peers, so it has an end of its own. */
static void destroy_comm(struct ncclComm *comm)
{
    const struct timespec pause = {0, FINALIZE_PAUSE_NS};
    const int64_t end_ns = clock_now_ns() + FINALIZE_NS;
    ncclResult_t met = ncclInProgress;
    if (!comm)
        return;
    ncclResult_t code = nccl.finalize(comm);
    while ((code == ncclSuccess || code == ncclInProgress) && met == ncclInProgress &&
           clock_now_ns() < end_ns) {
        code = nccl.async_error(comm, &met);
        nanosleep(&pause, NULL);
    }
    if (code == ncclSuccess && met == ncclSuccess)
        (void)nccl.destroy(comm);
    else
        (void)nccl.abort(comm);
}

static struct nccl_api api = {
    .name = "nccl",
    .make_id = make_id,
    .begin_init = begin_init,
    .state = state,
    .group_begin = group_begin,
    .group_end = group_end,
    .send = send_bytes,
    .receive = receive_bytes,
    .destroy = destroy_comm,
    .abort = abort_comm,
};

static enum status load(void)
{
    static char name[32];
    int version = 0;
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return fail(STATUS_FAILED_PRECONDITION,
                    "libnccl.so.2 is not to be had (%s): install NCCL 2.18 or later", dlerror());
    for (size_t s = 0; s < sizeof symbols / sizeof symbols[0]; s++) {
        *symbols[s].function = dlsym(library, symbols[s].name);
        if (!*symbols[s].function)
            return fail(STATUS_FAILED_PRECONDITION,
                        "libnccl.so.2 has no %s: install NCCL 2.18 or later", symbols[s].name);
    }
    TRY(check(nccl.get_version(&version), "ncclGetVersion"));
    snprintf(name, sizeof name, "nccl %d.%d.%d", version / 10000, version % 10000 / 100,
             version % 100);
    api.name = name;
    loaded = true;
    return STATUS_OK;
}

enum status nccl_find(const struct nccl_api **found)
{
    pthread_mutex_lock(&lock);
    enum status status = loaded ? STATUS_OK : load();
    pthread_mutex_unlock(&lock);
    TRY(status);
    *found = &api;
    return STATUS_OK;
}
