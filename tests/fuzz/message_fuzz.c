/* The messages of clients and ranks over any bytes: each is refused, or unpacked, read and packed
 * again. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/method_message.h"
#include "coordinator/sampling_request.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/choice_message.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/rpc_message.h"
#include "tests/fuzz/fuzz.h"

static const ProtobufCMessageDescriptor *const kinds[] = {
    &longhaul__v1__generate_request__descriptor,
    &longhaul__v1__score_request__descriptor,
    &longhaul__v1__plan_request__descriptor,
    &longhaul__control__v1__worker_message__descriptor,
    &longhaul__control__v1__coordinator_message__descriptor,
    &grpc__reflection__v1__server_reflection_request__descriptor,
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* A Run with everything in it, behind the byte that selects its kind. */
static size_t seed_run(uint8_t *data)
{
    struct choice choice = {.group.workers = 2,
                            .request.context_tokens = 1000,
                            .group.panel_tokens = 64,
                            .group.block_tokens = 64,
                            .group.receive_slots = 2,
                            .group.kernels = "reference"};
    int32_t ids[] = {1, 2, 300, 70000};
    struct choice_message message;
    if (method_parse(&choice.request.method, "string:shift=64,local=8+linear:factor=2", 0) !=
        STATUS_OK)
        abort();
    choice_message_set(&message, &choice);
    Longhaul__Control__V1__Run run = LONGHAUL__CONTROL__V1__RUN__INIT;
    run.request_id = (char *)"r1";
    run.choice = &message.message;
    run.n_token_ids = 4;
    run.token_ids = ids;
    Longhaul__Control__V1__CoordinatorMessage outer =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    outer.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN;
    outer.run = &run;
    data[0] = 4;
    return 1 + protobuf_c_message_pack(&outer.base, data + 1);
}

static size_t seed_plan(uint8_t *data)
{
    Longhaul__V1__Method method = LONGHAUL__V1__METHOD__INIT;
    method.spelling = (char *)"string:shift=0.33,logit_scale=published";
    Longhaul__V1__PlanOptions options = LONGHAUL__V1__PLAN_OPTIONS__INIT;
    options.method = &method;
    options.schedule = LONGHAUL__V1__SCHEDULE__SCHEDULE_RING;
    Longhaul__V1__PlanRequest request = LONGHAUL__V1__PLAN_REQUEST__INIT;
    request.length_case = LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS;
    request.prompt_tokens = 1000;
    request.options = &options;
    data[0] = 2;
    return 1 + protobuf_c_message_pack(&request.base, data + 1);
}

static size_t seed_generate(uint8_t *data)
{
    Longhaul__V1__Document document = LONGHAUL__V1__DOCUMENT__INIT;
    document.document = (char *)"caf\xc3\xa9";
    document.question = (char *)"why?";
    Longhaul__V1__Prompt prompt = LONGHAUL__V1__PROMPT__INIT;
    prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT;
    prompt.document = &document;
    Longhaul__V1__Sampling sampling = LONGHAUL__V1__SAMPLING__INIT;
    sampling.optional_temperature_case = LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE;
    sampling.temperature = 0.5f;
    Longhaul__V1__LogitBias bias = LONGHAUL__V1__LOGIT_BIAS__INIT;
    Longhaul__V1__LogitBias *biases[] = {&bias};
    bias.id = 7;
    bias.bias = -100;
    sampling.n_logit_bias = 1;
    sampling.logit_bias = biases;
    char *stops[] = {(char *)"a", (char *)"b"};
    Longhaul__V1__GenerateRequest request = LONGHAUL__V1__GENERATE_REQUEST__INIT;
    request.prompt = &prompt;
    request.sampling = &sampling;
    request.n_stop = 2;
    request.stop = stops;
    Longhaul__V1__LmInfiniteMethod lm_infinite = LONGHAUL__V1__LM_INFINITE_METHOD__INIT;
    lm_infinite.optional_window_case = LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_WINDOW_WINDOW;
    lm_infinite.window = 2048;
    Longhaul__V1__Method method = LONGHAUL__V1__METHOD__INIT;
    method.kind_case = LONGHAUL__V1__METHOD__KIND_LM_INFINITE;
    method.lm_infinite = &lm_infinite;
    Longhaul__V1__PlanOptions options = LONGHAUL__V1__PLAN_OPTIONS__INIT;
    options.method = &method;
    request.options = &options;
    request.optional_logprobs_case = LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_LOGPROBS_LOGPROBS;
    request.logprobs = 3;
    data[0] = 0;
    return 1 + protobuf_c_message_pack(&request.base, data + 1);
}

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (room < 1024)
        return 0;
    switch (index) {
    case 0:
        return seed_run(data);
    case 1:
        return seed_generate(data);
    case 2:
        return seed_plan(data);
    default:
        return 0;
    }
}

static void read_options(const Longhaul__V1__PlanOptions *options)
{
    struct method method;
    if (options && method_message_is_given(options->method) &&
        method_message_read(&method, options->method, 8192) == STATUS_OK &&
        method_check(&method) != STATUS_OK)
        abort();
}

static void read_message(const ProtobufCMessage *message)
{
    if (message->descriptor == &longhaul__v1__generate_request__descriptor) {
        const Longhaul__V1__GenerateRequest *request = (const void *)message;
        read_options(request->options);
        struct sampling_request read;
        const char *field = NULL;
        enum status status = sampling_request_read(&read, &field, request->sampling);
        if (status != STATUS_OK ? !field : sampling_check(&read.sampling, &field) != STATUS_OK)
            abort();
        field = NULL;
        if (status == STATUS_OK &&
            sampling_check_biases(&read.sampling, &field, 100) != STATUS_OK && !field)
            abort();
    }
    if (message->descriptor == &longhaul__v1__plan_request__descriptor)
        read_options(((const Longhaul__V1__PlanRequest *)message)->options);
    if (message->descriptor == &longhaul__control__v1__coordinator_message__descriptor) {
        const Longhaul__Control__V1__CoordinatorMessage *outer = (const void *)message;
        struct choice choice;
        if (outer->kind_case == LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN &&
            outer->run->choice && choice_message_get(&choice, outer->run->choice) == STATUS_OK &&
            choice_check(&choice) != STATUS_OK)
            abort();
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
