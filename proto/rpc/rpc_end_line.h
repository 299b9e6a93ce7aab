/* What is told of a call when it has ended: a line of the log, and a count. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/log.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

enum { RPC_END_LINE_NOTES_MAX = 8 };

struct rpc_end_line {
    const struct rpc_method *method; /* NULL: the client asked for none that is there */
    const char *path;                /* what it asked for */
    const char *peer, *tenant;       /* "": no tenant is named */
    enum status code;                /* as the client sees it */
    const struct log_field *notes;   /* [note_count], at most RPC_END_LINE_NOTES_MAX */
    size_t note_count;
    int64_t begun_ns;
};

/* The calls' family, with metrics from now on. */
void rpc_end_line_offer(void);

void rpc_end_line_tell(const struct rpc_end_line *end);
