/* The texts that data.files names, as documents of token ids. Suffixes tell what a file is:
 *
 *   .txt .text .md  UTF-8, one document
 *   .jsonl          a document a line: an object with its text, or its prompt and response
 *   .u16 .i32       ids, little-endian, 16 bits unsigned or 32 bits: one document
 *
 * A document ends with the vocabulary's end of text, where it has one; ids are taken as they are.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/chat.h"
#include "coordinator/text/id_list.h"
#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

struct documents;

struct documents_args {
    const char *files; /* paths and patterns (glob(7)), apart by blanks */
    /* Of a JSON line: the field of its text; or, of replay, those of prompt and response. */
    const char *field;
    const char *prompt, *response; /* both or neither; then field is not read */
    const struct chat *chat;       /* that prompt and response are a turn of; NULL: of none */
    const struct tokenizer *tokenizer;
    int32_t end; /* the id that ends a document; -1: none */
};

struct document {
    struct id_list ids; /* grows from one document to the next */
    size_t prompt_ids;  /* how many of them are the prompt; 0 unless of replay */
    size_t text_bytes;  /* of the text that was encoded; 0: of ids */
};

/* Maps the files; borrows what `args` points to. NOT_FOUND for a file that is not there and for a
 * pattern without any, INVALID_ARGUMENT for a suffix that is not known. */
MUST_CHECK enum status documents_open(struct documents **documents,
                                      const struct documents_args *args);

/* Accepts NULL. */
void documents_close(struct documents *documents);

int64_t documents_count(const struct documents *documents);

/* Document `number` in the sequence of the files. INVALID_ARGUMENT with file and line. */
MUST_CHECK enum status documents_read(const struct documents *documents, struct document *document,
                                      int64_t number);

/* The files, each once; borrowed. */
size_t documents_files(const struct documents *documents);
const char *documents_file(const struct documents *documents, size_t file);
