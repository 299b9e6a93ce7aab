/* The messages of batches, documents and sessions over any bytes, as their calls read them: each is
 * refused, or its fields are checked, its labels packed, and its lines cut and parsed. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/batch_fields.h"
#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/line_splitter.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/openai/batch_line.h"
#include "coordinator/openai/openai_request.h"
#include "longhaul/v1/batches.pb-c.h"
#include "longhaul/v1/sessions.pb-c.h"
#include "proto/rpc/rpc_message.h"
#include "tests/fuzz/fuzz.h"

enum { LINE_BYTES_MAX = 4096, PIECE_BYTES = 37, LINES_MAX = 64 };

static const ProtobufCMessageDescriptor *const kinds[] = {
    &longhaul__v1__create_batch_request__descriptor,
    &longhaul__v1__upload_lines_request__descriptor,
    &longhaul__v1__list_batches_request__descriptor,
    &longhaul__v1__list_results_request__descriptor,
    &longhaul__v1__cancel_batch_request__descriptor,
    &longhaul__v1__upload_document_request__descriptor,
    &longhaul__v1__create_session_request__descriptor,
    &longhaul__v1__append_to_session_request__descriptor,
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    static const char lines[] =
        "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\", \"body\": "
        "{\"prompt\": \"x\"}}\r\n\n{\"custom_id\": \"b\", \"method\": \"POST\", \"url\": "
        "\"/v1/chat/completions\", \"body\": {\"messages\": [{\"role\": \"user\", \"content\": "
        "\"y\"}]}}";
    Longhaul__V1__Label label = LONGHAUL__V1__LABEL__INIT;
    Longhaul__V1__Label *labels[] = {&label};
    Longhaul__V1__Batch batch = LONGHAUL__V1__BATCH__INIT;
    Longhaul__V1__CreateBatchRequest create = LONGHAUL__V1__CREATE_BATCH_REQUEST__INIT;
    Longhaul__V1__ListBatchesRequest list = LONGHAUL__V1__LIST_BATCHES_REQUEST__INIT;
    if (room < 2048)
        return 0;
    data[0] = (uint8_t)(index == 1 ? 2 : 0);
    if (index == 1) {
        list.page_size = 10;
        list.page_token = (char *)"batches.0@17";
        return 1 + protobuf_c_message_pack(&list.base, data + 1);
    }
    if (index > 1)
        return 0;
    label.key = (char *)"caf\xc3\xa9";
    label.value = (char *)"v";
    batch.n_metadata = 1;
    batch.metadata = labels;
    batch.priority = -3;
    batch.expires_after_seconds = 3600;
    batch.endpoint = (char *)"/v1/completions";
    create.batch = &batch;
    create.batch_id = (char *)"mine-1";
    create.request_id = (char *)"r";
    create.lines = (ProtobufCBinaryData){sizeof lines - 1, (uint8_t *)lines};
    return 1 + protobuf_c_message_pack(&create.base, data + 1);
}

/* Lines as they were told: their sequence, and how much of the stream they took. */
struct told {
    int64_t count, end;
    int64_t offsets[LINES_MAX];
    size_t bytes[LINES_MAX];
};

static enum status take_line(void *context, const struct split_line *line)
{
    struct told *told = context;
    struct batch_line parts;
    struct status_details details = {0};
    assert(line->bytes > 0 && line->bytes <= LINE_BYTES_MAX + 1);
    assert(line->text[line->bytes] == '\0');
    assert(line->offset >= told->end);
    told->end = line->offset + line->stream_bytes;
    if (told->count < LINES_MAX) {
        told->offsets[told->count] = line->offset;
        told->bytes[told->count] = line->bytes;
    }
    told->count++;
    if (batch_line_parse(&parts, &details, line->text, line->bytes) == STATUS_OK) {
        struct openai_request *request = NULL;
        if (openai_request_parse(&request, &details, parts.url, parts.body, parts.body_bytes) ==
            STATUS_OK)
            openai_request_free(request);
    }
    return STATUS_OK;
}

/* The lines of the bytes in pieces of this size. */
static void split(struct told *told, const uint8_t *bytes, size_t size, size_t piece)
{
    struct line_splitter splitter;
    *told = (struct told){.count = 0};
    line_splitter_init(&splitter, LINE_BYTES_MAX, 0, 0);
    for (size_t at = 0; at < size; at += piece) {
        const size_t rest = size - at < piece ? size - at : piece;
        if (line_splitter_feed(&splitter, bytes + at, rest, take_line, told) != STATUS_OK)
            abort();
    }
    if (line_splitter_end(&splitter, take_line, told) != STATUS_OK)
        abort();
    line_splitter_deinit(&splitter);
}

/* However they come, they are the same. */
static void read_lines(const uint8_t *bytes, size_t size)
{
    struct told whole, pieces;
    split(&whole, bytes, size, size ? size : 1);
    split(&pieces, bytes, size, PIECE_BYTES);
    assert(memcmp(&whole, &pieces, sizeof whole) == 0);
    assert(whole.end <= (int64_t)size);
}

static void read_batch(const Longhaul__V1__Batch *batch)
{
    const struct batch_tools tools = {.batch_retention_seconds = 1};
    struct store_batch_args args = {0};
    struct status_details details = {0};
    uint8_t *labels = NULL;
    if (batch_fields_read(&args, &details, &tools, batch) != STATUS_OK) {
        assert(details.field);
        return;
    }
    assert(!details.field && args.expires_after_seconds > 0);
    if (batch_message_pack_labels(&labels, &args.metadata_bytes, batch) == STATUS_OK)
        free(labels);
}

static void read_message(const ProtobufCMessage *message)
{
    struct status_details details = {0};
    int64_t place = 0;
    const char *id = NULL;
    if (message->descriptor == &longhaul__v1__create_batch_request__descriptor) {
        const Longhaul__V1__CreateBatchRequest *request = (const void *)message;
        if (request->batch)
            read_batch(request->batch);
        (void)!resource_name_check_chosen(request->batch_id);
        read_lines(request->lines.data, request->lines.len);
    }
    if (message->descriptor == &longhaul__v1__list_batches_request__descriptor) {
        const Longhaul__V1__ListBatchesRequest *request = (const void *)message;
        if (batch_tools_place(&details, &place, "batches.0", request->page_token) != STATUS_OK)
            assert(details.field);
        if (batch_tools_page_size(&details, &place, request->page_size) == STATUS_OK)
            assert(place >= 0 && place <= 1000);
    }
    if (message->descriptor == &longhaul__v1__cancel_batch_request__descriptor) {
        const Longhaul__V1__CancelBatchRequest *request = (const void *)message;
        if (resource_name_id(&id, request->name, "batches") == STATUS_OK)
            assert(strlen(id) + strlen("batches/") == strlen(request->name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct rpc_arena *arena = NULL;
    const ProtobufCMessage *message = NULL;
    if (bytes == 0 || rpc_arena_create(&arena) != STATUS_OK)
        return 0;
    if (rpc_message_unpack(arena, &message, kinds[data[0] % KINDS], data + 1, bytes - 1) ==
        STATUS_OK) {
        read_message(message);
        grpc_byte_buffer_destroy(rpc_message_pack(message));
    }
    rpc_arena_destroy(arena);
    return 0;
}
