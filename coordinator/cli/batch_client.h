/* The calls of longhaul.v1.Batches and Documents as commands make them: asked again, where that is
 * safe, while the coordinator is away for a moment, and ended by Ctrl-C. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "longhaul/v1/batches.pb-c.h"
#include "proto/rpc/rpc_client.h"
#include "proto/status.h"

struct batch_client {
    struct rpc_client *rpc;
    int64_t patience_ms; /* how long a coordinator may be away; 0: it may not */
    int interrupts;      /* so many signals are the caller's to act on; one more ends a call */
};

/* "a-b-c-d": a request id that nobody else has. */
enum { BATCH_CLIENT_ID_BYTES = 40 };
MUST_CHECK enum status batch_client_make_id(char id[BATCH_CLIENT_ID_BYTES]);

/* One request, one reply, freed with protobuf_c_message_free_unpacked. `method` is one of Batches,
 * or "Documents/METHOD". The request must be safe to repeat. */
MUST_CHECK enum status batch_client_ask(const struct batch_client *client, ProtobufCMessage **reply,
                                        const char *method,
                                        const ProtobufCMessageDescriptor *response,
                                        const ProtobufCMessage *request);

MUST_CHECK enum status batch_client_get(const struct batch_client *client,
                                        Longhaul__V1__Batch **batch, const char *name);
MUST_CHECK enum status batch_client_cancel(const struct batch_client *client,
                                           Longhaul__V1__Batch **batch, const char *name);

/* Where lines come from: fills `piece` [size] with what stands at `offset`; 0 bytes: the end. */
typedef enum status batch_client_read(void *context, int64_t offset, void *piece, size_t size,
                                      size_t *bytes);

/* What an upload or an estimate takes. */
struct batch_client_lines {
    batch_client_read *read;
    void (*tell)(void *context, int64_t bytes); /* so many are there; NULL: nobody asks */
    void *context;
};

/* All lines, from what is committed on, and that they are all. */
MUST_CHECK enum status batch_client_upload(const struct batch_client *client, const char *name,
                                           const struct batch_client_lines *lines);

/* A document: `first` is the first message but for its text, and safe to repeat. */
MUST_CHECK enum status batch_client_upload_document(
    const struct batch_client *client, Longhaul__V1__StoredDocument **document,
    const Longhaul__V1__UploadDocumentRequest *first, const struct batch_client_lines *text);

/* Of a batch that is there, or of lines (`lines` not NULL). */
MUST_CHECK enum status batch_client_estimate(const struct batch_client *client,
                                             Longhaul__V1__BatchEstimate **estimate,
                                             const char *name,
                                             const struct batch_client_lines *lines);

/* Called for each message of a stream, and now and then with NULL while none comes. A failure ends
 * the call and is what it returns. */
typedef enum status batch_client_take(void *context, const ProtobufCMessage *message);

/* Results from the first on, until the batch has ended and all are told: StreamResultsResponse
 * messages. A stream that breaks goes on behind the last result. */
MUST_CHECK enum status batch_client_results(const struct batch_client *client, const char *name,
                                            batch_client_take *take, void *context);

/* Batch messages, until it has ended. */
MUST_CHECK enum status batch_client_watch(const struct batch_client *client, const char *name,
                                          batch_client_take *take, void *context);
