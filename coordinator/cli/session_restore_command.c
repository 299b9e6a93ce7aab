/* longhaul session restore: a file becomes a session of a coordinator. */
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/session_asking.h"
#include "longhaul/v1/sessions.pb-c.h"
#include "proto/cache_file/cache_reader.h"

enum { LOOK_MS = 200 };

static enum status check_interrupt(void)
{
    return interrupt_count() > 0 ? fail(STATUS_CANCELLED, "interrupted") : STATUS_OK;
}

static enum status send_header(struct rpc_stream *stream, const struct cache_reader *reader,
                               const char *id)
{
    Longhaul__V1__RestoreSessionRequest request = LONGHAUL__V1__RESTORE_SESSION_REQUEST__INIT;
    Longhaul__V1__RestoredSession session = LONGHAUL__V1__RESTORED_SESSION__INIT;
    session.session_id = (char *)(size_t)(id ? id : ""); /* only read, as the bytes */
    session.header.len = reader->header_bytes;
    session.header.data = (uint8_t *)(size_t)reader->data;
    request.part_case = LONGHAUL__V1__RESTORE_SESSION_REQUEST__PART_SESSION;
    request.session = &session;
    return rpc_stream_write(stream, &request.base);
}

static enum status send_block(struct rpc_stream *stream, const struct cache_stored *stored)
{
    Longhaul__V1__RestoreSessionRequest request = LONGHAUL__V1__RESTORE_SESSION_REQUEST__INIT;
    Longhaul__V1__SavedBlock block = LONGHAUL__V1__SAVED_BLOCK__INIT;
    block.number = stored->number;
    block.digest = stored->digest;
    block.stored.len = stored->count;
    block.stored.data = (uint8_t *)(size_t)stored->bytes; /* only read */
    request.part_case = LONGHAUL__V1__RESTORE_SESSION_REQUEST__PART_BLOCK;
    request.block = &block;
    return rpc_stream_write(stream, &request.base);
}

static enum status read_answer(struct rpc_stream *stream)
{
    const ProtobufCMessage *message = NULL;
    enum status status = STATUS_DEADLINE_EXCEEDED;
    while (status == STATUS_DEADLINE_EXCEEDED) {
        TRY(check_interrupt());
        status = rpc_stream_read(stream, &message, LOOK_MS);
    }
    TRY(status);
    if (!message) {
        TRY(rpc_stream_finish(stream));
        return fail(STATUS_INTERNAL, "the coordinator answered nothing");
    }
    printf("%s\n", ((const Longhaul__V1__Session *)(const void *)message)->name);
    return STATUS_OK;
}

/* A call that the coordinator has ended says so to the next write. */
static enum status send_all(struct rpc_stream *stream, const struct cache_reader *reader,
                            const char *id)
{
    TRY(send_header(stream, reader, id));
    for (int64_t n = 0; n < reader->blocks; n++) {
        const struct cache_stored stored = cache_reader_stored(reader, n);
        TRY(check_interrupt());
        TRY(send_block(stream, &stored));
    }
    rpc_stream_half_close(stream);
    return read_answer(stream);
}

static enum status restore(const struct session_asking *asking, const char *path, const char *id)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Sessions/RestoreSession",
        .response = &longhaul__v1__session__descriptor,
        .timeout_ms = server_option_timeout_ms(&asking->server, 0),
    };
    struct cache_reader reader;
    struct rpc_stream *stream = NULL;
    TRY(cache_reader_open(&reader, path));
    enum status status = rpc_stream_open(&stream, asking->connection.client, &call);
    if (status == STATUS_OK)
        status = send_all(stream, &reader, id);
    rpc_stream_close(stream);
    cache_reader_close(&reader);
    return status;
}

int session_command_restore(int argc, char **argv)
{
    struct session_asking asking = {0};
    const char *id = NULL;
    struct flags_row rows[SESSION_ASKING_ROWS + 1];
    session_asking_rows(&asking, rows);
    rows[SESSION_ASKING_ROWS] = (struct flags_row){.name = "id",
                                                   .value = "ID",
                                                   .type = FLAGS_TEXT,
                                                   .target = &id,
                                                   .help = "its id; not given: the coordinator's"};
    const struct flags_command command = {
        .program = "longhaul session restore",
        .example = "  longhaul session restore --server 127.0.0.1:7711 report.keys\n",
        .summary =
            "Makes a session of a file that longhaul session save wrote, and prints its name.\n"
            "Nothing of the document is computed again. The model must be the same, and the\n"
            "workers keep keys of the same type (--cache); their number may be another.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = SESSION_ASKING_ROWS + 1,
    };
    int first = 0;
    const int exit_code = session_asking_parse(&asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    enum status status = session_asking_begin(&asking);
    if (status == STATUS_OK)
        status = restore(&asking, argv[first], id);
    return session_asking_end(&asking, command.program, status);
}
