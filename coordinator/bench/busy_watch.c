/* Owns nothing: reads /proc when asked. Promises to say nothing where its error is larger than what
 * it would report. */
#include "coordinator/bench/busy_watch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/bench/host_facts.h"
#include "proto/clock.h"
#include "proto/json_writer.h"

/* ---- what the kernel counts ---- */

/* Of all cores: user, nice, system, interrupts; apart, what was stolen. */
static bool read_all(double *busy, double *stolen)
{
    unsigned long long user, nice, system, idle, waiting, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "re");
    const int fields = file ? fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user,
                                     &nice, &system, &idle, &waiting, &irq, &softirq, &steal)
                            : 0;
    if (file)
        fclose(file);
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    *busy = fields == 8 ? (double)(user + nice + system + irq + softirq) / ticks : 0;
    *stolen = fields == 8 ? (double)steal / ticks : 0;
    return fields == 8;
}

struct process {
    long pid, parent;
    double seconds; /* its own, and those of children that it has waited for */
    bool ours;
};

static bool read_process(struct process *process, const char *pid)
{
    char path[64], line[1024];
    unsigned long user, system;
    long waited_user, waited_system, parent;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    const size_t bytes = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[bytes] = 0;
    /* Behind the name, which may hold anything. */
    const char *fields = strrchr(line, ')');
    if (!fields ||
        sscanf(fields + 1, " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &parent,
               &user, &system, &waited_user, &waited_system) != 5)
        return false;
    *process = (struct process){
        .pid = strtol(pid, NULL, 10),
        .parent = parent,
        .seconds = ((double)(user + system) + (double)(waited_user + waited_system)) /
                   (double)sysconf(_SC_CLK_TCK),
    };
    return true;
}

/* All that run; the caller frees them. */
static size_t read_processes(struct process **processes)
{
    size_t count = 0, room = 0;
    DIR *folder = opendir("/proc");
    *processes = NULL;
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[strspn(entry->d_name, "0123456789")])
            continue;
        if (count == room) {
            room = room ? 2 * room : 256;
            struct process *longer = reallocarray(*processes, room, sizeof **processes);
            if (!longer)
                break;
            *processes = longer;
        }
        count += read_process(&(*processes)[count], entry->d_name);
    }
    if (folder)
        closedir(folder);
    return count;
}

static bool is_ours(const struct process *processes, size_t count, long pid)
{
    for (size_t i = 0; i < count; i++)
        if (processes[i].pid == pid)
            return processes[i].ours;
    return false;
}

/* Of this process and all below it. */
static double read_own(void)
{
    struct process *processes;
    const size_t count = read_processes(&processes);
    double seconds = 0;
    for (size_t i = 0; i < count; i++)
        processes[i].ours = processes[i].pid == (long)getpid();
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < count; i++)
            if (!processes[i].ours && is_ours(processes, count, processes[i].parent))
                processes[i].ours = more = true;
    }
    for (size_t i = 0; i < count; i++)
        seconds += processes[i].ours ? processes[i].seconds : 0;
    free(processes);
    return seconds;
}

/* ---- intervals ---- */

void busy_watch_begin(struct busy_watch *watch)
{
    watch->begun_own = read_own();
    if (!read_all(&watch->begun_all, &watch->begun_stolen))
        watch->unknown = true;
    watch->begun_ns = (double)clock_now_ns();
}

void busy_watch_end(struct busy_watch *watch)
{
    double all, stolen;
    watch->seconds += ((double)clock_now_ns() - watch->begun_ns) * 1e-9;
    if (!read_all(&all, &stolen))
        watch->unknown = true;
    watch->all += all - watch->begun_all;
    watch->stolen += stolen - watch->begun_stolen;
    watch->own += read_own() - watch->begun_own;
    if (getloadavg(&watch->load, 1) != 1)
        watch->load = -1;
    watch->intervals++;
}

void busy_watch_find(struct busy_findings *findings, const struct busy_watch *watch)
{
    struct host_facts facts;
    host_facts_read(&facts);
    *findings = (struct busy_findings){.known = false};
    const double capacity = watch->seconds * facts.usable_cores;
    /* Each count is a tick off at each end: of all cores, and of our own processes. */
    const double tick = 1 / (double)sysconf(_SC_CLK_TCK);
    const double error = 2 * tick * facts.cores * watch->intervals;
    if (watch->unknown || watch->intervals == 0 || error > BUSY_WATCH_SHARE * capacity)
        return;
    const double others = watch->all - watch->own;
    findings->known = true;
    findings->other_cores = others > 0 ? others / watch->seconds : 0;
    findings->stolen_cores = watch->stolen / watch->seconds;
    findings->busy = (others > 0 ? others : 0) + watch->stolen > BUSY_WATCH_SHARE * capacity;
}

static void write_known(struct json_writer *writer, const char *key, bool known, double value)
{
    if (known)
        json_writer_real(writer, key, value);
    else
        json_writer_null(writer, key);
}

void busy_watch_write(struct json_writer *writer, const char *key, const struct busy_watch *watch)
{
    struct busy_findings findings;
    busy_watch_find(&findings, watch);
    json_writer_begin_object(writer, key);
    if (findings.known)
        json_writer_boolean(writer, "busy", findings.busy);
    else
        json_writer_null(writer, "busy");
    write_known(writer, "other_cores", findings.known, findings.other_cores);
    write_known(writer, "stolen_cores", findings.known, findings.stolen_cores);
    write_known(writer, "load", watch->intervals > 0 && watch->load >= 0, watch->load);
    json_writer_end_object(writer);
}
