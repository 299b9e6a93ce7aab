/* Owns the answers. */
#include "coordinator/sessions_requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

enum { KEPT_MS = 24 * 3600 * 1000 };

static void take_out(struct sessions_requests *requests, struct sessions_answer **link)
{
    struct sessions_answer *answer = *link;
    *link = answer->next;
    requests->count--;
    free(answer);
}

void sessions_requests_deinit(struct sessions_requests *requests)
{
    while (requests->first)
        take_out(requests, &requests->first);
}

/* The newest come first, and all are kept equally long. */
static void forget_old(struct sessions_requests *requests)
{
    const int64_t now_ns = clock_now_ns();
    int kept = 0;
    struct sessions_answer **link = &requests->first;
    while (*link && (*link)->until_ns > now_ns && kept < SESSIONS_REQUESTS_MOST) {
        link = &(*link)->next;
        kept++;
    }
    while (*link)
        take_out(requests, link);
}

enum status sessions_requests_find(struct sessions_requests *requests,
                                   struct sessions_answer **found,
                                   const struct sessions_request *request)
{
    *found = NULL;
    if (!request->request_id[0])
        return STATUS_OK;
    forget_old(requests);
    struct sessions_answer *answer = requests->first;
    while (answer && (strcmp(answer->tenant, request->tenant) != 0 ||
                      strcmp(answer->request_id, request->request_id) != 0))
        answer = answer->next;
    if (answer && answer->digest != request->digest)
        return fail(STATUS_ALREADY_EXISTS, "another request had the request_id %s",
                    request->request_id);
    *found = answer;
    return STATUS_OK;
}

enum status sessions_requests_add(struct sessions_requests *requests, int64_t *id,
                                  const struct sessions_request *request, int64_t number)
{
    *id = 0;
    if (!request->request_id[0])
        return STATUS_OK;
    struct sessions_answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request_id");
    *id = answer->id = ++requests->newest;
    snprintf(answer->tenant, sizeof answer->tenant, "%s", request->tenant);
    snprintf(answer->request_id, sizeof answer->request_id, "%s", request->request_id);
    answer->digest = request->digest;
    answer->number = number;
    answer->until_ns = clock_after_ms(KEPT_MS);
    answer->next = requests->first;
    requests->first = answer;
    requests->count++;
    return STATUS_OK;
}

void sessions_requests_end(struct sessions_requests *requests, int64_t id,
                           const struct sessions_view *view)
{
    struct sessions_answer **link = &requests->first;
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    if (!*link)
        return;
    if (!view) {
        take_out(requests, link);
        return;
    }
    (*link)->done = true;
    (*link)->view = *view;
}
