/* Owns what main.c said of the environment. */
#include "coordinator/measured_costs.h"

#include <string.h>

#include "coordinator/bench/host_facts.h"
#include "proto/log.h"

static struct {
    const char *state_home, *home;
} places;

void measured_costs_configure(const char *state_home, const char *home)
{
    places.state_home = state_home;
    places.home = home;
}

enum status measured_costs_default(char path[COST_FILE_PATH_BYTES])
{
    TRY(cost_file_default_path(path, places.state_home, places.home));
    if (path[0])
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "neither XDG_STATE_HOME nor HOME is set: say where with -o FILE");
}

static bool fits_here(const struct cost_file *file)
{
    struct host_facts facts;
    host_facts_read(&facts);
    return strcmp(file->cpu, facts.cpu) == 0;
}

enum status measured_costs_find(struct measured_costs *costs, const char *named)
{
    *costs = (struct measured_costs){.known = false};
    if (named[0]) {
        TRY(cost_file_read(&costs->file, named));
        snprintf(costs->path, sizeof costs->path, "%s", named);
        costs->fits = fits_here(&costs->file);
        costs->known = true;
        return STATUS_OK;
    }
    TRY(cost_file_default_path(costs->path, places.state_home, places.home));
    if (!costs->path[0])
        return STATUS_OK;
    const enum status status = cost_file_read(&costs->file, costs->path);
    if (status == STATUS_OK)
        costs->fits = costs->known = fits_here(&costs->file);
    else if (status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "measured rates left alone", log_text("cause", status_message()));
    return STATUS_OK;
}
