/* Documents in the store: texts that lines name, kept once for each tenant.
 *
 *     TRY(store_document_begin(&upload, store, tenant));
 *     TRY(store_document_write(upload, text, bytes));      any number of times
 *     TRY(store_document_finish(upload, &answer, &args));  on disk, under its digest
 *     store_document_abandon(upload);                      frees it, in every case
 */
#pragma once

#include "coordinator/batch/store.h"

enum { STORE_DIGEST_BYTES = 72, STORE_TITLE_BYTES = 257 };

struct store_document {
    int64_t number;
    char id[STORE_ID_BYTES];
    char digest[STORE_DIGEST_BYTES]; /* "sha256:" and 64 hexadecimal digits */
    char title[STORE_TITLE_BYTES];
    int64_t bytes;
    int64_t tokens; /* 0: not counted yet */
    int64_t created_us, expires_us;
};

struct store_document_upload;

/* `limits`, or NULL: a text that exceeds them by itself is refused as it is written, one that
 * exceeds them with what the tenant has when it is finished. */
MUST_CHECK enum status store_document_begin(struct store_document_upload **upload,
                                            struct store *store, const char *tenant,
                                            const struct store_limits *limits);

MUST_CHECK enum status store_document_write(struct store_document_upload *upload, const void *text,
                                            size_t bytes);

struct store_document_args {
    const struct store_request *request; /* NULL: not to be repeated */
    const struct store_limits *limits;   /* NULL: none. RESOURCE_EXHAUSTED */
    const char *id;                      /* NULL or "": the store's choice */
    const char *title;
    int64_t tokens; /* 0: not counted */
    int64_t expires_after_seconds;
};

struct store_document_answer {
    struct store_document document;
    bool repeated; /* by its request id */
    bool known; /* the tenant had these bytes: this is that document, kept the longer of the two */
};

/* ALREADY_EXISTS: `id` names another text. */
MUST_CHECK enum status store_document_finish(struct store_document_upload *upload,
                                             struct store_document_answer *answer,
                                             const struct store_document_args *args);

void store_document_abandon(struct store_document_upload *upload);

/* By id or by "sha256:...". NOT_FOUND. */
MUST_CHECK enum status store_document_get(struct store *store, struct store_document *document,
                                          const char *tenant, const char *name);

/* Its text, freed by the caller, with a zero byte behind it that does not count. DATA_LOSS: the
 * file does not have its digest any more. */
MUST_CHECK enum status store_document_read(struct store *store, const char *tenant,
                                           const char *name, char **text, size_t *bytes);

/* A piece of its text, at most `bytes`; `*read` less than asked: the end. Its digest is not looked
 * at. */
MUST_CHECK enum status store_document_read_part(struct store *store, const char *tenant,
                                                const char *name, int64_t offset, void *buffer,
                                                size_t bytes, size_t *read);

MUST_CHECK enum status store_document_set_tokens(struct store *store, const char *tenant,
                                                 const char *id, int64_t tokens);

typedef enum status store_document_take(void *context, const struct store_document *document);

/* The newest first, those with numbers below `before` (0: all), at most `count`. */
MUST_CHECK enum status store_document_list(struct store *store, const char *tenant, int64_t before,
                                           int64_t count, store_document_take *take, void *context);

/* FAILED_PRECONDITION while a batch that has not ended names it. */
MUST_CHECK enum status store_document_delete(struct store *store, const char *tenant,
                                             const char *id, const struct store_request *request);
