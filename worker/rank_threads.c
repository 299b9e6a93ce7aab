/* Owns the threads that play ranks. Promises that all of them have ended, and that every transport
 * is destroyed, when rank_threads_run returns. */
#include "worker/rank_threads.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

struct player {
    pthread_t thread;
    struct transport *transport;
    rank_threads_play *play;
    void *context;
    enum status status;
    char message[512];
};

static void *play_rank(void *argument)
{
    struct player *player = argument;
    player->status = player->play(player->transport, player->context);
    snprintf(player->message, sizeof player->message, "%s", status_message());
    return NULL;
}

/* Starts the ranks in turn; the number that run. Those that are left over have ended. */
static int start(struct player *players, int ranks)
{
    int started = 0;
    while (started < ranks &&
           pthread_create(&players[started].thread, NULL, play_rank, &players[started]) == 0)
        started++;
    if (started == ranks)
        return ranks;
    struct player *missing = &players[started];
    missing->status = fail(STATUS_RESOURCE_EXHAUSTED,
                           "no thread for rank %d of %d: give fewer --ranks, or raise the limit on "
                           "threads (ulimit -u)",
                           started, ranks);
    snprintf(missing->message, sizeof missing->message, "%s", status_message());
    transport_abort(missing->transport, missing->message);
    for (int r = started; r < ranks; r++)
        transport_destroy(players[r].transport);
    return started;
}

enum status rank_threads_run(struct transport *const transports[], int ranks,
                             rank_threads_play *play, void *context)
{
    struct player players[RANK_THREADS_MAX];
    assert(ranks > 0 && ranks <= RANK_THREADS_MAX);
    for (int r = 0; r < ranks; r++)
        players[r] = (struct player){.transport = transports[r], .play = play, .context = context};
    int started = start(players, ranks);
    for (int r = 0; r < started; r++)
        pthread_join(players[r].thread, NULL);
    if (started < ranks)
        return fail(players[started].status, "%s", players[started].message);
    for (int r = 0; r < ranks; r++)
        if (players[r].status != STATUS_OK)
            return fail(players[r].status, "%s", players[r].message);
    return STATUS_OK;
}
