/* Owns nothing: the keys of sessions go out of a group to a file, and into a group out of one. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/errand_parts.h"

enum { LOOK_MS = 50 };

void errand_session_header(const struct errand *errand, struct cache_header *header)
{
    cache_header_plan(header, &errand->choice, &errand->tools->planner->shape,
                      (int64_t)errand->ids.count);
    snprintf(header->model, sizeof header->model, "%s", errand->tools->model);
    header->ids = errand->ids.ids;
}

/* ---- saving ---- */

static enum status begin_file(const struct errand *errand, const struct errand_keys *keys,
                              int64_t *blocks)
{
    struct cache_header header;
    errand_session_header(errand, &header);
    if (errand->version->text) { /* else it is a prompt's beginning */
        header.form = errand->session.raw ? CACHE_FORM_RAW : CACHE_FORM_CHAT;
        header.document = errand->version->text;
        header.document_bytes = strlen(errand->version->text);
    }
    *blocks = cache_header_blocks(&header);
    return keys->begin(keys->context, &header);
}

static enum status put_block(const struct errand_keys *keys, const struct group_block *block)
{
    const struct cache_stored stored = {
        .bytes = block->bytes,
        .count = block->count,
        .number = block->number,
        .digest = block->digest,
        .name = "a worker",
    };
    return keys->put(keys->context, &stored);
}

enum status errand_save_keys(struct errand *errand, const struct errand_keys *keys)
{
    struct group_outcome outcome;
    struct group_news news = {0};
    int64_t blocks = 0;
    TRY(begin_file(errand, keys, &blocks));
    for (int64_t put = 0; put < blocks;) {
        TRY(errand_check(errand, "saving"));
        struct group_block *block = group_run_next_block(errand->run, LOOK_MS);
        if (!block && group_run_is_over(errand->run))
            break;
        const enum status status = block ? put_block(keys, block) : STATUS_OK;
        put += block != NULL;
        free(block);
        TRY(status);
    }
    while (!news.ended)
        TRY(errand_follow(errand, &news));
    group_run_outcome(errand->run, &outcome);
    errand_note_outcome(errand, &outcome, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED);
    return outcome.status == STATUS_OK ? STATUS_OK : errand_failure(errand, &outcome);
}

enum status errand_session_save(const struct errand_client *client, struct errand_tools *tools,
                                const char *name, const struct errand_keys *keys)
{
    struct errand errand;
    TRY(errand_init(&errand, client, tools, "", false));
    enum status status = STATUS_OK;
    errand.saves = true;
    TRY_ELSE(errand_check_queue(&errand), deinit);
    TRY_ELSE(answer_request_none(&errand.asked, &client->details->field), deinit);
    TRY_ELSE(errand_session_ask(&errand, name), deinit);
    TRY_ELSE(prompt_encode_beginning(&tools->forms, &errand.ids, errand.version->text,
                                     errand.session.raw),
             deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    status = errand_save_keys(&errand, keys);
deinit:
    errand_deinit(&errand, status);
    return status;
}

/* ---- restoring ---- */

/* What is asked behind the document goes on from its tokens only where they are the file's. */
static enum status check_ids(const struct errand *errand)
{
    const struct cache_header *header = errand->restores;
    if (errand->ids.count == (size_t)header->tokens &&
        memcmp(errand->ids.ids, header->ids, errand->ids.count * sizeof *header->ids) == 0)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "the file's document becomes other tokens here than where it was saved: start the "
                "coordinator with the same --chat-template, or read the document again");
}

/* Sends the block to a rank, as soon as that has room for it; false once the run is over. */
static enum status send_block(struct errand *errand, bool *sent, int rank,
                              const struct cache_stored *block)
{
    *sent = false;
    while (!*sent && !group_run_is_over(errand->run)) {
        TRY(errand_check(errand, "restoring"));
        TRY(group_run_send_block(errand->run, sent, rank, block, LOOK_MS));
    }
    return STATUS_OK;
}

/* All ranks keep sinks; a panel has one owner. */
static enum status deliver(struct errand *errand, const struct ownership *ownership,
                           const struct cache_stored *block)
{
    const struct cache_place place = cache_header_place(errand->restores, block->number);
    bool sent = true;
    if (place.store == BANDS_PANELS)
        return send_block(errand, &sent, ownership_owner(ownership, place.panel * BANDS_LANES),
                          block);
    for (int rank = 0; sent && rank < errand->choice.group.workers; rank++)
        TRY(send_block(errand, &sent, rank, block));
    return STATUS_OK;
}

/* Each block comes once. */
static enum status take_number(bool *came, int64_t blocks, int64_t number)
{
    if (number < 0 || number >= blocks)
        return fail(STATUS_DATA_LOSS, "block %lld came of a file that has %lld", (long long)number,
                    (long long)blocks);
    if (came[number])
        return fail(STATUS_DATA_LOSS, "block %lld came twice", (long long)number);
    came[number] = true;
    return STATUS_OK;
}

static enum status deliver_all(struct errand *errand, const struct ownership *ownership,
                               const struct errand_keys *keys, bool *came)
{
    const int64_t blocks = cache_header_blocks(errand->restores);
    bool ended = false;
    for (int64_t count = 0; count < blocks && !group_run_is_over(errand->run);) {
        struct cache_stored block;
        bool there = false;
        TRY(errand_check(errand, "restoring"));
        if (ended)
            return fail(STATUS_DATA_LOSS, "of %lld blocks only %lld came", (long long)blocks,
                        (long long)count);
        TRY(keys->get(keys->context, &block, &there, &ended, LOOK_MS));
        if (!there)
            continue;
        TRY(take_number(came, blocks, block.number));
        TRY(deliver(errand, ownership, &block));
        count++;
    }
    return STATUS_OK;
}

enum status errand_take_keys(struct errand *errand, const struct errand_keys *keys)
{
    struct ownership *ownership;
    const struct group_choice *group = &errand->choice.group;
    const int64_t blocks = cache_header_blocks(errand->restores);
    TRY(ownership_create(&ownership, group->workers, group->panel_tokens));
    enum status status = choice_deal_prompt(&errand->choice, ownership, (int64_t)errand->ids.count);
    bool *came = calloc((size_t)blocks, sizeof *came);
    if (status == STATUS_OK && !came)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %lld blocks",
                      (long long)blocks);
    if (status == STATUS_OK)
        status = deliver_all(errand, ownership, keys, came);
    free(came);
    ownership_destroy(ownership);
    return status;
}

enum status errand_session_restore(const struct errand_client *client, struct errand_tools *tools,
                                   struct sessions_use *use, struct sessions_read *read,
                                   const struct cache_header *header,
                                   const struct errand_keys *keys)
{
    struct errand errand;
    TRY(errand_init(&errand, client, tools, "", false));
    enum status status = STATUS_OK;
    errand.restores = header;
    TRY_ELSE(errand_check_queue(&errand), deinit);
    TRY_ELSE(answer_request_none(&errand.asked, &client->details->field), deinit);
    TRY_ELSE(errand_session_open(&errand, use), deinit);
    TRY_ELSE(check_ids(&errand), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    TRY_ELSE(errand_take_keys(&errand, keys), deinit);
    status = errand_session_finish(&errand, read);
deinit:
    errand_deinit(&errand, status);
    return status;
}
