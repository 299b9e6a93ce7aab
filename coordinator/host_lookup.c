/* Owns the threads that ask. Promises to be back at the deadline: a question to a name server
 * cannot be broken off, so a thread that waits for one is left behind, and what it needs with it,
 * until the last of them frees that. */
#include "coordinator/host_lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/clock.h"

enum { THREADS_MOST = 16 };

struct question {
    char name[HOST_NAME_BYTES];
    struct in_addr address;
    int error, system_error; /* of getaddrinfo, and its errno */
    bool answered;
};

struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int next, open; /* the next to be asked; how many are not answered */
    int users;      /* the caller, and threads */
    int count;
    struct question questions[];
};

/* The lock is held, and let go. */
static void leave(struct lookup *lookup)
{
    const bool last = --lookup->users == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!last)
        return;
    pthread_cond_destroy(&lookup->changed);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

static void ask(struct question *question)
{
    const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    struct sockaddr_in inet;
    question->error = getaddrinfo(question->name, NULL, &wanted, &found);
    question->system_error = errno;
    if (question->error)
        return;
    memcpy(&inet, found->ai_addr, sizeof inet);
    question->address = inet.sin_addr;
    freeaddrinfo(found);
}

static void *ask_all(void *context)
{
    struct lookup *lookup = context;
    pthread_mutex_lock(&lookup->lock);
    while (lookup->next < lookup->count) {
        struct question *question = &lookup->questions[lookup->next++];
        pthread_mutex_unlock(&lookup->lock);
        ask(question);
        pthread_mutex_lock(&lookup->lock);
        question->answered = true;
        lookup->open--;
        pthread_cond_signal(&lookup->changed);
    }
    leave(lookup);
    return NULL;
}

static struct lookup *make(const struct host *hosts, const int *wanted, int count)
{
    struct lookup *lookup = calloc(1, sizeof *lookup + (size_t)count * sizeof lookup->questions[0]);
    if (!lookup)
        return NULL;
    for (int i = 0; i < count; i++)
        if (wanted[i])
            memcpy(lookup->questions[lookup->count++].name, hosts[i].name, HOST_NAME_BYTES);
    lookup->open = lookup->count;
    lookup->users = 1;
    pthread_mutex_init(&lookup->lock, NULL);
    pthread_cond_init(&lookup->changed, NULL);
    return lookup;
}

/* The lock is held. How many threads there are now. */
static int start(struct lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int started = 0;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (started < THREADS_MOST && started < lookup->count &&
           pthread_create(&thread, &attributes, ask_all, lookup) == 0)
        started++;
    lookup->users += started;
    pthread_attr_destroy(&attributes);
    return started;
}

static enum status answer_of(const struct question *question, int64_t deadline_ms)
{
    if (!question->answered)
        return fail(STATUS_UNAVAILABLE,
                    "the address of host %s: name servers gave none within %g s", question->name,
                    (double)deadline_ms / 1000);
    if (question->error)
        return fail(STATUS_NOT_FOUND, "host %s has no IPv4 address here: %s", question->name,
                    question->error == EAI_SYSTEM ? strerror(question->system_error)
                                                  : gai_strerror(question->error));
    return STATUS_OK;
}

enum status host_lookup(struct in_addr *addresses, const struct host *hosts, const int *wanted,
                        int count, int64_t deadline_ms)
{
    struct lookup *lookup = make(hosts, wanted, count);
    enum status status = STATUS_OK;
    if (!lookup)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to look up %d hosts", count);
    const int64_t end_ns = clock_after_ms(deadline_ms);
    pthread_mutex_lock(&lookup->lock);
    if (lookup->count > 0 && start(lookup) == 0)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no thread to look up %d hosts", count);
    while (status == STATUS_OK && lookup->open > 0)
        if (!clock_wait(&lookup->changed, &lookup->lock, end_ns))
            break;
    lookup->next = lookup->count; /* none is begun any more */
    for (int i = 0, q = 0; i < count && status == STATUS_OK; i++)
        if (wanted[i]) {
            const struct question *question = &lookup->questions[q++];
            status = answer_of(question, deadline_ms);
            if (status == STATUS_OK)
                addresses[i] = question->address;
        }
    leave(lookup);
    return status;
}
