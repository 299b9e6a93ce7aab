/* Owns nothing: sessions are read by errands, and asked by them. */
#include <stdio.h>
#include <string.h>

#include "coordinator/errand_parts.h"
#include "proto/log.h"

enum status errand_session_ask(struct errand *errand, const char *name)
{
    struct status_details *details = errand->client->details;
    const struct planner *planner = errand->tools->planner;
    char asked[METHOD_TEXT_BYTES];
    TRY(sessions_ask(errand->tools->sessions, &errand->session, details, errand->client->tenant,
                     name));
    if (errand->options && errand->options->method) {
        TRY(planner_method(planner, asked, details, errand->options));
        details->field = "options.method";
        if (strcmp(asked, errand->session.method) != 0)
            return fail(STATUS_INVALID_ARGUMENT, "the session was read by %s, and this asks for %s",
                        errand->session.method, asked);
    }
    details->field = NULL;
    longhaul__v1__plan_options__init(&errand->session_options);
    longhaul__v1__method__init(&errand->session_method);
    if (errand->options)
        errand->session_options = *errand->options;
    errand->session_method.spelling = errand->session.method;
    errand->session_options.method = &errand->session_method;
    errand->options = &errand->session_options;
    errand->version = errand->session.version;
    return STATUS_OK;
}

enum status errand_session_open(struct errand *errand, struct sessions_use *use)
{
    struct errand_tools *tools = errand->tools;
    longhaul__v1__plan_options__init(&errand->session_options);
    longhaul__v1__method__init(&errand->session_method);
    errand->session_method.spelling = use->method;
    errand->session_options.method = &errand->session_method;
    errand->options = &errand->session_options;
    errand->version = use->before;
    errand->stays = true;
    errand->client->details->field = "document";
    TRY(prompt_encode_beginning(&tools->forms, &errand->ids, use->version->text, use->raw));
    errand->client->details->field = NULL;
    errand_client_note(errand->client, log_integer("prompt_tokens", (int64_t)errand->ids.count));
    return sessions_claim(tools->sessions, use, errand->client->details,
                          (int64_t)errand->ids.count);
}

enum status errand_session_finish(struct errand *errand, struct sessions_read *read)
{
    struct group_news news = {0};
    struct group_outcome outcome;
    const struct workers_facts *facts = &errand->facts;
    while (!news.ended)
        TRY(errand_follow(errand, &news));
    group_run_outcome(errand->run, &outcome);
    if (outcome.status != STATUS_OK)
        return errand_failure(errand, &outcome);
    errand_note_outcome(errand, &outcome, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED);
    *read = (struct sessions_read){.serial = facts->serial,
                                   .run = group_run_number(errand->run),
                                   .tokens = (int64_t)errand->ids.count};
    if (facts->pool_slots > 0)
        read->held_bytes = facts->pool_bytes / facts->pool_slots * outcome.resident_slots;
    snprintf(read->group_id, sizeof read->group_id, "%s", facts->group_id);
    if (workers_hold(errand->tools->workers, read->serial, read->held_bytes))
        return STATUS_OK;
    return errand_unavailable(errand, "WORKERS_LOST", "the worker group was lost when it had read");
}

enum status errand_session_read(const struct errand_client *client, struct errand_tools *tools,
                                struct sessions_use *use, struct sessions_read *read)
{
    struct errand errand;
    TRY(errand_init(&errand, client, tools, "", false));
    enum status status = STATUS_OK;
    TRY_ELSE(errand_check_queue(&errand), deinit);
    TRY_ELSE(answer_request_none(&errand.asked, &client->details->field), deinit);
    TRY_ELSE(errand_session_open(&errand, use), deinit);
    TRY_ELSE(errand_spill_fetch(&errand), deinit);
    if (sessions_take_over(tools->sessions, &errand.session, use, read, (int64_t)errand.ids.count))
        goto deinit; /* a file had all of it */
    TRY_ELSE(errand_begin_run(&errand), deinit);
    status = errand_session_finish(&errand, read);
deinit:
    errand_deinit(&errand, status);
    return status;
}
