/* Any bytes as a text: refused as no UTF-8, or encoded to ids that decode to the same text, with no
 * control token unless that was asked for. Bytes that begin as a GGUF file are a vocabulary:
 * refused, or usable.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "proto/utf8_check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_pieces.h"
#include "tests/support/tiny_vocab.h"

static const char *const merges[] = {
    "a b", "ab ab", "\xC4\xA0 a", "\xC4\xA0 \xC4\xA0", "\xC4\x8A \xC4\x8A", "' s",
    "1 2", "! !",   "!! !!",      "\xC3\x83 \xC2\xA9"};
static const char chat_template[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] "
    "+ '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}";
/* Not whole: it is there to be read tag by tag. */
static const char llama_template[] =
    "{{- bos_token }}\n{%- if custom_tools is defined %}{%- set tools = \"a'\" %}{%- endif %}\n"
    "{#- a comment #}{%- for message in messages %}{%- if not (message.role == 'tool') %}x"
    "{%- elif 'tool_calls' in message %}{% if a %}{% else %}{% endif %}{%- endif %}{%- endfor %}";
enum { ARGS = 2 };
static const struct tiny_vocab_args args[ARGS] = {
    {.chat_template = chat_template,
     .merges = merges,
     .merge_count = sizeof merges / sizeof merges[0]},
    {.pre = "llama-bpe",
     .chat_template = llama_template,
     .merges = merges,
     .merge_count = sizeof merges / sizeof merges[0]},
};
static const char *const texts[] = {
    "abab ab  a\n\n\n'll I'S 12 !!!!!! <|im_end|><|im_start|>user <tool>",
    "\xC3\xA9 \xE2\x80\xA8\xE1\xA0\x8E\xC2\x85 \xD9\xA3\xC2\xBD \xF0\x9F\x91\xA9\xE2\x80\x8D"
    "\xF0\x9F\x91\xA7 \xC5\xBF",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index < 2) {
        memcpy(data, texts[index], strlen(texts[index]));
        return strlen(texts[index]);
    }
    if (index > 2 + ARGS)
        return 0;
    struct gguf_writer file = {0};
    if (index == 2 + ARGS)
        tiny_pieces_gguf(&file);
    else
        tiny_vocab_build(&file, &args[index - 2]);
    size_t bytes = file.bytes <= room ? file.bytes : 0;
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Control tokens are not shown, so the text must come back without them; nor is NUL. */
static void decode(const struct tokenizer *tokenizer, const struct id_list *ids, const char *text,
                   size_t bytes)
{
    struct detokenizer detokenizer;
    require(detokenizer_init(&detokenizer, tokenizer, NULL, 0) == STATUS_OK);
    size_t place = 0;
    for (size_t i = 0; i <= ids->count; i++) {
        struct detokenizer_piece piece;
        require((i < ids->count ? detokenizer_feed(&detokenizer, &piece, ids->ids[i])
                                : detokenizer_end(&detokenizer, &piece)) == STATUS_OK);
        require(piece.bytes <= bytes - place);
        require(memcmp(text + place, piece.text, piece.bytes) == 0);
        place += piece.bytes;
    }
    require(place == bytes);
    detokenizer_deinit(&detokenizer);
}

static void encode(const struct tokenizer *tokenizer, const char *text, size_t bytes)
{
    bool valid = utf8_check(text, bytes, "") == STATUS_OK;
    struct id_list ids = {0};
    enum status status = tokenizer_encode(tokenizer, &ids, text, bytes, TOKENIZER_CONTROL);
    require((status == STATUS_OK) == valid);
    ids.count = 0;
    status = tokenizer_encode(tokenizer, &ids, text, bytes, 0);
    require((status == STATUS_OK) == valid);
    for (size_t i = 0; i < ids.count; i++)
        require(!tokenizer_is_control(tokenizer, ids.ids[i]));
    if (valid && !memchr(text, '\0', bytes))
        decode(tokenizer, &ids, text, bytes);
    id_list_deinit(&ids);
}

static const struct tokenizer *tiny_tokenizer(int index)
{
    static struct tokenizer *tokenizers[ARGS];
    if (!tokenizers[index]) {
        struct tiny_vocab tiny;
        tiny_vocab_open(&tiny, &args[index]);
        require(tokenizer_create(&tokenizers[index], tiny.vocab) == STATUS_OK);
        vocab_destroy(tiny.vocab);
        gguf_close(tiny.gguf);
        gguf_writer_free(&tiny.file);
    }
    return tokenizers[index];
}

/* What the ids of SentencePiece's pieces must come to: a space goes before each stretch of text
 * around <tool>, and U+2581 is a space. */
static size_t space(char *spaced, const char *text, size_t bytes)
{
    static const char mark[] = "\u2581", tool[] = "<tool>";
    const size_t tool_bytes = sizeof tool - 1, mark_bytes = sizeof mark - 1;
    size_t used = 0;
    bool begins = true;
    for (size_t i = 0; i < bytes;) {
        if (bytes - i >= tool_bytes && memcmp(text + i, tool, tool_bytes) == 0) {
            memcpy(spaced + used, tool, tool_bytes);
            used += tool_bytes;
            i += tool_bytes;
            begins = true;
            continue;
        }
        if (begins)
            spaced[used++] = ' ';
        begins = false;
        const bool is_mark = bytes - i >= mark_bytes && memcmp(text + i, mark, mark_bytes) == 0;
        spaced[used++] = is_mark ? ' ' : text[i];
        i += is_mark ? mark_bytes : 1;
    }
    return used;
}

static void encode_pieces(const struct tokenizer *tokenizer, const char *text, size_t bytes)
{
    struct id_list ids = {0};
    const enum status status = tokenizer_encode(tokenizer, &ids, text, bytes, 0);
    char *spaced = malloc(2 * bytes + 1);
    require(spaced != NULL);
    require((status == STATUS_OK) == (utf8_check(text, bytes, "") == STATUS_OK));
    if (status == STATUS_OK && !memchr(text, '\0', bytes))
        decode(tokenizer, &ids, spaced, space(spaced, text, bytes));
    free(spaced);
    id_list_deinit(&ids);
}

static const struct tokenizer *pieces_tokenizer(void)
{
    static struct tokenizer *tokenizer;
    struct gguf_writer file = {0};
    struct gguf *gguf = NULL;
    struct vocab *vocab = NULL;
    if (tokenizer)
        return tokenizer;
    tiny_pieces_gguf(&file);
    require(gguf_parse(&gguf, file.data, file.bytes, "pieces") == STATUS_OK);
    require(vocab_gguf_read(&vocab, gguf) == STATUS_OK);
    require(tokenizer_create(&tokenizer, vocab) == STATUS_OK);
    vocab_destroy(vocab);
    gguf_close(gguf);
    gguf_writer_free(&file);
    return tokenizer;
}

/* A foreign vocabulary may lack bytes; its ids need only lie inside it and be no control tokens. */
static void use(const struct tokenizer *tokenizer, const struct vocab *vocab)
{
    struct id_list ids = {0};
    for (int i = 0; i < 2; i++)
        require(tokenizer_encode(tokenizer, &ids, texts[i], strlen(texts[i]), 0) == STATUS_OK);
    struct detokenizer detokenizer;
    struct detokenizer_stop stop = {"ab", 2};
    struct detokenizer_piece piece;
    require(detokenizer_init(&detokenizer, tokenizer, &stop, 1) == STATUS_OK);
    for (size_t i = 0; i < ids.count; i++) {
        require(!tokenizer_is_control(tokenizer, ids.ids[i]));
        require(detokenizer_feed(&detokenizer, &piece, ids.ids[i]) == STATUS_OK);
        require(utf8_check(piece.text, piece.bytes, "") == STATUS_OK);
    }
    detokenizer_deinit(&detokenizer);
    struct chat *chat = NULL;
    if (chat_create(&chat, tokenizer, vocab, "auto") == STATUS_OK) {
        struct chat_message message = {"user", 4, texts[0], strlen(texts[0])};
        const size_t before = ids.count;
        require(chat_render(chat, &ids, &message, 1) == STATUS_OK || ids.count == before);
        chat_destroy(chat);
    }
    id_list_deinit(&ids);
}

static void read_vocabulary(const uint8_t *data, size_t bytes)
{
    struct gguf *gguf = NULL;
    struct vocab *vocab = NULL;
    struct tokenizer *tokenizer = NULL;
    if (gguf_parse(&gguf, data, bytes, "f") == STATUS_OK &&
        vocab_gguf_read(&vocab, gguf) == STATUS_OK &&
        tokenizer_create(&tokenizer, vocab) == STATUS_OK)
        use(tokenizer, vocab);
    tokenizer_destroy(tokenizer);
    vocab_destroy(vocab);
    gguf_close(gguf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes >= 4 && memcmp(data, "GGUF", 4) == 0) {
        read_vocabulary(data, bytes);
        return 0;
    }
    for (int i = 0; i < ARGS; i++)
        encode(tiny_tokenizer(i), (const char *)data, bytes);
    encode_pieces(pieces_tokenizer(), (const char *)data, bytes);
    return 0;
}
