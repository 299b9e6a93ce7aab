/* Owns who has which panel. Promises one owner for every panel, and the same answer on every
 * node. */
#include "proto/plan/partition.h"

#include <assert.h>
#include <stdlib.h>

enum { ROUND_ROBIN = -1 };

/* Panels [first, end), all of one owner or dealt in turn. */
struct owned_panels {
    int64_t first, end;
    int owner;
};

struct ownership {
    int workers;
    int panel_tokens;
    int64_t tokens;
    struct owned_panels *dealt; /* ascending, without gaps */
    int count, capacity;
    int closed; /* of them, the first ones, that do not grow: what follows lies elsewhere */
};

enum status ownership_create(struct ownership **ownership, int workers, int panel_tokens)
{
    assert(workers >= 1 && panel_tokens >= 1);
    struct ownership *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory for the ownership of tokens");
    created->workers = workers;
    created->panel_tokens = panel_tokens;
    *ownership = created;
    return STATUS_OK;
}

void ownership_destroy(struct ownership *ownership)
{
    if (!ownership)
        return;
    free(ownership->dealt);
    free(ownership);
}

void ownership_clear(struct ownership *ownership)
{
    ownership->tokens = 0;
    ownership->count = ownership->closed = 0;
}

int ownership_workers(const struct ownership *ownership)
{
    return ownership->workers;
}

int ownership_panel_tokens(const struct ownership *ownership)
{
    return ownership->panel_tokens;
}

int64_t ownership_tokens(const struct ownership *ownership)
{
    return ownership->tokens;
}

static int64_t panels_up_to(const struct ownership *ownership, int64_t tokens)
{
    return (tokens + ownership->panel_tokens - 1) / ownership->panel_tokens;
}

static enum status append_panels(struct ownership *ownership, int64_t end_panel, int owner)
{
    const int64_t first = ownership->count > 0 ? ownership->dealt[ownership->count - 1].end : 0;
    if (first >= end_panel)
        return STATUS_OK;
    if (ownership->count > ownership->closed &&
        ownership->dealt[ownership->count - 1].owner == owner) {
        ownership->dealt[ownership->count - 1].end = end_panel;
        return STATUS_OK;
    }
    if (ownership->count == ownership->capacity) {
        const int capacity = 2 * ownership->capacity + 16;
        struct owned_panels *dealt =
            reallocarray(ownership->dealt, (size_t)capacity, sizeof *dealt);
        if (!dealt)
            return fail(STATUS_RESOURCE_EXHAUSTED, "plan: no memory for %d owned spans", capacity);
        ownership->dealt = dealt;
        ownership->capacity = capacity;
    }
    ownership->dealt[ownership->count++] = (struct owned_panels){first, end_panel, owner};
    return STATUS_OK;
}

/* The end of chunk c of `chunks` nearly equal ones of the panels [first, end). The first chunks get
 * the odd panels: so no chunk of a shorter stage is larger than that of a longer one, and memory
 * planned for the longest is enough. */
static int64_t chunk_end(int64_t first, int64_t end, int64_t c, int64_t chunks)
{
    const int64_t odd = (end - first) % chunks;
    return first + (end - first) / chunks * (c + 1) + (c < odd ? c + 1 : odd);
}

bool partition_weights_differ(const struct partition_weights *weights)
{
    for (int r = 1; r < weights->count; r++)
        if (weights->parts[r] != weights->parts[0])
            return true;
    return false;
}

double partition_weights_share(const struct partition_weights *weights, int rank)
{
    uint8_t most = 0;
    for (int r = 0; r < weights->count; r++)
        most = weights->parts[r] > most ? weights->parts[r] : most;
    return weights->count > 0 ? (double)weights->parts[rank] / most : 1;
}

/* Where the share of a rank ends that has so many parts of `whole`, those before it counted: its
 * panels are its exact share, rounded up or down. */
static int64_t weighed_end(int64_t panels, int64_t parts, int64_t whole)
{
    return (panels * parts + whole - 1) / whole;
}

/* Contiguous: rank by rank. Zigzag: a half of every share on the way up, the others on the way
 * back, so that the two halves of a rank lie as far from the middle as each other. */
static enum status deal_weighed(struct ownership *ownership, struct span panels,
                                enum partition_kind kind, const struct partition_weights *weights)
{
    const int workers = ownership->workers;
    const int64_t count = panels.end - panels.first;
    int64_t whole = 0, parts = 0, end = panels.first;
    for (int r = 0; r < workers; r++)
        whole += weights->parts[r];
    for (int r = 0; r < workers; r++) {
        const int64_t before = weighed_end(count, parts, whole);
        parts += weights->parts[r];
        const int64_t share = weighed_end(count, parts, whole) - before;
        end += kind == PARTITION_ZIGZAG ? (share + 1) / 2 : share;
        TRY(append_panels(ownership, end, r));
    }
    for (int r = workers - 1; kind == PARTITION_ZIGZAG && r >= 0; r--) {
        const int64_t behind = weighed_end(count, parts, whole);
        parts -= weights->parts[r];
        end += (behind - weighed_end(count, parts, whole)) / 2;
        TRY(append_panels(ownership, end, r));
    }
    return STATUS_OK;
}

static enum status deal_evenly(struct ownership *ownership, struct span panels,
                               enum partition_kind kind)
{
    const int workers = ownership->workers;
    const int chunks = kind == PARTITION_ZIGZAG ? 2 * workers : workers;
    for (int c = 0; c < chunks; c++)
        TRY(append_panels(ownership, chunk_end(panels.first, panels.end, c, chunks),
                          c < workers ? c : 2 * workers - 1 - c));
    return STATUS_OK;
}

enum status ownership_advance(struct ownership *ownership, int64_t tokens, enum partition_kind kind,
                              const struct partition_weights *weights)
{
    assert(tokens >= 0);
    const int workers = ownership->workers;
    /* A panel that has begun stays with its owner: the deal starts at the next one. */
    const struct span panels = {panels_up_to(ownership, ownership->tokens),
                                panels_up_to(ownership, ownership->tokens + tokens)};
    if (kind == PARTITION_ROUND_ROBIN) {
        TRY(append_panels(ownership, panels.end, workers == 1 ? 0 : ROUND_ROBIN));
    } else if (weights && partition_weights_differ(weights)) {
        assert(weights->count == workers);
        TRY(deal_weighed(ownership, panels, kind, weights));
    } else {
        TRY(deal_evenly(ownership, panels, kind));
    }
    ownership->tokens += tokens;
    return STATUS_OK;
}

enum status ownership_give(struct ownership *ownership, int owner)
{
    ownership->count = ownership->closed = 0;
    return append_panels(ownership, panels_up_to(ownership, ownership->tokens), owner);
}

/* Takes over the spans of `from` up to panel `end`, and closes each of them that was closed. */
static enum status copy_panels(struct ownership *fork, const struct ownership *from, int64_t end)
{
    for (int d = 0; d < from->count && from->dealt[d].first < end; d++) {
        const struct owned_panels *dealt = &from->dealt[d];
        TRY(append_panels(fork, dealt->end < end ? dealt->end : end, dealt->owner));
        if (d < from->closed)
            fork->closed = fork->count;
    }
    return STATUS_OK;
}

enum status ownership_fork(struct ownership **fork, const struct ownership *from, int64_t tokens)
{
    assert(tokens <= from->tokens);
    struct ownership *made;
    TRY(ownership_create(&made, from->workers, from->panel_tokens));
    enum status status = copy_panels(made, from, tokens / from->panel_tokens);
    const int whole = made->closed = made->count;
    if (status == STATUS_OK)
        status = copy_panels(made, from, panels_up_to(from, tokens));
    made->closed = whole;
    made->tokens = tokens;
    *fork = status == STATUS_OK ? made : NULL;
    if (status != STATUS_OK)
        ownership_destroy(made);
    return status;
}

void ownership_retreat(struct ownership *ownership, int64_t tokens)
{
    assert(tokens >= 0 && tokens <= ownership->tokens);
    const int64_t panels = panels_up_to(ownership, tokens);
    while (ownership->count > 0 && ownership->dealt[ownership->count - 1].first >= panels)
        ownership->count--;
    if (ownership->closed > ownership->count)
        ownership->closed = ownership->count;
    if (ownership->count > 0)
        ownership->dealt[ownership->count - 1].end = panels;
    ownership->tokens = tokens;
}

enum status ownership_deal(struct ownership *ownership, const struct owned_span *spans, int count)
{
    int64_t next = ownership->tokens;
    for (int s = 0; s < count; s++) {
        const struct span span = spans[s].span;
        if (span.first != next || span.end < span.first || spans[s].owner < 0 ||
            spans[s].owner >= ownership->workers)
            return fail(
                STATUS_INVALID_ARGUMENT,
                "plan: owned span %d is [%lld, %lld) of rank %d: expected one from %lld on, of "
                "%d ranks",
                s, (long long)span.first, (long long)span.end, spans[s].owner, (long long)next,
                ownership->workers);
        next = span.end;
        const bool inside = span.first % ownership->panel_tokens != 0;
        if (inside && span.first < span.end &&
            ownership_owner(ownership, span.first - 1) != spans[s].owner)
            return fail(STATUS_INVALID_ARGUMENT,
                        "plan: owned span %d starts at %lld, inside a panel of another rank", s,
                        (long long)span.first);
        TRY(append_panels(ownership, panels_up_to(ownership, span.end), spans[s].owner));
        ownership->tokens = next;
    }
    return STATUS_OK;
}

static const struct owned_panels *find_panels(const struct ownership *ownership, int64_t panel)
{
    int low = 0;
    int high = ownership->count - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (ownership->dealt[middle].end > panel)
            high = middle;
        else
            low = middle + 1;
    }
    return &ownership->dealt[low];
}

static int owner_of(const struct ownership *ownership, const struct owned_panels *panels,
                    int64_t panel)
{
    return panels->owner == ROUND_ROBIN ? (int)(panel % ownership->workers) : panels->owner;
}

int ownership_owner(const struct ownership *ownership, int64_t index)
{
    assert(index >= 0 && index < ownership->tokens);
    const int64_t panel = index / ownership->panel_tokens;
    return owner_of(ownership, find_panels(ownership, panel), panel);
}

bool ownership_next(const struct ownership *ownership, int64_t *index, int64_t end,
                    struct owned_span *owned)
{
    if (end > ownership->tokens)
        end = ownership->tokens;
    if (*index >= end)
        return false;
    const int64_t panel = *index / ownership->panel_tokens;
    const struct owned_panels *found = find_panels(ownership, panel);
    const int64_t end_panel = found->owner == ROUND_ROBIN ? panel + 1 : found->end;
    const int64_t found_end = end_panel * ownership->panel_tokens;
    owned->owner = owner_of(ownership, found, panel);
    owned->span.first = *index;
    owned->span.end = found_end < end ? found_end : end;
    *index = owned->span.end;
    return true;
}

int64_t ownership_count(const struct ownership *ownership, int rank, struct span within)
{
    int64_t tokens = 0;
    int64_t index = within.first;
    struct owned_span owned;
    while (ownership_next(ownership, &index, within.end, &owned))
        if (owned.owner == rank)
            tokens += owned.span.end - owned.span.first;
    return tokens;
}

int64_t ownership_panels(const struct ownership *ownership, int rank, struct span within)
{
    int64_t panels = 0;
    int64_t index = within.first;
    struct owned_span owned;
    while (ownership_next(ownership, &index, within.end, &owned))
        if (owned.owner == rank)
            panels += panels_up_to(ownership, owned.span.end) -
                      owned.span.first / ownership->panel_tokens;
    return panels;
}

int64_t partition_live_first(int panel_tokens, int64_t next, int64_t reach)
{
    /* The query sees itself at least, so its own panel lives. */
    if (reach < 1)
        reach = 1;
    if (next < reach)
        return 0;
    const int64_t first_seen = next - reach + 1;
    return first_seen - first_seen % panel_tokens;
}

int64_t ownership_live_first(const struct ownership *ownership, int64_t next, int64_t reach)
{
    return partition_live_first(ownership->panel_tokens, next, reach);
}

struct span partition_rows(int64_t rows, int64_t align, int workers, int rank)
{
    const int64_t groups = (rows + align - 1) / align;
    struct span share = {groups * rank / workers * align, groups * (rank + 1) / workers * align};
    if (share.first > rows)
        share.first = rows;
    if (share.end > rows)
        share.end = rows;
    return share;
}
