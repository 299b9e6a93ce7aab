/* longhaul session save: a session of a coordinator becomes a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/session_asking.h"
#include "longhaul/v1/sessions.pb-c.h"
#include "proto/cache_file/cache_writer.h"

struct saving {
    const char *path;
    struct cache_writer writer;
    bool begun; /* there is a writer */
};

static enum status take_header(struct saving *saving, const ProtobufCBinaryData *bytes)
{
    struct cursor cursor = {.bytes = bytes->len, .name = "the coordinator's answer"};
    struct cache_header header;
    uint64_t digest;
    uint8_t *aligned = malloc(bytes->len + 1);
    if (!aligned)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes", bytes->len);
    memcpy(aligned, bytes->data, bytes->len);
    cursor.data = aligned;
    enum status status = cache_header_read(&header, &digest, &cursor);
    if (status == STATUS_OK)
        status = cache_writer_open(&saving->writer, saving->path, &header);
    saving->begun = status == STATUS_OK;
    free(aligned);
    return status;
}

static enum status take_part(void *context, const ProtobufCMessage *message)
{
    struct saving *saving = context;
    const Longhaul__V1__SavedPart *part = (const void *)message;
    if (part->part_case == LONGHAUL__V1__SAVED_PART__PART_HEADER && !saving->begun)
        return take_header(saving, &part->header);
    if (part->part_case != LONGHAUL__V1__SAVED_PART__PART_BLOCK || !saving->begun)
        return fail(STATUS_INTERNAL, "the coordinator's parts of the session are in disorder");
    const struct cache_stored stored = {
        .bytes = part->block->stored.data,
        .count = part->block->stored.len,
        .number = part->block->number,
        .digest = part->block->digest,
        .name = "the coordinator",
    };
    return cache_writer_add(&saving->writer, &stored);
}

static void wait_quietly(void *context, const char *trouble)
{
    (void)context;
    (void)trouble;
}

static enum status save(const struct session_asking *asking, char *name, const char *path)
{
    struct saving saving = {.path = path};
    Longhaul__V1__SaveSessionRequest request = LONGHAUL__V1__SAVE_SESSION_REQUEST__INIT;
    request.name = name;
    const struct event_stream_args call = {
        .path = "/longhaul.v1.Sessions/SaveSession",
        .response = &longhaul__v1__saved_part__descriptor,
        .request = &request.base,
        .timeout_ms = server_option_timeout_ms(&asking->server, 0),
        .take = take_part,
        .wait = wait_quietly,
        .begun = &saving.begun,
        .context = &saving,
    };
    enum status status = event_stream_run(asking->connection.client, &call);
    if (status == STATUS_OK && !saving.begun)
        status = fail(STATUS_INTERNAL, "the coordinator's answer has no header");
    if (status == STATUS_OK)
        return cache_writer_close(&saving.writer);
    if (saving.begun)
        cache_writer_discard(&saving.writer);
    return status;
}

int session_command_save(int argc, char **argv)
{
    struct session_asking asking = {0};
    const char *path = NULL;
    struct flags_row rows[SESSION_ASKING_ROWS + 1];
    session_asking_rows(&asking, rows);
    rows[SESSION_ASKING_ROWS] = (struct flags_row){.name = "output",
                                                   .letter = 'o',
                                                   .value = "FILE",
                                                   .type = FLAGS_TEXT,
                                                   .target = &path,
                                                   .help = "where to; a file there is replaced"};
    const struct flags_command command = {
        .program = "longhaul session save",
        .example = "  longhaul session save --server 127.0.0.1:7711 NAME -o report.keys\n",
        .summary =
            "Writes a session to a file: its document, and the keys and values that its workers\n"
            "keep. The session stays. longhaul session restore takes the file back, with any\n"
            "number of workers, and longhaul session inspect shows it.\n",
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = SESSION_ASKING_ROWS + 1,
    };
    char name[SESSION_ASKING_NAME_BYTES];
    int first = 0;
    const int exit_code = session_asking_parse(&asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (!path) {
        console_say("%s: -o FILE is missing: it says where the session goes", command.program);
        return console_usage(command.program);
    }
    session_asking_name(name, argv[first]);
    enum status status = session_asking_begin(&asking);
    if (status == STATUS_OK)
        status = save(&asking, name, path);
    return session_asking_end(&asking, command.program, status);
}
