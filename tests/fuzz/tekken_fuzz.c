/* Feeds bytes to the reading of a tekken.json, with tokenizer_config.json behind a zero byte:
 * refused, or a vocabulary in which each byte is a token and no text can become a special one.
 *
 * Most of a file is the same in all: byte 1 stands for the pattern and byte 2 for the 256 single
 * bytes, neither of which JSON has, so that an input may be short. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/tekken.h"
#include "proto/model/tokenizer_pipeline.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/vocab_checks.h"

enum { BYTES = 256, ROWS = 300, PATTERN = 1, SINGLE_BYTES = 2, EXPANDED_BYTES = 16 << 10 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Behind what the file has so far, which has room. */
static void put(char *data, size_t *used, size_t room, const char *text)
{
    const int wrote = snprintf(data + *used, room - *used, "%s", text);
    assert(wrote >= 0 && (size_t)wrote < room - *used);
    *used += (size_t)wrote;
}

static void put_pattern(char *data, size_t *used, size_t room)
{
    for (const char *c = tokenizer_pipeline_pattern(text_view_of("tekken"), 0); *c; c++) {
        char text[8];
        const char *escape = *c == '\\' || *c == '"' ? "\\" : "";
        if ((unsigned char)*c < ' ')
            snprintf(text, sizeof text, "\\u%04x", (unsigned)*c);
        else
            snprintf(text, sizeof text, "%s%c", escape, *c);
        put(data, used, room, text);
    }
}

static void put_bytes(char *data, size_t *used, size_t room)
{
    char text[64];
    for (unsigned byte = 0; byte < BYTES; byte++) {
        snprintf(text, sizeof text, "{\"rank\":%u,\"token_bytes\":\"%c%c==\"},", byte,
                 digits[byte >> 2], digits[byte << 4 & 0x30]);
        put(data, used, room, text);
    }
}

/* Each mark once at most; what follows is as it is. */
static size_t expand(char *out, size_t room, const uint8_t *data, size_t bytes)
{
    size_t used = 0;
    bool has_pattern = false, has_bytes = false;
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] == PATTERN && !has_pattern) {
            put_pattern(out, &used, room);
            has_pattern = true;
        } else if (data[i] == SINGLE_BYTES && !has_bytes) {
            put_bytes(out, &used, room);
            has_bytes = true;
        } else {
            out[used++] = (char)data[i];
        }
    }
    return used;
}

#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    static const struct {
        const char *text;
        size_t bytes;
    } seeds[] = {
        SEED("{\"config\":{\"pattern\":\"\x01\",\"default_vocab_size\":260,"
             "\"default_num_special_tokens\":3},\"special_tokens\":[{\"rank\":1,\"token_str\":"
             "\"<s>\"},{\"rank\":2,\"token_str\":\"</s>\",\"is_control\":true}],\"vocab\":[\x02"
             "{\"rank\":256,\"token_bytes\":\"YWI=\",\"token_str\":\"ab\"}]}"),
        SEED("{\"config\":{\"pattern\":\"\x01\",\"default_vocab_size\":278,\"version\":\"v3\","
             "\"default_num_special_tokens\":21},\"vocab\":[\x02{\"rank\":256,\"token_bytes\":"
             "\"4pyT\"}]}\0{\"eos_token\":\"</s>\",\"chat_template\":\"{{ x }}\"}"),
        SEED("{\"config\":{\"pattern\":\"\x01\",\"default_vocab_size\":4,"
             "\"default_num_special_tokens\":2},\"vocab\":[\x02{}]}"),
    };
    enum { SEEDS = sizeof seeds / sizeof seeds[0] };
    if (index < SEEDS && seeds[index].bytes <= room) {
        memcpy(data, seeds[index].text, seeds[index].bytes);
        return seeds[index].bytes;
    }
    /* The first one once more, written out. */
    return index == SEEDS
               ? expand((char *)data, room, (const uint8_t *)seeds[0].text, seeds[0].bytes)
               : 0;
}

/* A byte is a token of its own in GPT-2's alphabet, in which none is longer than two. */
static void check_bytes(const struct vocab *vocab)
{
    int single = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        const struct vocab_token token = vocab_token(vocab, id);
        single += token.type == VOCAB_NORMAL &&
                  token.bytes == (size_t)((unsigned char)token.text[0] < 0x80 ? 1 : 2);
    }
    assert(single == BYTES);
}

static void read_file(const struct tokenizer_files *files)
{
    for (int32_t rows = 0; rows <= ROWS; rows += ROWS) {
        struct vocab *vocab = NULL;
        if (tekken_read(&vocab, files, rows) != STATUS_OK) {
            assert(!vocab);
            vocab_checks_sentence();
            continue;
        }
        assert(rows == 0 || vocab_count(vocab) == rows);
        vocab_checks_views(vocab);
        check_bytes(vocab);
        vocab_checks_use(vocab);
        vocab_destroy(vocab);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *zero = bytes > 0 ? memchr(data, 0, bytes) : NULL;
    const size_t first = zero ? (size_t)(zero - data) : bytes;
    char *expanded = malloc(first + EXPANDED_BYTES);
    assert(expanded);
    const size_t used = expand(expanded, first + EXPANDED_BYTES, data, first);
    struct tokenizer_files files = {.tokenizer = {"tekken.json", expanded, used}};
    if (zero)
        files.tokenizer_config =
            (struct tokenizer_file){"tokenizer_config.json", zero + 1, bytes - first - 1};
    read_file(&files);
    free(expanded);
    return 0;
}
