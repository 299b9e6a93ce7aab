/* Owns the threads that play ranks in tests. Promises that they have all ended when ranks_run
 * returns. */
#include "tests/support/ranks.h"

#include "worker/engine/transport/transport_loopback.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { RANKS_MOST = 16 };

struct player {
    struct transport *transport;
    ranks_function *function;
    const struct ranks_setting *setting; /* may be NULL */
    void *context;
    enum status status;
    char message[512];
};

static void *play(void *argument)
{
    struct player *player = argument;
    if (player->setting)
        player->status = player->setting->open(&player->transport, player->context);
    const bool opened = player->status == STATUS_OK;
    if (opened)
        player->status = player->function(player->transport, player->context);
    if (player->status != STATUS_OK) {
        snprintf(player->message, sizeof player->message, "%s", status_message());
        transport_abort(player->transport, player->message);
    }
    /* Here, since requests left behind may name memory of this thread. */
    transport_destroy(player->transport);
    if (player->setting && opened)
        player->setting->close(player->context);
    return NULL;
}

enum status ranks_run(int size, const struct transport_options *options, ranks_function *function,
                      void *const contexts[])
{
    return ranks_run_in(size, options, NULL, function, contexts);
}

enum status ranks_run_in(int size, const struct transport_options *options,
                         const struct ranks_setting *setting, ranks_function *function,
                         void *const contexts[])
{
    assert(size > 0 && size <= RANKS_MOST);
    struct transport *transports[RANKS_MOST];
    struct player players[RANKS_MOST] = {0};
    pthread_t threads[RANKS_MOST];
    TRY(transport_loopback_create_group(transports, size, options));
    for (int rank = 0; rank < size; rank++) {
        players[rank].transport = transports[rank];
        players[rank].function = function;
        players[rank].setting = setting;
        players[rank].context = contexts ? contexts[rank] : NULL;
        const int code = pthread_create(&threads[rank], NULL, play, &players[rank]);
        assert(code == 0);
    }
    for (int rank = 0; rank < size; rank++)
        pthread_join(threads[rank], NULL);

    int failed = -1;
    for (int rank = size - 1; rank >= 0; rank--) {
        if (players[rank].status == STATUS_OK)
            continue;
        fprintf(stderr, "rank %d of %d: %s: %s\n", rank, size, status_name(players[rank].status),
                players[rank].message);
        failed = rank;
    }
    return failed < 0 ? STATUS_OK : fail(players[failed].status, "%s", players[failed].message);
}

enum status ranks_hold(const struct transport *t, bool holds, const char *condition,
                       const char *file, int line)
{
    if (holds)
        return STATUS_OK;
    return fail(STATUS_INTERNAL, "%s:%d: on rank %d of %d: %s", file, line, t->rank, t->size,
                condition);
}

enum status ranks_agree(struct transport *t, bool holds, const char *condition, const char *file,
                        int line)
{
    const struct transport_counters counters = t->counters;
    unsigned char verdicts[RANKS_MOST];
    assert(t->size <= RANKS_MOST);
    verdicts[t->rank] = holds;
    TRY(transport_gather_each(t, &verdicts[t->rank], verdicts, 1));
    t->counters = counters;
    for (int rank = 0; rank < t->size; rank++)
        if (!verdicts[rank])
            return fail(STATUS_INTERNAL, "%s:%d: on rank %d of %d: %s", file, line, rank, t->size,
                        condition);
    return STATUS_OK;
}
