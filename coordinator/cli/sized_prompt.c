/* Owns the words. Promises that a prompt that is handed out has been counted as a whole. */
#include "coordinator/cli/sized_prompt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/draws.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/rpc_client.h"

enum { ASK_MS = 60000 };

static const char *const words_of_prompts[SIZED_PROMPT_WORDS] = {
    "the",   "of",    "and",  "to",   "in",    "is",    "was",  "for",   "on",   "that",
    "by",    "with",  "as",   "at",   "from",  "his",   "her",  "this",  "an",   "they",
    "which", "or",    "but",  "had",  "not",   "were",  "all",  "one",   "when", "there",
    "can",   "more",  "if",   "no",   "man",   "out",   "so",   "said",  "what", "up",
    "time",  "about", "than", "into", "could", "water", "only", "other",
};

static enum status count(int64_t *tokens, struct rpc_client *client, const char *text)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Tokenize",
        .response = &longhaul__v1__tokenize_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    request.text = (char *)(size_t)text; /* only read */
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    *tokens = (int64_t)((const Longhaul__V1__TokenizeResponse *)reply)->n_token_ids;
    rpc_stream_close(stream);
    return STATUS_OK;
}

/* ---- what words count ---- */

/* Of `text` behind " the". */
static enum status count_more(int64_t *tokens, struct rpc_client *client, int64_t before,
                              const char *text)
{
    char both[64];
    snprintf(both, sizeof both, " %s%s", words_of_prompts[0], text);
    TRY(count(tokens, client, both));
    *tokens -= before;
    return STATUS_OK;
}

static enum status learn_fill(struct sized_prompt_words *words, int64_t before)
{
    static const char *const fills[] = {" the", " a", " I", "s", "e", ".", ","};
    for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        char twice[2 * SIZED_PROMPT_FILL_BYTES];
        int64_t once_more = 0, twice_more = 0;
        snprintf(twice, sizeof twice, "%s%s", fills[i], fills[i]);
        TRY(count_more(&once_more, words->client, before, fills[i]));
        TRY(count_more(&twice_more, words->client, before, twice));
        if (once_more != 1 || twice_more != 2)
            continue;
        snprintf(words->fill, sizeof words->fill, "%s", fills[i]);
        return STATUS_OK;
    }
    return fail(STATUS_UNIMPLEMENTED,
                "prompts of a given length cannot be made for this model: none of a few short "
                "texts is one token of it");
}

enum status sized_prompt_learn(struct sized_prompt_words *words, struct rpc_client *client)
{
    int64_t before = 0;
    char word[32];
    words->client = client;
    snprintf(word, sizeof word, " %s", words_of_prompts[0]);
    TRY(count(&before, client, word));
    for (int i = 0; i < SIZED_PROMPT_WORDS; i++) {
        snprintf(word, sizeof word, " %s", words_of_prompts[i]);
        TRY(count_more(&words->tokens[i], client, before, word));
        if (words->tokens[i] < 1)
            return fail(STATUS_UNIMPLEMENTED,
                        "prompts of a given length cannot be made for this model: it has no token "
                        "for \"%s\"",
                        words_of_prompts[i]);
    }
    words->begin_tokens = before - words->tokens[0];
    return learn_fill(words, before);
}

int64_t sized_prompt_least(const struct sized_prompt_words *words)
{
    return words->begin_tokens + 1;
}

/* ---- a prompt ---- */

/* Words until the next one would be too many, then the fill. */
static void write_words(FILE *file, const struct sized_prompt_words *words, int64_t tokens,
                        uint64_t seed)
{
    struct draws draws = {seed};
    int64_t left = tokens;
    while (left > 0) {
        const int next = (int)(draws_bits(&draws) % SIZED_PROMPT_WORDS);
        if (words->tokens[next] > left)
            break;
        fprintf(file, " %s", words_of_prompts[next]);
        left -= words->tokens[next];
    }
    for (; left > 0; left--)
        fputs(words->fill, file);
}

static enum status write_text(char **text, const struct sized_prompt_words *words,
                              const struct sized_prompt_args *args)
{
    size_t bytes = 0;
    FILE *file = open_memstream(text, &bytes);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt");
    int64_t shared = args->shared_tokens - words->begin_tokens;
    if (shared < 0)
        shared = 0;
    write_words(file, words, shared, args->shared_seed);
    write_words(file, words, args->tokens - words->begin_tokens - shared, args->seed);
    if (fclose(file) == 0)
        return STATUS_OK;
    free(*text);
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt of %" PRId64 " tokens",
                args->tokens);
}

enum status sized_prompt_make(char **text, const struct sized_prompt_words *words,
                              const struct sized_prompt_args *args)
{
    char *made = NULL;
    int64_t counted = 0;
    if (args->tokens < sized_prompt_least(words))
        return fail(STATUS_INVALID_ARGUMENT,
                    "a prompt of %" PRId64 " tokens: this model's have %" PRId64 " at least",
                    args->tokens, sized_prompt_least(words));
    TRY(write_text(&made, words, args));
    enum status status = count(&counted, words->client, made);
    if (status == STATUS_OK && counted != args->tokens)
        status = fail(STATUS_UNIMPLEMENTED,
                      "a prompt of %" PRId64 " tokens came out with %" PRId64
                      ": this model's tokenizer joins words",
                      args->tokens, counted);
    if (status != STATUS_OK) {
        free(made);
        return status;
    }
    *text = made;
    return STATUS_OK;
}
