/* What the engine uses of NCCL, as a table: the real one is nccl_api.c, which loads libnccl.so.2 at
 * run time; another one stands in for it in tests. All calls name their failure as NCCL words it.
 *
 * Contract: communicators do not block. A call may return before it has taken effect; `state` says
 * whether it has. Sends and receives between group_begin and group_end are one piece of work on
 * one stream: they run together, and are done together. abort() may come from any thread, ends what
 * is under way, and destroys the communicator. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

struct CUstream_st;
struct ncclComm;

enum { NCCL_ID_BYTES = 128 };

struct nccl_id {
    char bytes[NCCL_ID_BYTES];
};

struct nccl_api {
    const char *name; /* "nccl 2.28.9" */
    enum status (*make_id)(struct nccl_id *id);
    /* Starts to make a communicator on the current device. */
    enum status (*begin_init)(struct ncclComm **comm, const struct nccl_id *id, int size, int rank);
    /* Sets *busy while a call has not taken effect; fails with any error met since, whoever met it.
     * From any thread. */
    enum status (*state)(struct ncclComm *comm, bool *busy);
    enum status (*group_begin)(void);
    enum status (*group_end)(void);
    enum status (*send)(struct ncclComm *comm, const void *data, size_t bytes, int peer,
                        struct CUstream_st *stream);
    enum status (*receive)(struct ncclComm *comm, void *data, size_t bytes, int peer,
                           struct CUstream_st *stream);
    void (*destroy)(struct ncclComm *comm); /* with nothing under way; accepts NULL */
    void (*abort)(struct ncclComm *comm);   /* accepts NULL */
};

/* NCCL, loaded once. FAILED_PRECONDITION names what is missing. */
MUST_CHECK enum status nccl_find(const struct nccl_api **api);
