/* Texts to ids for tests/interop/tokenizer-campaign: tokenize_lines MODEL [plain|bos|text]
 *
 * Reads texts from standard input, each as u32 bytes and the bytes; writes for each u32 count and
 * the ids as i32, or for "text" the bytes of the ids' text and the text itself. All numbers in the
 * machine's order. Control tokens are recognised, unless "plain".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/vocab_file.h"

enum { LINE_BYTES_MAX = 64 << 20 };

static int complain(void)
{
    fprintf(stderr, "tokenize_lines: %s\n", status_message());
    return 1;
}

/* False at the end of the input. */
static bool read_line(char **line, uint32_t *bytes)
{
    if (fread(bytes, sizeof *bytes, 1, stdin) != 1 || *bytes > LINE_BYTES_MAX)
        return false;
    char *read = realloc(*line, (size_t)*bytes + 1);
    if (!read)
        return false;
    *line = read;
    return fread(read, 1, *bytes, stdin) == *bytes;
}

static enum status write_text(const struct tokenizer *tokenizer, const struct id_list *ids)
{
    char *text = NULL;
    TRY(detokenizer_text(&text, tokenizer, ids->ids, ids->count, LINE_BYTES_MAX));
    uint32_t bytes = text ? (uint32_t)strlen(text) : 0;
    fwrite(&bytes, sizeof bytes, 1, stdout);
    fwrite(text ? text : "", 1, bytes, stdout);
    free(text);
    return STATUS_OK;
}

static enum status answer(const struct tokenizer *tokenizer, struct id_list *ids, const char *line,
                          uint32_t bytes, const char *mode)
{
    unsigned flags = strcmp(mode, "plain") == 0 ? 0 : TOKENIZER_CONTROL;
    if (strcmp(mode, "bos") == 0)
        flags |= TOKENIZER_BOS;
    ids->count = 0;
    TRY(tokenizer_encode(tokenizer, ids, line, bytes, flags));
    if (strcmp(mode, "text") == 0)
        return write_text(tokenizer, ids);
    uint32_t count = (uint32_t)ids->count;
    fwrite(&count, sizeof count, 1, stdout);
    if (count > 0)
        fwrite(ids->ids, sizeof *ids->ids, count, stdout);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct vocab_file *file = NULL;
    struct tokenizer *tokenizer = NULL;
    struct id_list ids = {0};
    char *line = NULL;
    uint32_t bytes;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: tokenize_lines MODEL [plain|bos|text]\n");
        return 2;
    }
    if (vocab_file_open(&file, argv[1]) != STATUS_OK ||
        tokenizer_create(&tokenizer, vocab_file_vocab(file)) != STATUS_OK)
        return complain();
    while (read_line(&line, &bytes))
        if (answer(tokenizer, &ids, line, bytes, argc == 3 ? argv[2] : "") != STATUS_OK)
            return complain();
    free(line);
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
    vocab_file_close(file);
    return fflush(stdout) == 0 ? 0 : 1;
}
