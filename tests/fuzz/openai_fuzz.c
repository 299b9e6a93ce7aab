/* Feeds bytes to the reading of batch lines and of bodies: refused with a sentence, or a
 * request whose every text can be read, whose copy in the wire format says the same. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/batch_line.h"
#include "coordinator/openai/openai_files.h"
#include "coordinator/openai/openai_request.h"
#include "proto/utf8_check.h"
#include "tests/fuzz/fuzz.h"

static const char *const urls[] = {"/v1/completions", "/v1/chat/completions",
                                   "/longhaul/v1/generate"};

/* The first byte says what the rest is: a body for urls[byte % 5], with 3 a line, with 4 a request
 * for a batch. */
static const char *const seeds[] = {
    "\x05{\"model\": \"m\", \"prompt\": [\"Once\"], \"max_tokens\": 7, \"stop\": [\"a\", \"b\"], "
    "\"logprobs\": 3, \"seed\": -1, \"top_k\": 4, \"min_p\": 0.1, \"n\": 1}",
    "\x06{\"messages\": [{\"role\": \"system\", \"content\": \"x\"}, {\"role\": \"user\", "
    "\"content\": [{\"type\": \"text\", \"text\": \"one\"}, {\"type\": \"text\", \"text\": "
    "\"\\u00e9\"}]}], \"stream\": true, \"stream_options\": {\"include_usage\": true}, "
    "\"temperature\": 1e-1, \"logprobs\": true, \"top_logprobs\": 2, \"tools\": []}",
    "\x07{\"document\": \"documents/d\", \"question\": \"Who?\", \"raw\": true, \"method\": "
    "\"string:shift=4096\", \"repetition_penalty\": 1.1, \"presence_penalty\": -2, \"logit_bias\": "
    "{\"50256\": -100, \"1\": 0.5}, \"ignore_eos\": false, \"min_tokens\": 3, \"draft\": \"none\"}",
    "\x08{\"custom_id\": \"a\\u00e9\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
    "\"body\": {\"prompt\": \"}\\\"{\", \"stop\": [\"]\"]}}",
    "\x09{\"input_file_id\": \"file-a\", \"endpoint\": \"/v1/completions\", "
    "\"completion_window\": \"24h\", \"metadata\": {\"a\": \"b\"}}",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0] || strlen(seeds[index]) > room)
        return 0;
    memcpy(data, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

static void check_refusal(void)
{
    for (const char *byte = status_message(); *byte; byte++)
        assert((unsigned char)*byte >= 0x20);
}

static void check_body(const char *url, const char *body, size_t bytes)
{
    struct openai_request *request = NULL;
    struct status_details details = {0};
    if (openai_request_parse(&request, &details, url, body, bytes) != STATUS_OK) {
        assert(!request);
        check_refusal();
        return;
    }
    const ProtobufCMessage *message = &request->generate->base;
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    assert(packed && protobuf_c_message_pack(message, packed) == size);
    Longhaul__V1__GenerateRequest *again =
        longhaul__v1__generate_request__unpack(NULL, size, packed);
    assert(again && again->n_stop == request->generate->n_stop);
    assert(utf8_check(request->model, strlen(request->model), "model") == STATUS_OK);
    longhaul__v1__generate_request__free_unpacked(again, NULL);
    free(packed);
    if (request->document[0])
        openai_request_set_document(request, strdup("text"));
    openai_request_free(request);
}

static void check_line(const char *text, size_t bytes)
{
    struct batch_line line;
    struct status_details details = {0};
    if (batch_line_parse(&line, &details, text, bytes) != STATUS_OK) {
        check_refusal();
        return;
    }
    assert(line.body >= text && line.body + line.body_bytes <= text + bytes);
    assert(line.body[0] == '{' && line.body[line.body_bytes - 1] == '}');
    assert(utf8_check(line.custom_id, strlen(line.custom_id), "custom_id") == STATUS_OK);
    check_body(line.url, line.body, line.body_bytes);
}

static void check_batch(const char *text, size_t bytes)
{
    struct openai_batch_request request;
    struct status_details details = {0};
    if (openai_batch_request_parse(&request, &details, text, bytes) != STATUS_OK)
        check_refusal();
    else
        assert(request.input_file_id[0] && request.window_hours >= 1 &&
               request.window_hours <= OPENAI_WINDOW_HOURS_MAX);
    openai_batch_request_free(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    /* A copy of its own, so that a byte read beyond it is seen. */
    char *text = malloc(bytes);
    assert(text);
    memcpy(text, data + 1, bytes - 1);
    const int what = data[0] % 5;
    if (what < 3)
        check_body(urls[what], text, bytes - 1);
    else if (what == 3)
        check_line(text, bytes - 1);
    else
        check_batch(text, bytes - 1);
    free(text);
    return 0;
}
