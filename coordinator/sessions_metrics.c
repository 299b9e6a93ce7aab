/* Owns nothing: counts sessions. */
#include "coordinator/sessions_metrics.h"

#define GAUGE(row_name, text, ...)                                                                 \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_GAUGE, .labels = { __VA_ARGS__ }           \
    }
#define COUNTER(row_name, text)                                                                    \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_COUNTER                                    \
    }

static const struct metrics_family sessions_family =
    GAUGE("longhaul_sessions", "Sessions of all tenants, by state.", "state");
static const struct metrics_family tokens =
    GAUGE("longhaul_session_tokens", "Of all sessions, those in files included.", NULL);
static const struct metrics_family held =
    GAUGE("longhaul_session_held_bytes",
          "Of workers' memory that sessions hold, each on the worker that has most of it.", NULL);
static const struct metrics_family beginnings =
    GAUGE("longhaul_kept_beginnings", "Beginnings of prompts that stay read (--spill).", NULL);
static const struct metrics_family questions =
    COUNTER("longhaul_session_questions", "Questions to sessions.");
static const struct metrics_family files =
    GAUGE("longhaul_spill_files", "Files of keys in the folder of --spill.", NULL);
static const struct metrics_family bytes = GAUGE("longhaul_spill_bytes", "Of these files.", NULL);
static const struct metrics_family written =
    COUNTER("longhaul_spill_files_written", "Files that keys went to.");
static const struct metrics_family taken =
    COUNTER("longhaul_spill_files_taken_back", "Files whose keys came back to workers.");
static const struct metrics_family removed = COUNTER(
    "longhaul_spill_files_removed", "Files that went: damaged, for room, or with their session.");

static void tell(struct metrics_writer *writer, const struct metrics_family *family, int64_t value)
{
    metrics_tell(writer, family);
    metrics_sample(writer, (double)value);
}

void sessions_metrics_tell(struct metrics_writer *writer, struct sessions *sessions)
{
    static const char *const words[SESSIONS_STATES] = {
        [LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING] = "reading",
        [LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY] = "ready",
        [LONGHAUL__V1__SESSION_STATE__SESSION_STATE_LOST] = "lost",
        [LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED] = "spilled",
    };
    struct sessions_totals totals;
    struct spill_facts facts;
    sessions_total(sessions, &totals, NULL);
    metrics_tell(writer, &sessions_family);
    for (int s = 0; s < SESSIONS_STATES; s++)
        if (words[s])
            metrics_sample(writer, (double)totals.of_state[s], words[s]);
    tell(writer, &tokens, totals.tokens);
    tell(writer, &held, totals.held_bytes);
    tell(writer, &questions, totals.questions);
    if (!sessions_spill(sessions))
        return;
    spill_folder_facts(sessions_spill(sessions), &facts);
    tell(writer, &beginnings, totals.beginnings);
    tell(writer, &files, facts.files);
    tell(writer, &bytes, facts.bytes);
    tell(writer, &written, facts.written);
    tell(writer, &taken, facts.taken);
    tell(writer, &removed, facts.removed);
}
