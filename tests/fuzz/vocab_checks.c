/* Owns the checks of vocabularies that several fuzz targets share. */
#include "tests/fuzz/vocab_checks.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "proto/utf8_check.h"

static const char text[] = "abab ab  a lo\n'll 12 <tool></s>[INST] \xC3\xA9 \xE2\x96\x81"
                           "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7";

static volatile unsigned sink;

static void touch(const char *view, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sink += (unsigned char)view[i];
}

static void check_id(const struct vocab *vocab, int32_t id)
{
    assert(id >= -1 && id < vocab_count(vocab));
}

void vocab_checks_views(const struct vocab *vocab)
{
    const float *scores = vocab_scores(vocab);
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        const struct vocab_token token = vocab_token(vocab, id);
        assert(token.type >= VOCAB_NORMAL && token.type <= VOCAB_BYTE);
        assert(token.bytes > 0 || token.type == VOCAB_UNUSED);
        assert(utf8_check(token.text, token.bytes, "") == STATUS_OK);
        assert(!scores || isfinite(scores[id]));
    }
    const struct vocab_special special = vocab_special(vocab);
    const int32_t named[] = {special.bos, special.eos,     special.eot,
                             special.eom, special.unknown, special.padding};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        check_id(vocab, named[i]);
    assert(special.end_count <= VOCAB_ENDS_MAX);
    for (int i = 0; i < special.end_count; i++)
        assert(special.ends[i] >= 0 && special.ends[i] < vocab_count(vocab));
    touch(vocab_chat_template(vocab).text, vocab_chat_template(vocab).bytes);
}

static void decode(const struct tokenizer *tokenizer, const struct id_list *ids)
{
    struct detokenizer detokenizer;
    assert(detokenizer_init(&detokenizer, tokenizer, NULL, 0) == STATUS_OK);
    for (size_t i = 0; i <= ids->count; i++) {
        struct detokenizer_piece piece;
        const enum status status = i < ids->count
                                       ? detokenizer_feed(&detokenizer, &piece, ids->ids[i])
                                       : detokenizer_end(&detokenizer, &piece);
        assert(status == STATUS_OK);
        assert(utf8_check(piece.text, piece.bytes, "") == STATUS_OK);
    }
    detokenizer_deinit(&detokenizer);
}

void vocab_checks_use(const struct vocab *vocab)
{
    struct tokenizer *tokenizer;
    struct id_list ids = {0};
    if (tokenizer_create(&tokenizer, vocab) != STATUS_OK) {
        vocab_checks_sentence();
        return;
    }
    for (unsigned flags = 0; flags <= (TOKENIZER_CONTROL | TOKENIZER_BOS); flags++) {
        ids.count = 0;
        const enum status status = tokenizer_encode(tokenizer, &ids, text, strlen(text), flags);
        assert(status == STATUS_OK);
        for (size_t i = 0; i < ids.count; i++) {
            assert(ids.ids[i] >= 0 && ids.ids[i] < vocab_count(vocab));
            assert(flags || !tokenizer_is_control(tokenizer, ids.ids[i]));
        }
        decode(tokenizer, &ids);
    }
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
}

void vocab_checks_sentence(void)
{
    assert(status_message()[0]);
    for (const char *byte = status_message(); *byte; byte++)
        assert((unsigned char)*byte >= 0x20);
}
