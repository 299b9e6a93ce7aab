/* Owns the list of the names in use. Promises that no two requests have the same one. */
#include "coordinator/request_names.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct request_names {
    pthread_mutex_t lock;
    struct request_name *first; /* bounded by the calls that the server takes */
};

enum status request_names_create(struct request_names **names)
{
    struct request_names *n = calloc(1, sizeof *n);
    if (!n)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the requests' names");
    pthread_mutex_init(&n->lock, NULL);
    *names = n;
    return STATUS_OK;
}

void request_names_destroy(struct request_names *names)
{
    if (!names)
        return;
    assert(!names->first);
    pthread_mutex_destroy(&names->lock);
    free(names);
}

static bool is_there(const struct request_names *names, const char *text)
{
    for (const struct request_name *at = names->first; at; at = at->next)
        if (strcmp(at->text, text) == 0)
            return true;
    return false;
}

enum status request_names_enter(struct request_names *names, struct request_name *name,
                                const char *text)
{
    pthread_mutex_lock(&names->lock);
    bool taken = is_there(names, text);
    if (!taken) {
        *name = (struct request_name){.next = names->first, .link = &names->first, .text = text};
        if (name->next)
            name->next->link = &name->next;
        names->first = name;
    }
    pthread_mutex_unlock(&names->lock);
    return taken ? fail(STATUS_ALREADY_EXISTS,
                        "a request named \"%s\" runs or waits already; give another request_id, or "
                        "none",
                        text)
                 : STATUS_OK;
}

void request_names_leave(struct request_names *names, struct request_name *name)
{
    pthread_mutex_lock(&names->lock);
    *name->link = name->next;
    if (name->next)
        name->next->link = name->link;
    pthread_mutex_unlock(&names->lock);
}
