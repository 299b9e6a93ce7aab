/* Owns the agreement of a group's ranks on their cores. Promises that ranks of one machine hear
 * their shares from one of them, the first, so that they cannot differ about them.
 *
 * That rank holds the cores of all of them in the machine's register: a group ends with any of its
 * ranks. Ranks are of one machine where they run on one boot of one kernel, whatever their hosts
 * are called: containers of one machine share its cores too. */
#include "worker/host_binding.h"

#include "proto/boot_id.h"
#include "proto/log.h"
#include "worker/engine/device/core_register.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MACHINE_BYTES = 64 };

/* What each rank says of itself. */
struct word {
    char machine[MACHINE_BYTES];
    struct core_request request;
};

/* What all ranks know while they agree; arrays of the group's size. */
struct meeting {
    struct transport *transport;
    struct core_order order; /* this machine's */
    struct word *words;
    int *firsts;             /* the first rank of each rank's machine */
    int *numbers;            /* a rank's own among those of its machine */
    struct core_share *told; /* by this rank, to those of its machine */
    struct core_share *shares;
    size_t *offsets, *sizes; /* bytes that each rank tells: shares of those of its machine */
};

static void name_machine(char machine[MACHINE_BYTES])
{
    boot_id_read(machine);
    if (machine[0] == '\0')
        gethostname(machine, MACHINE_BYTES - 1);
}

static void find_machines(struct meeting *meeting)
{
    int *machines = meeting->numbers; /* their first ranks, until it is clear who is where */
    int count = 0;
    for (int r = 0; r < meeting->transport->size; r++) {
        int m = 0;
        while (m < count &&
               strcmp(meeting->words[machines[m]].machine, meeting->words[r].machine) != 0)
            m++;
        if (m == count)
            machines[count++] = r;
        meeting->firsts[r] = machines[m];
    }
    size_t offset = 0;
    for (int r = 0; r < meeting->transport->size; r++) {
        size_t *told = &meeting->sizes[meeting->firsts[r]];
        meeting->numbers[r] = (int)(*told / sizeof(struct core_share));
        *told += sizeof(struct core_share);
    }
    for (int r = 0; r < meeting->transport->size; r++) {
        meeting->offsets[r] = offset;
        offset += meeting->sizes[r];
    }
}

static enum status hear_words(struct meeting *meeting, int threads)
{
    struct word *mine = &meeting->words[meeting->transport->rank];
    name_machine(mine->machine);
    TRY(binding_request(&mine->request, &meeting->order, threads));
    TRY(transport_gather_each(meeting->transport, mine, meeting->words, sizeof *mine));
    find_machines(meeting);
    return STATUS_OK;
}

/* What the ranks of this machine ask for: of them all, and together. The number of ranks. */
static int list_requests(const struct meeting *meeting, struct core_request *requests,
                         cpu_set_t *together)
{
    int count = 0;
    CPU_ZERO(together);
    for (int r = 0; r < meeting->transport->size; r++) {
        if (meeting->firsts[r] != meeting->transport->rank)
            continue;
        requests[count++] = meeting->words[r].request;
        CPU_OR(together, together, &meeting->words[r].request.cores);
    }
    return count;
}

/* Without a register the group goes on as if it were alone. */
static void make_shares(struct meeting *meeting, struct core_register **held,
                        struct core_request *requests, const char *register_path)
{
    struct core_register *opened = NULL;
    cpu_set_t cores, foreign;
    const int count = list_requests(meeting, requests, &cores);
    CPU_ZERO(&foreign);
    enum status known = core_register_open(&opened, register_path);
    if (known == STATUS_OK)
        core_register_read(opened, &foreign, &cores);
    core_shares_make(meeting->told, requests, count, &meeting->order, &foreign);
    CPU_ZERO(&cores);
    for (int n = 0; n < count; n++)
        CPU_OR(&cores, &cores, &meeting->told[n].held);
    if (known == STATUS_OK)
        known = core_register_settle(opened, &cores);
    if (known != STATUS_OK)
        log_line(LOG_WARN, "other worker groups on this machine are not known",
                 log_text("cause", status_message()));
    *held = opened;
}

static enum status tell_shares(struct meeting *meeting, struct core_register **held,
                               const char *register_path)
{
    const size_t count = meeting->sizes[meeting->transport->rank] / sizeof *meeting->told;
    struct core_request *requests = calloc(count, sizeof *requests);
    meeting->told = calloc(count, sizeof *meeting->told);
    const bool enough = requests && meeting->told;
    if (enough)
        make_shares(meeting, held, requests, register_path);
    free(requests);
    return enough ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to share out the cores");
}

static enum status open_meeting(struct meeting **opened, struct transport *transport)
{
    const size_t size = (size_t)transport->size;
    struct meeting *meeting = calloc(1, sizeof *meeting);
    if (meeting) {
        meeting->transport = transport;
        meeting->words = calloc(size, sizeof *meeting->words);
        meeting->shares = calloc(size, sizeof *meeting->shares);
        meeting->offsets = calloc(size, sizeof *meeting->offsets);
        meeting->sizes = calloc(size, sizeof *meeting->sizes);
        meeting->firsts = calloc(size, sizeof *meeting->firsts);
        meeting->numbers = calloc(size, sizeof *meeting->numbers);
    }
    *opened = meeting;
    if (!meeting || !meeting->words || !meeting->shares || !meeting->offsets || !meeting->sizes ||
        !meeting->firsts || !meeting->numbers)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu ranks to agree on cores", size);
    return STATUS_OK;
}

static void close_meeting(struct meeting *meeting)
{
    if (!meeting)
        return;
    free(meeting->told);
    free(meeting->numbers);
    free(meeting->firsts);
    free(meeting->sizes);
    free(meeting->offsets);
    free(meeting->shares);
    free(meeting->words);
    free(meeting);
}

enum status host_binding_agree(struct host_binding *agreed, struct transport *transport,
                               int threads, const char *register_path)
{
    struct meeting *meeting;
    enum status status = STATUS_OK;
    *agreed = (struct host_binding){0};
    TRY_ELSE(open_meeting(&meeting, transport), end);
    TRY_ELSE(core_order_read(&meeting->order), end);
    TRY_ELSE(hear_words(meeting, threads), end);
    if (meeting->sizes[transport->rank] > 0)
        TRY_ELSE(tell_shares(meeting, &agreed->held, register_path), end);
    TRY_ELSE(transport_gather(transport, meeting->told, meeting->shares, meeting->offsets,
                              meeting->sizes),
             end);
    const int first = meeting->firsts[transport->rank];
    const int number = meeting->numbers[transport->rank];
    const int ranks = (int)(meeting->sizes[first] / sizeof *meeting->shares);
    const struct core_share *shares =
        meeting->shares + meeting->offsets[first] / sizeof *meeting->shares;
    status = binding_take(&agreed->binding, &meeting->order, &shares[number], ranks);
end:
    close_meeting(meeting);
    if (status != STATUS_OK)
        host_binding_release(agreed);
    return status;
}

void host_binding_release(struct host_binding *agreed)
{
    core_register_close(agreed->held);
    agreed->held = NULL;
}
