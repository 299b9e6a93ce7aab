/* Owns the tokenizer. Promises that it counts what a coordinator of the same model counts. */
#include "coordinator/cli/eval_counter.h"

#include "coordinator/cli/interrupt.h"
#include "coordinator/text/chat.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/model.h"

enum status eval_counter_open(struct eval_counter *counter, const char *model_path, bool chat,
                              const char *chat_template)
{
    *counter = (struct eval_counter){.model = NULL};
    TRY(model_open(&counter->model, model_path));
    if (!model_vocab(counter->model))
        return fail(STATUS_UNIMPLEMENTED, "%s holds no tokenizer", model_path);
    TRY(tokenizer_create(&counter->tokenizer, model_vocab(counter->model)));
    return chat ? chat_create(&counter->chat, counter->tokenizer, model_vocab(counter->model),
                              chat_template)
                : STATUS_OK;
}

void eval_counter_close(struct eval_counter *counter)
{
    chat_destroy(counter->chat);
    tokenizer_destroy(counter->tokenizer);
    model_close(counter->model);
    *counter = (struct eval_counter){.model = NULL};
}

enum status eval_counter_count(void *context, int64_t *tokens, const char *text, size_t bytes)
{
    const struct eval_counter *counter = context;
    struct id_list ids = {0};
    const struct chat_message message = {"user", 4, text, bytes};
    if (interrupt_count() > 0)
        return fail(STATUS_CANCELLED, "interrupted");
    const enum status status = counter->chat
                                   ? chat_render(counter->chat, &ids, &message, 1)
                                   : tokenizer_encode(counter->tokenizer, &ids, text, bytes,
                                                      TOKENIZER_CONTROL | TOKENIZER_BOS);
    *tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    return status;
}
