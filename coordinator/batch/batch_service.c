/* Owns the store and what runs on it. */
#include "coordinator/batch/batch_service.h"

#include <stdlib.h>

#include "coordinator/batch/batch_calls.h"
#include "coordinator/batch/batch_dispatch.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/batch_validate.h"
#include "coordinator/batch/create_call.h"
#include "coordinator/batch/document_calls.h"
#include "coordinator/batch/estimate_call.h"
#include "coordinator/batch/result_calls.h"
#include "coordinator/batch/retry_call.h"
#include "coordinator/batch/upload_call.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/log.h"

enum {
    STREAMS_MAX = 256,
    LINES_BYTES_MAX = 4 << 20, /* of a batch that comes with its lines */
    PIECE_BYTES_MAX = 1 << 20, /* of lines or of a document, in one message */
    AROUND_BYTES = 64 << 10,   /* what a message has beside them */
};

/* How a method is answered. */
struct method_row {
    const char *service, *name;
    const ProtobufCMessageDescriptor *request;
    batch_handler *handle;
    size_t bytes_max;
    unsigned kind;
};

enum kind {
    READS = 1,        /* answered by a coordinator that drains, too */
    LASTS = 2,        /* as long as something goes on */
    TAKES_STREAM = 4, /* of the client's */
    BRIEF = 8,        /* waits for nobody */
};

static const char batches[] = "longhaul.v1.Batches", documents[] = "longhaul.v1.Documents";

enum { SMALL = RPC_SMALL_MESSAGE_BYTES_MAX, PIECE = PIECE_BYTES_MAX + AROUND_BYTES };

#define ROW(service, Name, name, handle, bytes, kind)                                              \
    {                                                                                              \
        service, Name, &longhaul__v1__##name##_request__descriptor, handle, bytes, kind            \
    }

static const struct method_row rows[BATCH_SERVICE_METHODS] = {
    ROW(batches, "CreateBatch", create_batch, create_call_handle, LINES_BYTES_MAX + AROUND_BYTES,
        BRIEF),
    ROW(batches, "UploadLines", upload_lines, upload_call_handle, PIECE, LASTS | TAKES_STREAM),
    ROW(batches, "GetBatch", get_batch, batch_calls_get, SMALL, READS),
    ROW(batches, "ListBatches", list_batches, batch_calls_list, SMALL, READS),
    ROW(batches, "CancelBatch", cancel_batch, batch_calls_cancel, SMALL, READS),
    ROW(batches, "DeleteBatch", delete_batch, batch_calls_delete, SMALL, 0),
    ROW(batches, "RetryBatch", retry_batch, retry_call_handle, SMALL, 0),
    ROW(batches, "WatchBatch", watch_batch, result_calls_watch, SMALL, READS | LASTS),
    ROW(batches, "ListResults", list_results, result_calls_list, SMALL, READS),
    ROW(batches, "StreamResults", stream_results, result_calls_stream, SMALL, READS | LASTS),
    ROW(batches, "EstimateBatch", estimate_batch, estimate_call_handle, PIECE,
        LASTS | TAKES_STREAM),
    ROW(documents, "UploadDocument", upload_document, document_calls_upload, PIECE,
        LASTS | TAKES_STREAM),
    ROW(documents, "GetDocument", get_document, document_calls_get, SMALL, READS),
    ROW(documents, "ListDocuments", list_documents, document_calls_list, SMALL, READS),
    ROW(documents, "DeleteDocument", delete_document, document_calls_delete, SMALL, 0),
};

/* A method of one service: what its handler is told. */
struct bound_method {
    const struct batch_service *service;
    const struct method_row *row;
};

struct batch_service {
    struct batch_tools tools;
    struct bound_method methods[BATCH_SERVICE_METHODS];
};

static enum status handle(struct rpc_call *call, const ProtobufCMessage *request, void *context)
{
    const struct bound_method *method = context;
    return batch_tools_handle(&method->service->tools, call, request, method->row->handle);
}

static enum status open_parts(struct batch_tools *tools,
                              const struct batch_service_settings *settings)
{
    const struct store_options options = {.folder = settings->folder,
                                          .accept_lost_log = settings->accept_lost_log,
                                          .cache_bytes = settings->cache_bytes};
    if (!settings->folder[0])
        return STATUS_OK;
    TRY(store_open(&tools->store, &options));
    TRY(batch_validate_create(&tools->validate, tools->store, &tools->errand->forms,
                              tools->access));
    return batch_dispatch_create(&tools->dispatch, tools->store, tools->errand);
}

enum status batch_service_create(struct batch_service **service,
                                 const struct batch_service_settings *settings)
{
    struct batch_service *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for batches");
    made->tools = (struct batch_tools){
        .errand = settings->errand,
        .access = settings->access,
        .batch_retention_seconds = settings->batch_retention_seconds,
        .document_retention_seconds = settings->document_retention_seconds,
        .streams = {"batch streams", NULL, STREAMS_MAX, 0},
    };
    enum status status = open_parts(&made->tools, settings);
    if (status != STATUS_OK) {
        batch_service_destroy(made, NULL);
        return status;
    }
    *service = made;
    return STATUS_OK;
}

const struct batch_tools *batch_service_tools(const struct batch_service *service)
{
    return &service->tools;
}

struct store *batch_service_store(const struct batch_service *service)
{
    return service->tools.store;
}

void batch_service_methods(struct batch_service *service,
                           struct rpc_method methods[BATCH_SERVICE_METHODS])
{
    for (int i = 0; i < BATCH_SERVICE_METHODS; i++) {
        service->methods[i] = (struct bound_method){service, &rows[i]};
        methods[i] = (struct rpc_method){
            .service = rows[i].service,
            .name = rows[i].name,
            .request = rows[i].request,
            .client_streams = (rows[i].kind & TAKES_STREAM) != 0,
            .request_bytes_max = rows[i].bytes_max,
            .handle = handle,
            .context = &service->methods[i],
            .scopes = rows[i].service == batches ? ACCESS_BATCHES : ACCESS_DOCUMENTS,
            .is_brief = (rows[i].kind & BRIEF) ? create_call_is_brief : NULL,
            .while_draining = (rows[i].kind & READS) != 0,
            .share = (rows[i].kind & LASTS) ? &service->tools.streams : NULL,
        };
    }
}

bool batch_service_is_serving(const struct batch_service *service)
{
    return service->tools.store && store_is_serving(service->tools.store, NULL, 0);
}

bool batch_service_is_idle(const struct batch_service *service)
{
    return !service->tools.dispatch || batch_dispatch_is_idle(service->tools.dispatch);
}

void batch_service_destroy(struct batch_service *service, bool *left)
{
    if (!service)
        return;
    batch_validate_destroy(service->tools.validate);
    batch_dispatch_destroy(service->tools.dispatch);
    if (left && service->tools.store && store_has_work(service->tools.store, left) != STATUS_OK)
        log_line(LOG_WARN, "nobody knows what is left in the store",
                 log_text("cause", status_message()));
    store_close(service->tools.store);
    free(service);
}
