/* Owns an answer while it is collected. */
#include "coordinator/http/http_inference.h"

#include <string.h>
#include <time.h>

#include "coordinator/batch/store_document.h"
#include "coordinator/http/http_client.h"
#include "coordinator/http/http_store.h"
#include "coordinator/http/http_stream.h"
#include "proto/json_writer.h"

static void write_model(struct json_writer *writer, const struct http_tools *tools)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "id", tools->model);
    json_writer_text(writer, "object", "model");
    json_writer_integer(writer, "created", tools->created_s);
    json_writer_text(writer, "owned_by", "longhaul");
    json_writer_integer(writer, "context_length", tools->errand->forms.context_tokens);
    json_writer_end_object(writer);
}

enum status http_inference_models(struct http_exchange *exchange)
{
    struct http_text text;
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "object", "list");
    json_writer_begin_array(&writer, "data");
    write_model(&writer, exchange->tools);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    return http_reply_json(exchange, &text);
}

enum status http_inference_model(struct http_exchange *exchange)
{
    struct http_text text;
    if (strcmp(exchange->name, exchange->tools->model) != 0)
        return fail(STATUS_NOT_FOUND, "the model %s is not served here; %s is", exchange->name,
                    exchange->tools->model);
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    write_model(&writer, exchange->tools);
    return http_reply_json(exchange, &text);
}

/* The name that a client gives its request; one that an errand would not take is a proxy's. */
static void name_request(struct http_exchange *exchange, Longhaul__V1__GenerateRequest *generate)
{
    enum { NAME_BYTES_MAX = 40 };
    const char *name = http_header(exchange, "X-Request-Id");
    if (name && strlen(name) <= NAME_BYTES_MAX)
        generate->request_id = (char *)name;
}

static enum status write_whole(struct http_exchange *exchange, const struct openai_answer *answer)
{
    struct http_text text;
    TRY(http_text_open(&text));
    openai_answer_write(answer, text.file);
    return http_reply_json(exchange, &text);
}

static enum status answer_whole(struct http_exchange *exchange,
                                const struct openai_request *request,
                                const struct openai_answer_facts *facts)
{
    struct http_client client = {.exchange = exchange};
    TRY(openai_answer_create(&client.answer, facts));
    const struct errand_client errand = http_client_errand(&client);
    enum status status = errand_generate(&errand, exchange->tools->errand, request->generate);
    if (status == STATUS_OK)
        status = write_whole(exchange, client.answer);
    openai_answer_destroy(client.answer);
    return status;
}

/* The text of the document that the request names. */
static enum status read_document(struct http_exchange *exchange, struct openai_request *request)
{
    static const char collection[] = "documents/";
    const struct batch_tools *tools = NULL;
    const char *name = request->document;
    char *text = NULL;
    size_t bytes = 0;
    exchange->details.field = "document";
    if (strncmp(name, collection, sizeof collection - 1) == 0)
        name += sizeof collection - 1;
    TRY(http_store_tools(exchange, &tools));
    TRY(http_store_end(exchange, store_document_read(tools->store, exchange->caller.tenant.name,
                                                     name, &text, &bytes)));
    openai_request_set_document(request, text);
    exchange->details.field = NULL;
    return STATUS_OK;
}

enum status http_inference_answer(struct http_exchange *exchange)
{
    struct openai_request *request = NULL;
    const struct http_body *body = &exchange->body;
    TRY(openai_request_parse(&request, &exchange->details, exchange->route->path,
                             body->text ? body->text : "", body->bytes));
    if (request->document[0]) {
        const enum status read = read_document(exchange, request);
        if (read != STATUS_OK) {
            openai_request_free(request);
            return read;
        }
    }
    name_request(exchange, request->generate);
    const struct openai_answer_facts facts = {
        .form = request->form,
        .answers = request->generate->answers,
        .include_usage = request->include_usage,
        .model = request->model[0] ? request->model : exchange->tools->model,
        .created_s = (int64_t)time(NULL),
        .tokenizer = exchange->tools->errand->forms.tokenizer,
    };
    if (request->stream)
        return http_stream_answer(exchange, request, &facts);
    const enum status status = answer_whole(exchange, request, &facts);
    openai_request_free(request);
    return status;
}
