/* One request over HTTP and its answer. A handler runs on its connection's own thread, may wait
 * there, and leaves an answer (http_reply, http_reply_stream) or fails: then its last sentence and
 * the details become an error object as OpenAI's clients read it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <microhttpd.h>

#include "coordinator/access/access.h"
#include "coordinator/http/http_connections.h"
#include "coordinator/http/http_tools.h"
#include "proto/log.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum {
    HTTP_NAME_BYTES = 128,
    HTTP_SENTENCE_BYTES = 1024,
    HTTP_NOTES_MAX = 12,
    HTTP_ALLOW_BYTES = 32
};

struct http_exchange;

/* Where a body goes as it comes. */
typedef enum status http_take(struct http_exchange *exchange, const char *bytes, size_t count);
typedef enum status http_handler(struct http_exchange *exchange);

struct http_route {
    const char *method; /* "GET" */
    const char *path;   /* "/v1/models/{}": {} is one part of a path, which need not be the last */
    http_handler *handle;
    unsigned scopes;     /* of enum access_scope; 0: anybody may ask, and no token is looked at */
    bool routine;        /* asked over and over by machines: a good end is a debug line */
    uint64_t body_bytes; /* at most; 0: it has none */
    http_handler *begin; /* with `take`: before the body comes */
    http_take *take;     /* NULL: the body is collected */
};

/* A body that is collected. Ends in a zero byte that does not count. */
struct http_body {
    char *text;
    size_t bytes, room;
};

struct http_exchange {
    struct http_tools *tools;
    struct MHD_Connection *connection;
    struct http_connection *peer;
    const struct http_route *route;
    char name[HTTP_NAME_BYTES]; /* what stood for {} */
    struct access_caller caller;
    struct status_details details;
    struct http_body body;
    uint64_t received; /* bytes of the body so far */
    int64_t begun_ns;
    /* The handler's own, until the answer is out or the connection gone. */
    void *work;
    void (*end_work)(void *work);
    char request_id[64]; /* told as X-Request-Id; "": not */
    bool replied;
    int code;                           /* of the answer */
    char allow[HTTP_ALLOW_BYTES];       /* methods of a path that does not have this one */
    uint64_t discarded;                 /* bytes that came after a failure */
    enum status failure;                /* that was met before the whole request was there */
    char sentence[HTTP_SENTENCE_BYTES]; /* of it */
    struct log_field notes[HTTP_NOTES_MAX];
    size_t note_count;
};

/* The value of a header, NULL without it. */
const char *http_header(struct http_exchange *exchange, const char *name);
/* A parameter of the URL, NULL without it. */
const char *http_parameter(struct http_exchange *exchange, const char *name);

/* Adds to the line that is logged at the end, or replaces what was noted under this key. */
void http_note(struct http_exchange *exchange, struct log_field field);

/* An answer in the making: write to `file`. */
struct http_text {
    FILE *file;
    char *text;
    size_t bytes;
};

MUST_CHECK enum status http_text_open(struct http_text *text);
/* Closes it without an answer. */
void http_text_drop(struct http_text *text);

/* Takes the text, whatever it returns. */
MUST_CHECK enum status http_reply(struct http_exchange *exchange, int code, const char *type,
                                  struct http_text *text);
MUST_CHECK enum status http_reply_json(struct http_exchange *exchange, struct http_text *text);

/* Bytes that live as long as the program. `security` is a Content-Security-Policy; NULL: none. */
MUST_CHECK enum status http_reply_static(struct http_exchange *exchange, const char *type,
                                         const void *bytes, size_t count, const char *security);

/* What `read` gives, as MHD_ContentReaderCallback says, on the connection's thread. */
MUST_CHECK enum status http_reply_stream(struct http_exchange *exchange, const char *type,
                                         MHD_ContentReaderCallback read, void *context);

/* The failure as an answer. */
MUST_CHECK enum status http_reply_error(struct http_exchange *exchange, enum status failure,
                                        const char *sentence);
