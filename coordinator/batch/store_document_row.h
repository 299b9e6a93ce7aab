/* A document's row as the store's own files see it. */
#pragma once

#include "coordinator/batch/store_document.h"
#include "coordinator/batch/store_link.h"

/* The columns of store_document_row_read, for a SELECT FROM documents. */
#define STORE_DOCUMENT_COLUMNS                                                                     \
    " number, id, digest, title, bytes, tokens, created_us, expires_us, file "

enum { STORE_DOCUMENT_FILE_BYTES = 160 };

/* From a row with the columns above. */
MUST_CHECK enum status store_document_row_read(struct store_document *document,
                                               char file[STORE_DOCUMENT_FILE_BYTES],
                                               sqlite3_stmt *rows);

/* Its text, freed by the caller, with a zero byte behind it. DATA_LOSS with its name where the file
 * is gone or damaged. */
MUST_CHECK enum status store_document_row_text(struct store *store,
                                               const struct store_document *document,
                                               const char *file, char **text);
