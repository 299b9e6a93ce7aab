/* Owns an upload while it lasts. Promises that a document that is answered is on disk under the
 * digest of its bytes. */
#include "coordinator/batch/document_calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "coordinator/batch/client_stream.h"
#include "coordinator/batch/document_text.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/text/tokenizer.h"
#include "longhaul/v1/batches.pb-c.h"

static const char collection[] = "documents";

enum { EXPIRES_LEAST = 60, EXPIRES_MOST = 31536000, TITLE_MOST = 256, REQUEST_BYTES = 512 };

/* A document as its message. */
struct document_message {
    Longhaul__V1__StoredDocument message;
    char name[RESOURCE_NAME_BYTES];
};

static void set_message(struct document_message *message, const struct store_document *document)
{
    longhaul__v1__stored_document__init(&message->message);
    resource_name_write(message->name, collection, document->id);
    message->message.name = message->name;
    message->message.digest = (char *)document->digest;
    message->message.bytes = document->bytes;
    message->message.tokens = document->tokens;
    message->message.title = (char *)document->title;
    message->message.created_us = document->created_us;
    message->message.expires_us = document->expires_us;
}

static enum status answer(const struct batch_context *context,
                          const struct store_document *document)
{
    struct document_message message;
    set_message(&message, document);
    return rpc_call_answer(context->call, &message.message.base);
}

/* ---- upload ---- */

struct upload {
    const struct batch_context *context;
    struct store_document_upload *store;
    EVP_MD_CTX *digest;
    char id[STORE_ID_BYTES], request_id[STORE_TITLE_BYTES], title[STORE_TITLE_BYTES];
    int64_t expires_after_seconds;
    struct document_text text;
    bool begun;
};

static enum status check_length(struct status_details *details, const char *field, const char *text,
                                size_t most)
{
    details->field = field;
    if (strlen(text) > most)
        return fail(STATUS_INVALID_ARGUMENT, "%s is longer than %zu bytes", field, most);
    details->field = NULL;
    return STATUS_OK;
}

static enum status read_first(struct upload *upload,
                              const Longhaul__V1__UploadDocumentRequest *request)
{
    const struct batch_context *context = upload->context;
    struct status_details *details = context->details;
    details->field = "document_id";
    TRY(resource_name_check_chosen(request->document_id));
    details->field = NULL;
    TRY(check_length(details, "title", request->title, TITLE_MOST));
    TRY(check_length(details, "request_id", request->request_id, 128));
    const int64_t seconds = request->expires_after_seconds;
    details->field = "expires_after_seconds";
    if (seconds != 0 && (seconds < EXPIRES_LEAST || seconds > EXPIRES_MOST))
        return fail(STATUS_INVALID_ARGUMENT,
                    "expires_after_seconds is %" PRId64 "; must be %d to %d", seconds,
                    EXPIRES_LEAST, EXPIRES_MOST);
    details->field = NULL;
    snprintf(upload->id, sizeof upload->id, "%s", request->document_id);
    snprintf(upload->title, sizeof upload->title, "%s", request->title);
    snprintf(upload->request_id, sizeof upload->request_id, "%s", request->request_id);
    upload->expires_after_seconds = seconds ? seconds : context->tools->document_retention_seconds;
    upload->begun = true;
    upload->digest = EVP_MD_CTX_new();
    if (!upload->digest || EVP_DigestInit_ex(upload->digest, EVP_sha256(), NULL) != 1)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document's digest");
    return store_document_begin(&upload->store, context->tools->store, context->tenant,
                                &context->limits);
}

static enum status take_text(struct upload *upload,
                             const Longhaul__V1__UploadDocumentRequest *request)
{
    const ProtobufCBinaryData *text = &request->text;
    if (text->len == 0)
        return STATUS_OK;
    TRY(document_text_take(&upload->text, (const char *)text->data, text->len));
    if (EVP_DigestUpdate(upload->digest, text->data, text->len) != 1)
        return fail(STATUS_INTERNAL, "a document's digest cannot be made");
    return store_document_write(upload->store, text->data, text->len);
}

/* What stands for the whole upload where it is repeated. */
static enum status write_content(char content[REQUEST_BYTES], const struct upload *upload)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    if (EVP_DigestFinal_ex(upload->digest, digest, &bytes) != 1)
        return fail(STATUS_INTERNAL, "a document's digest cannot be made");
    int used = snprintf(content, REQUEST_BYTES, "UploadDocument\n%s\n%" PRId64 "\n", upload->id,
                        upload->expires_after_seconds);
    for (unsigned i = 0; i < bytes; i++)
        used += snprintf(content + used, (size_t)(REQUEST_BYTES - used), "%02x", digest[i]);
    return STATUS_OK;
}

/* Its tokens by themselves; in a prompt its last ones may join with what follows. */
static enum status count_tokens(const struct batch_context *context,
                                struct store_document *document)
{
    const struct batch_tools *tools = context->tools;
    struct id_list ids = {0};
    char *text = NULL;
    size_t bytes = 0;
    if (document->tokens > 0)
        return STATUS_OK;
    TRY(store_document_read(tools->store, context->tenant, document->id, &text, &bytes));
    enum status status = tokenizer_encode(tools->errand->forms.tokenizer, &ids, text, bytes, 0);
    free(text);
    if (status == STATUS_OK)
        status = store_document_set_tokens(tools->store, context->tenant, document->id,
                                           (int64_t)ids.count);
    document->tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    return status;
}

static enum status finish(struct upload *upload)
{
    const struct batch_context *context = upload->context;
    struct store_document_answer stored;
    char content[REQUEST_BYTES];
    TRY(document_text_end(&upload->text));
    TRY(write_content(content, upload));
    const struct store_request request = {upload->request_id, content, strlen(content)};
    const struct store_document_args args = {
        .request = &request,
        .limits = &context->limits,
        .id = upload->id,
        .title = upload->title,
        .expires_after_seconds = upload->expires_after_seconds,
    };
    TRY(store_document_finish(upload->store, &stored, &args));
    TRY(count_tokens(context, &stored.document));
    rpc_call_note(context->call, log_integer("bytes", stored.document.bytes));
    return answer(context, &stored.document);
}

static enum status receive(struct upload *upload)
{
    const struct batch_context *context = upload->context;
    const ProtobufCMessage *message = NULL;
    do {
        TRY(client_stream_next(context, &message));
        if (message && !upload->begun)
            TRY(read_first(upload, (const void *)message));
        context->details->field = "text";
        if (message)
            TRY(take_text(upload, (const void *)message));
        context->details->field = NULL;
    } while (message);
    if (!upload->begun)
        return fail(STATUS_INVALID_ARGUMENT, "the stream is empty: send the document's text");
    return finish(upload);
}

enum status document_calls_upload(const struct batch_context *context, const ProtobufCMessage *none)
{
    (void)none;
    struct upload upload = {.context = context};
    enum status status = receive(&upload);
    store_document_abandon(upload.store);
    EVP_MD_CTX_free(upload.digest);
    return status;
}

/* ---- get and list ---- */

/* An id or a digest, as the store takes it. */
static enum status read_name(const struct batch_context *context, const char **id, const char *name)
{
    static const char digest[] = "sha256:";
    *id = name;
    return strncmp(name, digest, sizeof digest - 1) == 0
               ? STATUS_OK
               : batch_tools_name(context, id, name, collection);
}

enum status document_calls_get(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__GetDocumentRequest *request = (const void *)message;
    struct store_document document;
    const char *id = NULL;
    TRY(read_name(context, &id, request->name));
    TRY(store_document_get(context->tools->store, &document, context->tenant, id));
    return answer(context, &document);
}

struct page {
    struct store_document *documents;  /* [room] */
    struct document_message *messages; /* [room] */
    Longhaul__V1__StoredDocument **pointers;
    size_t count;
};

static enum status add_to_page(void *context, const struct store_document *document)
{
    struct page *page = context;
    const size_t i = page->count++;
    page->documents[i] = *document;
    set_message(&page->messages[i], &page->documents[i]);
    page->pointers[i] = &page->messages[i].message;
    return STATUS_OK;
}

static enum status tell_page(const struct batch_context *context, const struct page *page,
                             int64_t count)
{
    Longhaul__V1__ListDocumentsResponse response = LONGHAUL__V1__LIST_DOCUMENTS_RESPONSE__INIT;
    char token[BATCH_TOOLS_TOKEN_BYTES];
    response.n_documents = page->count;
    response.documents = page->pointers;
    if (page->count == (size_t)count) {
        batch_tools_token(token, collection, page->documents[page->count - 1].number);
        response.next_page_token = token;
    }
    return rpc_call_answer(context->call, &response.base);
}

enum status document_calls_list(const struct batch_context *context,
                                const ProtobufCMessage *message)
{
    const Longhaul__V1__ListDocumentsRequest *request = (const void *)message;
    struct page page = {.count = 0};
    int64_t before = 0, count = 0;
    TRY(batch_tools_page_size(context->details, &count, request->page_size));
    TRY(batch_tools_place(context->details, &before, collection, request->page_token));
    page.documents = calloc((size_t)count, sizeof *page.documents);
    page.messages = calloc((size_t)count, sizeof *page.messages);
    page.pointers = calloc((size_t)count, sizeof *page.pointers);
    enum status status = page.documents && page.messages && page.pointers
                             ? store_document_list(context->tools->store, context->tenant, before,
                                                   count, add_to_page, &page)
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of documents");
    if (status == STATUS_OK)
        status = tell_page(context, &page, count);
    free(page.documents);
    free(page.messages);
    free(page.pointers);
    return status;
}

/* ---- delete ---- */

enum status document_calls_delete(const struct batch_context *context,
                                  const ProtobufCMessage *message)
{
    const Longhaul__V1__DeleteDocumentRequest *request = (const void *)message;
    struct store *store = context->tools->store;
    struct store_document document;
    struct store_request repeatable;
    const char *id = NULL;
    TRY(read_name(context, &id, request->name));
    TRY(batch_tools_request(&repeatable, context, "DeleteDocument", request->request_id, message));
    enum status status = STATUS_OK;
    if (strchr(id, ':')) { /* by its digest */
        status = store_document_get(store, &document, context->tenant, id);
        id = document.id;
    }
    if (status == STATUS_OK)
        status = store_document_delete(store, context->tenant, id, &repeatable);
    batch_tools_forget(&repeatable);
    TRY(status);
    const Longhaul__V1__DeleteDocumentResponse response =
        LONGHAUL__V1__DELETE_DOCUMENT_RESPONSE__INIT;
    return rpc_call_answer(context->call, &response.base);
}
