/* Owns nothing: reads /proc/self when metrics are written. What cannot be read is left out. */
#include "proto/process_metrics.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proto/metrics.h"

#define ROW(variable, row_type, row_name, text)                                                    \
    static const struct metrics_family variable = {.name = row_name, .help = text, .type = row_type}

ROW(cpu, METRICS_COUNTER, "process_cpu_seconds", "Processor time, of the user and the system.");
ROW(start, METRICS_GAUGE, "process_start_time_seconds", "When the process started, since 1970.");
ROW(resident, METRICS_GAUGE, "process_resident_memory_bytes", "Memory that is resident.");
ROW(virtual_memory, METRICS_GAUGE, "process_virtual_memory_bytes", "Memory that is mapped.");
ROW(threads, METRICS_GAUGE, "process_threads", "Threads.");
ROW(open_descriptors, METRICS_GAUGE, "process_open_fds", "Open file descriptors.");
ROW(most_descriptors, METRICS_GAUGE, "process_max_fds", "File descriptors that may be open.");

static void tell(struct metrics_writer *writer, const struct metrics_family *family, double value)
{
    metrics_tell(writer, family);
    metrics_sample(writer, value);
}

/* Fields 14, 15, 20, 22 to 24 of /proc/self/stat, behind the name, which may hold anything. */
static void tell_stat(struct metrics_writer *writer)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    const size_t bytes = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[bytes] = 0;
    const char *fields = strrchr(line, ')');
    unsigned long user, system, size;
    unsigned long long started;
    long thread_count, pages;
    if (!fields || sscanf(fields + 1,
                          " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d "
                          "%ld %*d %llu %lu %ld",
                          &user, &system, &thread_count, &started, &size, &pages) != 6)
        return;
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    const double booted =
        (double)(now.tv_sec - up.tv_sec) + 1e-9 * (double)(now.tv_nsec - up.tv_nsec);
    tell(writer, &cpu, (double)(user + system) / ticks);
    tell(writer, &start, booted + (double)started / ticks);
    tell(writer, &threads, (double)thread_count);
    tell(writer, &virtual_memory, (double)size);
    tell(writer, &resident, (double)pages * (double)sysconf(_SC_PAGESIZE));
}

static void collect(struct metrics_writer *writer, void *context)
{
    (void)context;
    struct rlimit limit;
    tell_stat(writer);
    DIR *folder = opendir("/proc/self/fd");
    if (folder) {
        int count = -3; /* itself, "." and ".." */
        while (readdir(folder))
            count++;
        closedir(folder);
        tell(writer, &open_descriptors, count);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        tell(writer, &most_descriptors, (double)limit.rlim_cur);
}

static struct metrics_collector collector = {.collect = collect};

static void add(void)
{
    metrics_collector_add(&collector);
}

void process_metrics_offer(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, add);
}
