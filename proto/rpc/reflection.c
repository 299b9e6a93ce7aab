/* Owns an index of the files and symbols of a FileDescriptorSet. Promises an answer or an error
 * response to every request of a reflection stream; the descriptors themselves are handed on as
 * bytes. */
#include "proto/rpc/reflection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/rpc/wire_walk.h"

enum {
    FILES_MAX = 16,
    SYMBOLS_MAX = 512,
    NAME_BYTES = 128,
    SERVICES_MAX = 16,
    NESTING_MAX = 8,
    IDLE_MS = 300000,
    LOOK_MS = 100,
    GRPC_NOT_FOUND = 5,
    GRPC_UNIMPLEMENTED = 12,
};

/* Field numbers of descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    ANY_NAME = 1,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
};

struct file {
    const uint8_t *bytes;
    size_t size;
    char name[NAME_BYTES];
    char package[NAME_BYTES];
};

struct symbol {
    char name[NAME_BYTES];
    int file;
    bool is_service;
};

struct reflection {
    struct file files[FILES_MAX];
    int file_count;
    struct symbol symbols[SYMBOLS_MAX];
    int symbol_count;
};

static void copy_text(char text[NAME_BYTES], const struct wire_field *field)
{
    snprintf(text, NAME_BYTES, "%.*s", (int)field->size, (const char *)field->bytes);
}

/* "prefix.name" of the descriptor in `field`, whatever kind it is: the name is always field 1. */
static void full_name(char text[NAME_BYTES], const char *prefix, const struct wire_field *field)
{
    struct wire_walk walk = {field->bytes, field->bytes + field->size};
    struct wire_field part;
    bool broken = false;
    char name[NAME_BYTES] = "";
    while (wire_walk_next(&walk, &part, &broken))
        if (part.number == ANY_NAME)
            copy_text(name, &part);
    size_t used = (size_t)snprintf(text, NAME_BYTES, "%s", prefix);
    snprintf(text + used, NAME_BYTES - used, ".%s", name);
}

static const char *add_symbol(struct reflection *reflection, const char *prefix,
                              const struct wire_field *field, bool is_service)
{
    if (reflection->symbol_count == SYMBOLS_MAX)
        return "";
    struct symbol *symbol = &reflection->symbols[reflection->symbol_count++];
    symbol->file = reflection->file_count;
    symbol->is_service = is_service;
    full_name(symbol->name, prefix, field);
    return symbol->name;
}

/* A message or a service and what it contains. */
static void add_tree(struct reflection *reflection, const char *prefix,
                     const struct wire_field *field, bool is_service, int depth)
{
    const char *name = add_symbol(reflection, prefix, field, is_service);
    struct wire_walk walk = {field->bytes, field->bytes + field->size};
    struct wire_field part;
    bool broken = false;
    while (wire_walk_next(&walk, &part, &broken)) {
        if (is_service && part.number == SERVICE_METHOD)
            (void)add_symbol(reflection, name, &part, false);
        if (!is_service && part.number == MESSAGE_ENUM)
            (void)add_symbol(reflection, name, &part, false);
        if (!is_service && part.number == MESSAGE_NESTED && depth < NESTING_MAX)
            add_tree(reflection, name, &part, false, depth + 1);
    }
}

static void add_file(struct reflection *reflection, const struct wire_field *field)
{
    struct file *file = &reflection->files[reflection->file_count];
    file->bytes = field->bytes;
    file->size = field->size;
    struct wire_field part;
    bool broken = false;
    struct wire_walk names = {field->bytes, field->bytes + field->size};
    while (wire_walk_next(&names, &part, &broken)) {
        if (part.number == FILE_NAME)
            copy_text(file->name, &part);
        if (part.number == FILE_PACKAGE)
            copy_text(file->package, &part);
    }
    struct wire_walk types = {field->bytes, field->bytes + field->size};
    while (wire_walk_next(&types, &part, &broken)) {
        if (part.number == FILE_MESSAGE || part.number == FILE_SERVICE)
            add_tree(reflection, file->package, &part, part.number == FILE_SERVICE, 0);
        if (part.number == FILE_ENUM)
            (void)add_symbol(reflection, file->package, &part, false);
    }
    reflection->file_count++;
}

enum status reflection_create(struct reflection **reflection, const uint8_t *descriptors,
                              size_t bytes)
{
    struct reflection *r = calloc(1, sizeof *r);
    if (!r)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the reflection service");
    struct wire_walk walk = {descriptors, descriptors + bytes};
    struct wire_field field;
    bool broken = false;
    while (wire_walk_next(&walk, &field, &broken))
        if (field.number == SET_FILE && r->file_count < FILES_MAX)
            add_file(r, &field);
    if (broken || r->symbol_count == SYMBOLS_MAX || r->file_count == FILES_MAX) {
        free(r);
        return fail(STATUS_INTERNAL, "the build's own descriptors cannot be indexed");
    }
    *reflection = r;
    return STATUS_OK;
}

void reflection_destroy(struct reflection *reflection)
{
    free(reflection);
}

static int find_file(const struct reflection *reflection, const char *name)
{
    for (int i = 0; i < reflection->file_count; i++)
        if (strcmp(reflection->files[i].name, name) == 0)
            return i;
    return -1;
}

static int find_symbol(const struct reflection *reflection, const char *name)
{
    for (int i = 0; i < reflection->symbol_count; i++)
        if (strcmp(reflection->symbols[i].name, name) == 0)
            return reflection->symbols[i].file;
    return -1;
}

/* Marks a file and what it imports; a set lists imports before their importers, so one pass down
 * suffices. */
static void mark_imports(const struct reflection *reflection, int file, bool marked[FILES_MAX])
{
    marked[file] = true;
    for (int i = file; i >= 0; i--) {
        if (!marked[i])
            continue;
        struct wire_walk walk = {reflection->files[i].bytes,
                                 reflection->files[i].bytes + reflection->files[i].size};
        struct wire_field part;
        bool broken = false;
        char name[NAME_BYTES];
        while (wire_walk_next(&walk, &part, &broken)) {
            if (part.number != FILE_DEPENDENCY)
                continue;
            copy_text(name, &part);
            int import = find_file(reflection, name);
            if (import >= 0)
                marked[import] = true;
        }
    }
}

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

static enum status answer_error(struct rpc_call *call, reflection_response *response, int code,
                                const char *sentence)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = code;
    error.error_message = (char *)sentence;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    return rpc_call_write(call, &response->base);
}

static enum status answer_file(struct rpc_call *call, reflection_response *response,
                               const struct reflection *reflection, int file)
{
    if (file < 0)
        return answer_error(call, response, GRPC_NOT_FOUND, "no such file or symbol");
    bool marked[FILES_MAX] = {false};
    mark_imports(reflection, file, marked);
    ProtobufCBinaryData files[FILES_MAX];
    size_t count = 0;
    for (int i = file; i >= 0; i--) /* what was asked for comes first */
        if (marked[i])
            files[count++] = (ProtobufCBinaryData){reflection->files[i].size,
                                                   (uint8_t *)reflection->files[i].bytes};
    Grpc__Reflection__V1__FileDescriptorResponse found =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    found.n_file_descriptor_proto = count;
    found.file_descriptor_proto = files;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &found;
    return rpc_call_write(call, &response->base);
}

static enum status answer_services(struct rpc_call *call, reflection_response *response,
                                   const struct reflection *reflection)
{
    Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_MAX];
    size_t count = 0;
    for (int i = 0; i < reflection->symbol_count && count < SERVICES_MAX; i++) {
        if (!reflection->symbols[i].is_service)
            continue;
        grpc__reflection__v1__service_response__init(&services[count]);
        services[count].name = (char *)reflection->symbols[i].name;
        pointers[count] = &services[count];
        count++;
    }
    Grpc__Reflection__V1__ListServiceResponse list =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    list.n_service = count;
    list.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    return rpc_call_write(call, &response->base);
}

static enum status answer(struct rpc_call *call, const reflection_request *request,
                          const struct reflection *reflection)
{
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = (reflection_request *)request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        return answer_file(call, &response, reflection,
                           find_file(reflection, request->file_by_filename));
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        return answer_file(call, &response, reflection,
                           find_symbol(reflection, request->file_containing_symbol));
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        return answer_services(call, &response, reflection);
    default:
        return answer_error(call, &response, GRPC_UNIMPLEMENTED, "no extensions here");
    }
}

static enum status info(struct rpc_call *call, const ProtobufCMessage *none, void *context)
{
    (void)none;
    const ProtobufCMessage *message = NULL;
    for (int idle_ms = 0; idle_ms < IDLE_MS;) {
        enum status status = rpc_call_read(call, &message, LOOK_MS);
        if (status == STATUS_DEADLINE_EXCEEDED && !rpc_call_cancelled(call)) {
            idle_ms += LOOK_MS;
            continue;
        }
        TRY(status);
        if (!message)
            return STATUS_OK;
        TRY(answer(call, (const reflection_request *)message, context));
        idle_ms = 0;
    }
    return fail(STATUS_DEADLINE_EXCEEDED, "no reflection request for %d s", IDLE_MS / 1000);
}

void reflection_methods(struct reflection *reflection,
                        struct rpc_method methods[REFLECTION_METHODS])
{
    const struct rpc_method row = {
        .service = "grpc.reflection.v1.ServerReflection",
        .name = "ServerReflectionInfo",
        .request = &grpc__reflection__v1__server_reflection_request__descriptor,
        .client_streams = true,
        .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
        .handle = info,
        .context = reflection,
        .unguarded = true, /* it tells what the public .proto files say */
    };
    methods[0] = row;
    methods[1] = row;
    methods[1].service = "grpc.reflection.v1alpha.ServerReflection";
}
