/* Reads getrusage and /proc/stat. */
#include "worker/engine/process_usage.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

/* Of the first line, "cpu user nice system idle iowait irq softirq steal ...", in ticks. */
static double host_cpu_seconds(void)
{
    long long user, nice, system, idle, waiting, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return 0;
    const int read = fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", &user, &nice,
                            &system, &idle, &waiting, &irq, &softirq, &steal);
    fclose(file);
    if (read != 8)
        return 0;
    return (double)(user + nice + system + irq + softirq + steal) / (double)sysconf(_SC_CLK_TCK);
}

struct process_usage process_usage_now(const struct transport *transport)
{
    struct rusage counted = {0};
    getrusage(RUSAGE_SELF, &counted);
    return (struct process_usage){
        .cpu_seconds = seconds_of(counted.ru_utime) + seconds_of(counted.ru_stime),
        .voluntary_switches = counted.ru_nvcsw,
        .involuntary_switches = counted.ru_nivcsw,
        .wait_seconds = 1e-9 * (double)transport->counters.waited_ns,
        .host_cpu_seconds = host_cpu_seconds(),
    };
}

struct process_usage process_usage_since(const struct process_usage *begin,
                                         const struct transport *transport)
{
    const struct process_usage now = process_usage_now(transport);
    return (struct process_usage){
        .cpu_seconds = now.cpu_seconds - begin->cpu_seconds,
        .voluntary_switches = now.voluntary_switches - begin->voluntary_switches,
        .involuntary_switches = now.involuntary_switches - begin->involuntary_switches,
        .wait_seconds = now.wait_seconds - begin->wait_seconds,
        .host_cpu_seconds = now.host_cpu_seconds - begin->host_cpu_seconds,
    };
}
