/* Owns what was found out before the workers start. Promises that workers on other hosts are told
 * an address which is this host's towards all of them. */
#include "coordinator/own_workers.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/host_lookup.h"
#include "coordinator/hostfile.h"
#include "proto/log.h"

enum {
    WORKER_ARGUMENTS_MAX = 48,
    TROUBLE_BYTES = 512,
    LOOKUP_MS = 20000, /* more than a name server that is asked twice is given */
};

/* ---- hosts ---- */

static int usable_cores(void)
{
    cpu_set_t mine;
    return sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 0;
}

static enum status find_hosts(struct own_workers *own, const struct config *config,
                              const struct allocation_environment *environment)
{
    struct allocation *allocation = &own->allocation;
    char host[HOST_NAME_BYTES] = "", *text = NULL;
    const char *hostfile = config_text(config, "coordinator.hostfile");
    struct allocation_environment here = *environment;
    if (gethostname(host, sizeof host - 1) != 0)
        return fail(STATUS_IO, "this host's name: %s", strerror(errno));
    here.host = host;
    here.usable_cores = usable_cores();
    if (hostfile[0])
        TRY(hostfile_read(&text, hostfile));
    TRY(mesh_parse(&own->mesh, config_text(config, "engine.mesh")));
    const bool said = config_origin(config, "engine.workers", NULL) != CONFIG_DEFAULT;
    const struct allocation_asked asked = {
        .hosts = config_text(config, "coordinator.hosts"),
        .hostfile = hostfile,
        .hostfile_text = text ? text : "",
        .workers = said ? (int)config_integer(config, "engine.workers") : mesh_asked(&own->mesh),
        .threads = (int)config_integer(config, "engine.threads"),
        .one_process = strcmp(config_text(config, "engine.transport"), "loopback") == 0,
    };
    const enum status status = allocation_find(allocation, &asked, &here);
    free(text);
    TRY(status);
    TRY(mesh_lay_out(&own->mesh, allocation->workers));
    if (own->mesh.tensor > 1 && strcmp(config_text(config, "engine.device"), "cuda") == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--mesh tensor=%d: workers on GPUs do not share out weights; leave tensor at "
                    "1, or give --device cpu",
                    own->mesh.tensor);
    return STATUS_OK;
}

/* ---- the address ---- */

/* The first of the other hosts that has workers, from `from` on; -1: none. */
static int next_remote(const struct allocation *allocation, int from)
{
    int i = from > (allocation->here > 0) ? from : allocation->here > 0;
    while (i < allocation->list.count && allocation->dealt[i] == 0)
        i++;
    return i < allocation->list.count ? i : -1;
}

/* By the routes: all must begin at one address of ours. */
static enum status find_route(struct own_workers *own, const struct in_addr *addresses)
{
    const struct allocation *allocation = &own->allocation;
    const struct host *hosts = allocation->list.hosts;
    const int first = next_remote(allocation, 0);
    TRY(local_address_towards(&own->address, hosts[first].name, addresses[first]));
    for (int i = next_remote(allocation, first + 1); i >= 0; i = next_remote(allocation, i + 1)) {
        struct local_address other;
        TRY(local_address_towards(&other, hosts[i].name, addresses[i]));
        if (other.bits != own->address.bits)
            return fail(STATUS_FAILED_PRECONDITION,
                        "host %s is reached from %s and host %s from %s: say by --interface which "
                        "network the workers use",
                        hosts[first].name, own->address.text, hosts[i].name, other.text);
    }
    return STATUS_OK;
}

/* A network's name means the same on hosts that are in it; elsewhere Open MPI would find none. */
static bool all_are_near(const struct own_workers *own, const struct in_addr *addresses)
{
    for (int i = next_remote(&own->allocation, 0); i >= 0; i = next_remote(&own->allocation, i + 1))
        if (!local_address_is_near(&own->address, addresses[i]))
            return false;
    return true;
}

static enum status find_network(struct own_workers *own, struct in_addr *addresses)
{
    const struct allocation *allocation = &own->allocation;
    const int here = allocation->here > 0;
    TRY(host_lookup(addresses + here, allocation->list.hosts + here, allocation->dealt + here,
                    allocation->list.count - here, LOOKUP_MS));
    TRY(find_route(own, addresses));
    if (all_are_near(own, addresses))
        own->pin = own->address.network;
    return STATUS_OK;
}

static enum status find_address(struct own_workers *own, const struct config *config)
{
    const char *interface = config_text(config, "coordinator.interface");
    if (interface[0]) {
        own->pin = interface;
        return local_address_of(&own->address, interface);
    }
    struct in_addr *addresses = calloc((size_t)own->allocation.list.count, sizeof *addresses);
    if (!addresses)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of hosts");
    const enum status status = find_network(own, addresses);
    free(addresses);
    return status;
}

static void log_plan(const struct own_workers *own)
{
    const struct allocation *allocation = &own->allocation;
    int hosts = 0;
    for (int i = 0; i < allocation->list.count; i++)
        hosts += allocation->dealt[i] > 0;
    if (allocation->unused[0])
        log_line(LOG_WARN, "hosts are left alone", log_text("cause", allocation->unused));
    if (allocation->remote)
        log_line(LOG_INFO, "workers on several hosts", log_text("named_by", allocation->source),
                 log_integer("hosts", hosts), log_integer("workers", allocation->workers),
                 log_integer("workers_here", allocation->here),
                 log_integer("threads", allocation->threads),
                 log_text("address", own->address.text),
                 log_text("interface", own->address.interface),
                 log_text("mpi_network", own->pin ? own->pin : "Open MPI's choice"));
}

enum status own_workers_plan(struct own_workers *own, const struct config *config,
                             const struct allocation_environment *environment)
{
    *own = (struct own_workers){.pin = NULL};
    TRY(find_hosts(own, config, environment));
    enum status status = STATUS_OK;
    if (own->allocation.remote)
        status = find_address(own, config);
    if (status == STATUS_OK)
        log_plan(own);
    else
        own_workers_free(own);
    return status;
}

const char *own_workers_address(const struct own_workers *own)
{
    return own->allocation.remote ? own->address.text : "127.0.0.1";
}

/* ---- the workers ---- */

static enum status worker_program(char path[PATH_MAX])
{
    ssize_t bytes = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (bytes < 0)
        return fail(STATUS_IO, "find the program's own path: %s", strerror(errno));
    path[bytes] = 0;
    char *name = strrchr(path, '/') + 1;
    static const char worker[] = "longhaul-worker";
    if ((size_t)(name - path) + sizeof worker > PATH_MAX)
        return fail(STATUS_IO, "the program's own path is too long");
    memcpy(name, worker, sizeof worker);
    return STATUS_OK;
}

enum status own_workers_start(struct launch **launch, const struct own_workers *own,
                              const struct config *config, const struct own_workers_place *place)
{
    char worker[PATH_MAX];
    char *arguments[WORKER_ARGUMENTS_MAX];
    TRY(worker_program(worker));
    const char *transport = config_text(config, "engine.transport");
    const bool any = strcmp(transport, "auto") == 0;
    const struct launch_settings settings = {
        .worker = worker,
        .coordinator = place->coordinator,
        .join_secret = place->join_secret,
        .arguments = (const char *const *)arguments,
        .argument_count = config_arguments(config, CONFIG_WORKER, arguments, WORKER_ARGUMENTS_MAX),
        .allocation = &own->allocation,
        .mpi = strcmp(transport, "mpi") == 0 || strcmp(transport, "nccl") == 0 ||
               (any && own->allocation.workers > 1) || own->allocation.remote,
        .transport = transport,
        .launcher = config_text(config, "coordinator.launcher"),
        .in_job = place->job && place->job[0],
        .pin = own->pin,
        .path = place->path,
        .temporary = place->temporary,
        .environment = place->environment,
        .join_deadline_ms =
            (int64_t)(1000 * config_real(config, "coordinator.join_deadline_seconds")),
    };
    enum status status = launch_create(launch, &settings);
    for (size_t i = 0; i < settings.argument_count; i++)
        free(arguments[i]);
    return status;
}

enum status own_workers_look(struct launch *launch, struct server *server)
{
    char trouble[TROUBLE_BYTES];
    server_trouble(server, launch_started_ns(launch), trouble, sizeof trouble);
    const struct launch_sight sight = {
        .joined = server_has_workers(server),
        .serving = server_is_serving(server),
        .trouble = trouble,
    };
    return launch_look(launch, &sight);
}

void own_workers_free(struct own_workers *own)
{
    allocation_free(&own->allocation);
}
