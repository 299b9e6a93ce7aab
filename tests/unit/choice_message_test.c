/* A choice over the wire: what was sent is what is read, bit for bit, and nothing else is read. */
#include "tests/support/unit.h"

#include <stdlib.h>

#include "proto/choice_message.h"

static struct choice some_choice(void)
{
    struct method method;
    assert_int_equal(method_parse(&method, "rope", 0), STATUS_OK);
    return (struct choice){.request.method = method,
                           .group.workers = 3,
                           .request.context_tokens = 100000,
                           .request.stage_tokens = 4096,
                           .group.panel_tokens = 64,
                           .group.block_tokens = 512,
                           .group.receive_slots = 4,
                           .group.kernels = "avx512_bf16",
                           .request.decode_split = DECODE_SPLIT_ALL,
                           .request.queries = CHOICE_AUTO,
                           .request.replicate_tokens = 17,
                           .request.window_tokens = 4096};
}

/* Over the wire and back. */
static enum status send(struct choice *received, const struct choice *sent,
                        void (*change)(Longhaul__Control__V1__Choice *))
{
    struct choice_message message;
    choice_message_set(&message, sent);
    if (change)
        change(&message.message);
    uint8_t bytes[8192];
    assert_true(protobuf_c_message_get_packed_size(&message.message.base) < sizeof bytes);
    const size_t count = protobuf_c_message_pack(&message.message.base, bytes);
    Longhaul__Control__V1__Choice *unpacked =
        longhaul__control__v1__choice__unpack(NULL, count, bytes);
    assert_non_null(unpacked);
    const enum status status = choice_message_get(received, unpacked);
    longhaul__control__v1__choice__free_unpacked(unpacked, NULL);
    return status;
}

static void arrives(const struct choice *choice)
{
    struct choice received;
    if (send(&received, choice, NULL) != STATUS_OK)
        fail_msg("%s", status_message());
    assert_memory_equal(&received.request.method, &choice->request.method,
                        sizeof choice->request.method);
    assert_int_equal(received.group.workers, choice->group.workers);
    assert_int_equal(received.request.partition, choice->request.partition);
    assert_int_equal(received.request.schedule, choice->request.schedule);
    assert_int_equal(received.request.context_tokens, choice->request.context_tokens);
    assert_int_equal(received.request.stage_tokens, choice->request.stage_tokens);
    assert_int_equal(received.group.panel_tokens, choice->group.panel_tokens);
    assert_int_equal(received.group.block_tokens, choice->group.block_tokens);
    assert_int_equal(received.group.receive_slots, choice->group.receive_slots);
    assert_int_equal(received.group.cache, choice->group.cache);
    assert_string_equal(received.group.kernels, choice->group.kernels);
    assert_int_equal(received.request.decode_split, choice->request.decode_split);
    assert_int_equal(received.request.decode_home, choice->request.decode_home);
    assert_int_equal(received.request.queries, choice->request.queries);
    assert_int_equal(received.request.replicate_tokens, choice->request.replicate_tokens);
    assert_int_equal(received.request.window_tokens, choice->request.window_tokens);
    assert_int_equal(received.request.weights.count, choice->request.weights.count);
    assert_memory_equal(received.request.weights.parts, choice->request.weights.parts,
                        sizeof choice->request.weights.parts);
}

static void every_choice_arrives_as_it_was_sent(void **state)
{
    (void)state;
    static const char *const methods[] = {"rope",
                                          "string:shift=0.33,logit_scale=1.0693147180559945",
                                          "string:logit_scale=published",
                                          "string:shift=1099511627776,local=0,logit_scale=0.1",
                                          "string:shift=60,local=2,logn=300+yarn:factor=2.68",
                                          "rope:logn=2+ntk:factor=1e+05",
                                          "lm_infinite:window=7,sinks=0"};
    struct choice choice = some_choice();
    for (size_t m = 0; m < sizeof methods / sizeof methods[0]; m++) {
        assert_int_equal(method_parse(&choice.request.method, methods[m], 8191), STATUS_OK);
        arrives(&choice);
    }
    for (int schedule = CHOICE_GATHER; schedule <= CHOICE_RING; schedule++) {
        for (int partition = PARTITION_CONTIGUOUS; partition <= PARTITION_ZIGZAG; partition++) {
            for (int queries = CHOICE_SHARDED; queries <= CHOICE_AUTO; queries++) {
                choice.request.schedule = (enum choice_schedule)schedule;
                choice.request.partition = (enum partition_kind)partition;
                choice.request.queries = (enum choice_queries)queries;
                choice.group.cache = (enum choice_cache)(queries % 3);
                choice.request.decode_split =
                    partition == PARTITION_ZIGZAG ? DECODE_SPLIT_ALL : DECODE_SPLIT_LOGITS;
                arrives(&choice);
                choice.request.weights =
                    (struct partition_weights){3, {255, 1, (uint8_t)(queries + 1)}};
                arrives(&choice);
                choice.request.weights = (struct partition_weights){0};
            }
        }
    }
}

static void no_method(Longhaul__Control__V1__Choice *message)
{
    message->method = (char *)"";
}

static void open_method(Longhaul__Control__V1__Choice *message)
{
    message->method = (char *)"string:shift=auto";
}

static void no_partition(Longhaul__Control__V1__Choice *message)
{
    message->partition = LONGHAUL__CONTROL__V1__PARTITION__PARTITION_UNSPECIFIED;
}

static void unknown_schedule(Longhaul__Control__V1__Choice *message)
{
    message->schedule = (Longhaul__Control__V1__Schedule)4;
}

static void long_kernels(Longhaul__Control__V1__Choice *message)
{
    message->kernels = (char *)"a-variant-whose-name-has-32-byte";
}

static void no_workers(Longhaul__Control__V1__Choice *message)
{
    message->workers = 0;
}

static uint8_t few_weights[] = {1, 2}, no_weight[] = {1, 0, 1}, many_weights[4097] = {1};

static void too_few_weights(Longhaul__Control__V1__Choice *message)
{
    message->weights = (ProtobufCBinaryData){sizeof few_weights, few_weights};
}

static void a_weight_of_nothing(Longhaul__Control__V1__Choice *message)
{
    message->weights = (ProtobufCBinaryData){sizeof no_weight, no_weight};
}

static void more_weights_than_workers_can_be(Longhaul__Control__V1__Choice *message)
{
    message->weights = (ProtobufCBinaryData){sizeof many_weights, many_weights};
}

static void what_was_not_said_is_refused(void **state)
{
    (void)state;
    void (*const changes[])(Longhaul__Control__V1__Choice *) = {
        no_method,        open_method,         no_partition,
        unknown_schedule, long_kernels,        no_workers,
        too_few_weights,  a_weight_of_nothing, more_weights_than_workers_can_be};
    const struct choice choice = some_choice();
    struct choice received = {.group.workers = 77};
    for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
        assert_int_equal(send(&received, &choice, changes[c]), STATUS_INVALID_ARGUMENT);
        assert_int_equal(received.group.workers, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_choice_arrives_as_it_was_sent),
        cmocka_unit_test(what_was_not_said_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
