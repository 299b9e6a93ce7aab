/* Owns a list's memory. Promises that what it cannot read is refused, with the text that is wrong,
 * and that no text makes a list longer than HOST_LIST_MOST. */
#include "coordinator/host_list.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    SLOTS_MOST = 65536, /* of one host */
    DIGITS_MOST = 9,
    LINE_BYTES = 1024,
    RANGES_MOST = 8, /* brackets in one word of a Slurm list: Slurm itself writes up to five */
    TOLD_BYTES = 100 /* of a list that is refused */
};

/* ---- the list ---- */

static struct host *find_exactly(const struct host_list *list, const char *name)
{
    for (int i = 0; i < list->count; i++)
        if (strcasecmp(list->hosts[i].name, name) == 0)
            return &list->hosts[i];
    return NULL;
}

/* A host that is named again takes more. */
static enum status add(struct host_list *list, const char *name, size_t bytes, int slots)
{
    struct host host = {.slots = slots};
    if (bytes == 0 || bytes >= sizeof host.name)
        return fail(STATUS_INVALID_ARGUMENT, "a host's name has 1 to %zu bytes, not %zu",
                    sizeof host.name - 1, bytes);
    memcpy(host.name, name, bytes);
    struct host *there = find_exactly(list, host.name);
    if (there) {
        there->slots = (there->slots ? there->slots : 1) + (slots ? slots : 1);
        return there->slots <= SLOTS_MOST
                   ? STATUS_OK
                   : fail(STATUS_INVALID_ARGUMENT, "host %s has more than %d slots", host.name,
                          SLOTS_MOST);
    }
    if (list->count == HOST_LIST_MOST)
        return fail(STATUS_INVALID_ARGUMENT, "more than %d hosts", HOST_LIST_MOST);
    if ((list->count & (list->count - 1)) == 0) { /* room for twice as many */
        const size_t room = list->count ? 2 * (size_t)list->count : 1;
        struct host *more = reallocarray(list->hosts, room, sizeof *more);
        if (!more)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of hosts");
        list->hosts = more;
    }
    list->hosts[list->count++] = host;
    return STATUS_OK;
}

/* Reads digits; false where there are none, or too many. */
static bool read_number(const char **text, int *number)
{
    const size_t digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > DIGITS_MOST)
        return false;
    *number = (int)strtol(*text, NULL, 10);
    *text += digits;
    return true;
}

/* ---- Slurm ---- */

static enum status bad_nodes(const char *nodes)
{
    const bool cut = strlen(nodes) > TOLD_BYTES;
    return fail(STATUS_INVALID_ARGUMENT, "SLURM_JOB_NODELIST=%.*s%s: this is no list of nodes",
                TOLD_BYTES, nodes, cut ? "..." : "");
}

static enum status add_node(struct host_list *list, const char *word, const char *nodes);

/* `before` bytes of the word, a number, and what is behind the bracket. */
static enum status add_number(struct host_list *list, const char *word, int before, int width,
                              int number, const char *behind, const char *nodes)
{
    char *name = NULL;
    if (asprintf(&name, "%.*s%0*d%s", before, word, width, number, behind) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of hosts");
    const enum status status = add_node(list, name, nodes);
    free(name);
    return status;
}

/* `word` with "[...]" at `bracket`: each number in its place, as wide as the first of its range. */
static enum status add_ranges(struct host_list *list, const char *word, const char *bracket,
                              const char *nodes)
{
    const char *close = strchr(bracket, ']');
    const char *at = bracket + 1;
    if (!close)
        return bad_nodes(nodes);
    while (at < close) {
        int first, last;
        const char *begin = at;
        if (!read_number(&at, &first))
            return bad_nodes(nodes);
        const int width = (int)(at - begin);
        last = first;
        if (*at == '-' && (at++, !read_number(&at, &last)))
            return bad_nodes(nodes);
        if (last < first || last - first >= HOST_LIST_MOST || (at < close && *at++ != ','))
            return bad_nodes(nodes);
        for (int n = first; n <= last; n++)
            TRY(add_number(list, word, (int)(bracket - word), width, n, close + 1, nodes));
    }
    return STATUS_OK;
}

/* One word of the list; a node may have several ranges: "rack[0-1]n[1-4]". */
static enum status add_node(struct host_list *list, const char *word, const char *nodes)
{
    const char *bracket = strchr(word, '[');
    if (bracket)
        return add_ranges(list, word, bracket, nodes);
    return strchr(word, ']') ? bad_nodes(nodes) : add(list, word, strlen(word), 0);
}

/* The bytes of the first word, up to a comma outside brackets; 0: too many brackets. */
static size_t word_bytes(const char *text)
{
    size_t bytes = 0;
    int ranges = 0;
    for (int depth = 0; text[bytes] && (depth > 0 || text[bytes] != ','); bytes++) {
        depth += (text[bytes] == '[') - (text[bytes] == ']');
        ranges += text[bytes] == '[';
    }
    return ranges <= RANGES_MOST ? bytes : 0;
}

static enum status add_nodes(struct host_list *list, const char *nodes)
{
    for (const char *at = nodes; *at;) {
        const size_t bytes = word_bytes(at);
        char *word = bytes > 0 ? strndup(at, bytes) : NULL;
        if (!word)
            return bytes > 0 ? fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of hosts")
                             : bad_nodes(nodes);
        const enum status status = add_node(list, word, nodes);
        free(word);
        TRY(status);
        at += bytes + (at[bytes] == ',');
    }
    return list->count ? STATUS_OK : bad_nodes(nodes);
}

/* "4(x3),2" into a field of each host. */
static enum status set_counts(struct host_list *list, const char *counts, const char *variable,
                              bool cores)
{
    int host = 0;
    const char *at = counts;
    while (at && *at) {
        int number, times = 1;
        bool good = read_number(&at, &number) && number <= SLOTS_MOST;
        if (good && strncmp(at, "(x", 2) == 0) {
            at += 2;
            good = read_number(&at, &times) && *at++ == ')';
        }
        if (!good || times > list->count - host || (*at && *at++ != ','))
            return fail(STATUS_INVALID_ARGUMENT, "%s=%s: these are no numbers for %d nodes",
                        variable, counts, list->count);
        for (; times > 0; times--, host++)
            *(cores ? &list->hosts[host].cores : &list->hosts[host].slots) = number;
    }
    return STATUS_OK;
}

enum status host_list_read_slurm(struct host_list *list, const char *nodes, const char *tasks,
                                 const char *cores)
{
    struct host_list read = {.count = 0};
    enum status status = add_nodes(&read, nodes);
    if (status == STATUS_OK)
        status = set_counts(&read, tasks, "SLURM_TASKS_PER_NODE", false);
    if (status == STATUS_OK)
        status = set_counts(&read, cores, "SLURM_JOB_CPUS_PER_NODE", true);
    if (status == STATUS_OK)
        *list = read;
    else
        host_list_free(&read);
    return status;
}

/* ---- a hostfile, and words ---- */

static enum status add_line(struct host_list *list, char *line, const char *file, int number)
{
    line[strcspn(line, "#")] = 0;
    char *rest = NULL;
    const char *name = strtok_r(line, " \t\r", &rest);
    int slots = 0;
    if (!name)
        return STATUS_OK;
    for (const char *word; (word = strtok_r(NULL, " \t\r", &rest));) {
        const char *value = strchr(word, '=');
        if (strncmp(word, "slots=", 6) != 0 && strncmp(word, "cpu=", 4) != 0 &&
            strncmp(word, "count=", 6) != 0)
            continue; /* max_slots and what else mpirun knows */
        value++;
        if (!read_number(&value, &slots) || *value || slots < 1 || slots > SLOTS_MOST)
            return fail(STATUS_INVALID_ARGUMENT, "%s:%d: \"%s\" is no number of slots", file,
                        number, word);
    }
    return add(list, name, strlen(name), slots);
}

enum status host_list_read_hostfile(struct host_list *list, const char *text, const char *file)
{
    struct host_list read = {.count = 0};
    enum status status = STATUS_OK;
    int number = 1;
    for (const char *at = text; *at && status == STATUS_OK; number++) {
        char line[LINE_BYTES];
        const size_t bytes = strcspn(at, "\n");
        if (bytes < sizeof line) {
            memcpy(line, at, bytes);
            line[bytes] = 0;
            status = add_line(&read, line, file, number);
        } else {
            status =
                fail(STATUS_INVALID_ARGUMENT, "%s:%d: a line of %zu bytes", file, number, bytes);
        }
        at += bytes + (at[bytes] == '\n');
    }
    if (status == STATUS_OK && read.count == 0)
        status = fail(STATUS_INVALID_ARGUMENT, "%s names no host", file);
    if (status == STATUS_OK)
        *list = read;
    else
        host_list_free(&read);
    return status;
}

enum status host_list_read_words(struct host_list *list, const char *words)
{
    struct host_list read = {.count = 0};
    enum status status = STATUS_OK;
    for (const char *at = words; status == STATUS_OK;) {
        const size_t name = strcspn(at, ":,");
        const char *end = at + name;
        int slots = 0;
        bool good = name > 0;
        if (good && *end == ':')
            good = (end++, read_number(&end, &slots)) && slots >= 1 && slots <= SLOTS_MOST;
        if (!good || (*end && *end != ','))
            status = fail(STATUS_INVALID_ARGUMENT,
                          "--hosts %s: write NAME,NAME or NAME:WORKERS,NAME:WORKERS", words);
        else
            status = add(&read, at, name, slots);
        if (!*end)
            break;
        at = end + 1;
    }
    if (status == STATUS_OK)
        *list = read;
    else
        host_list_free(&read);
    return status;
}

/* ---- questions ---- */

int host_list_find(const struct host_list *list, const char *name)
{
    const struct host *exactly = find_exactly(list, name);
    if (exactly)
        return (int)(exactly - list->hosts);
    const size_t bytes = strcspn(name, ".");
    for (int i = 0; i < list->count; i++) {
        const char *other = list->hosts[i].name;
        const size_t other_bytes = strcspn(other, ".");
        /* An address is no name with a domain. */
        if ((!name[bytes] || !other[other_bytes]) && bytes == other_bytes &&
            strncasecmp(name, other, bytes) == 0)
            return i;
    }
    return -1;
}

int host_list_slots(const struct host_list *list)
{
    int slots = 0;
    for (int i = 0; i < list->count; i++)
        slots += list->hosts[i].slots ? list->hosts[i].slots : 1;
    return slots;
}

void host_list_deal(const struct host_list *list, int *dealt, int workers)
{
    memset(dealt, 0, (size_t)list->count * sizeof *dealt);
    const int slots = host_list_slots(list);
    for (int left = workers; left > 0;)
        for (int i = 0; i < list->count && left > 0; i++) {
            const int most = list->hosts[i].slots ? list->hosts[i].slots : 1;
            /* Once all slots are taken, each takes one more in turn. */
            if (workers - left < slots && dealt[i] >= most)
                continue;
            dealt[i]++;
            left--;
        }
}

void host_list_free(struct host_list *list)
{
    free(list->hosts);
    *list = (struct host_list){.count = 0};
}
