/* longhaul doctor: whether this machine has what longhaul needs. Owns one table of checks; each
 * adds lines to the report, and the worst line decides the exit code. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/subprocess.h"
#include "coordinator/listen_address.h"
#include "coordinator/measured_costs.h"
#include "coordinator/text/chat.h"
#include "coordinator/text/tokenizer.h"
#include "proto/flags.h"
#include "proto/json_writer.h"
#include "proto/model/model.h"
#include "proto/printable.h"

enum { FINDINGS_MAX = 32, TEXT_BYTES = 512, WHAT_BYTES = 32, OUTPUT_BYTES = 16384 };

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL };

struct finding {
    enum level level;
    char what[WHAT_BYTES];
    char text[TEXT_BYTES];
};

struct report {
    struct finding findings[FINDINGS_MAX];
    size_t count;
    double available_bytes; /* of memory; 0 while unknown */
};

__attribute__((format(printf, 4, 5))) static void add(struct report *report, enum level level,
                                                      const char *what, const char *format, ...)
{
    if (report->count == FINDINGS_MAX)
        return;
    struct finding *finding = &report->findings[report->count++];
    finding->level = level;
    snprintf(finding->what, sizeof finding->what, "%s", what);
    for (char *c = finding->what; *c; c++)
        if (*c == '_')
            *c = ' ';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof finding->text, format, arguments);
    va_end(arguments);
    printable_mask_line(finding->text, strlen(finding->text)); /* of a file or a driver */
}

static void check_cores(struct report *report)
{
    cpu_set_t set;
    int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (usable == 0)
        add(report, LEVEL_WARN, "cores", "cannot tell which cores this process may use: %s",
            strerror(errno));
    else if (usable < online)
        add(report, LEVEL_WARN, "cores",
            "%d of %ld usable; taskset or a cgroup holds the others back", usable, online);
    else
        add(report, LEVEL_OK, "cores", "%d", usable);
}

static void check_memory(struct report *report)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[256];
    double available_kib = 0, total_kib = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "MemTotal:", 9) == 0)
            total_kib = strtod(line + 9, NULL);
        if (strncmp(line, "MemAvailable:", 13) == 0)
            available_kib = strtod(line + 13, NULL);
    }
    if (file)
        fclose(file);
    report->available_bytes = available_kib * 1024;
    bool little = available_kib < 1 << 20;
    add(report, little ? LEVEL_WARN : LEVEL_OK, "memory", "%.1f of %.1f GiB free%s",
        available_kib / (1 << 20), total_kib / (1 << 20),
        little ? "; `longhaul plan` tells what a run needs" : "");
}

static void check_limit(struct report *report, const char *what, int resource, rlim_t wanted,
                        const char *advice)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0) {
        add(report, LEVEL_WARN, what, "cannot be read: %s", strerror(errno));
        return;
    }
    char amount[32] = "unlimited";
    if (limit.rlim_cur != RLIM_INFINITY && resource == RLIMIT_MEMLOCK)
        snprintf(amount, sizeof amount, "%llu KiB", (unsigned long long)limit.rlim_cur >> 10);
    else if (limit.rlim_cur != RLIM_INFINITY)
        snprintf(amount, sizeof amount, "%llu", (unsigned long long)limit.rlim_cur);
    bool enough = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= wanted;
    add(report, enough ? LEVEL_OK : LEVEL_WARN, what, "%s%s%s", amount, enough ? "" : "; ",
        enough ? "" : advice);
}

static void check_mpi(struct report *report)
{
    char output[OUTPUT_BYTES];
    const char *const argv[] = {"mpirun", "--version", NULL};
    enum status status = subprocess_capture(output, sizeof output, argv, 10);
    if (status == STATUS_NOT_FOUND) {
        add(report, LEVEL_FAIL, "mpirun",
            "not in PATH; more than one worker needs it (Debian: apt install openmpi-bin)");
        return;
    }
    if (status != STATUS_OK) {
        add(report, LEVEL_FAIL, "mpirun", "%s", status_message());
        return;
    }
    output[strcspn(output, "\n")] = '\0';
    bool known = strstr(output, "Open MPI") != NULL;
    add(report, known ? LEVEL_OK : LEVEL_WARN, "mpirun", "%.200s%s", output,
        known ? "" : "; longhaul is tested with Open MPI 4.1");
}

/* One line a fact of `longhaul-worker --describe`; lists are joined. */
static void add_fact(struct report *report, const char *key, const json_t *value)
{
    char text[TEXT_BYTES] = "";
    if (json_is_string(value)) {
        snprintf(text, sizeof text, "%s", json_string_value(value));
    } else if (json_is_array(value)) {
        size_t used = 0;
        for (size_t i = 0; i < json_array_size(value) && used < sizeof text; i++) {
            const char *item = json_string_value(json_array_get(value, i));
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "",
                                     item ? item : "?");
        }
        if (json_array_size(value) == 0)
            snprintf(text, sizeof text, "none");
    } else {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        snprintf(text, sizeof text, "%s", dump ? dump : "?");
        free(dump);
    }
    add(report, LEVEL_OK, key, "%s", text);
}

static void check_worker(struct report *report)
{
    char path[TEXT_BYTES];
    char output[OUTPUT_BYTES];
    enum status status = subprocess_beside(path, sizeof path, "longhaul-worker");
    const char *const argv[] = {path, "--describe", NULL};
    if (status == STATUS_OK)
        status = subprocess_capture(output, sizeof output, argv, 20);
    if (status != STATUS_OK) {
        add(report, LEVEL_FAIL, "worker", "%s", status_message());
        return;
    }
    json_t *facts = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(facts)) {
        add(report, LEVEL_FAIL, "worker", "%s --describe did not print one JSON object", path);
        json_decref(facts);
        return;
    }
    const char *version = json_string_value(json_object_get(facts, "version"));
    if (!version || strcmp(version, LONGHAUL_VERSION) != 0)
        add(report, LEVEL_FAIL, "worker", "version %s, but this is %s; install both from one build",
            version ? version : "unknown", LONGHAUL_VERSION);
    else
        add(report, LEVEL_OK, "worker", "%s", path);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(facts, key, value)
    {
        /* Told before by their own checks, or meant for plans alone. */
        static const char *const left_out[] = {"schema_version", "version", "memory_available_mib",
                                               "packed_side", "packed_bytes"};
        bool is_left_out = false;
        for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
            is_left_out |= strcmp(key, left_out[i]) == 0;
        if (!is_left_out)
            add_fact(report, key, value);
    }
    json_decref(facts);
}

static void check_coordinator(struct report *report)
{
    char path[TEXT_BYTES];
    if (subprocess_beside(path, sizeof path, "longhaul-coordinator") == STATUS_OK)
        add(report, LEVEL_OK, "coordinator", "%s", path);
    else
        add(report, LEVEL_FAIL, "coordinator", "%s", status_message());
}

/* Whether the address that a coordinator would listen on is free; only for an IPv4 number and a
 * port. */
static void check_port(struct report *report, const char *address)
{
    struct sockaddr_in wanted = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(address, ':');
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - address) : 0, address);
    if (port < 1 || port > 65535 || inet_pton(AF_INET, host, &wanted.sin_addr) != 1)
        return;
    wanted.sin_port = htons((uint16_t)port);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (descriptor >= 0)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&wanted, sizeof wanted) != 0)
        add(report, LEVEL_WARN, "port", "%s: %s; choose another with --listen or --worker-listen",
            address, strerror(errno));
    else
        add(report, LEVEL_OK, "port", "%s is free", address);
    if (descriptor >= 0)
        close(descriptor);
}

static void check_ports(struct report *report, const struct config *config)
{
    const char *listen = config_text(config, "coordinator.listen");
    char workers[LISTEN_ADDRESS_BYTES];
    check_port(report, listen);
    if (listen_address_for_workers(workers, config_text(config, "coordinator.worker_listen"),
                                   listen, "127.0.0.1") == STATUS_OK)
        check_port(report, workers);
    else
        add(report, LEVEL_FAIL, "port", "%s", status_message());
}

/* Whether the model's text can be read and written, and by which chat template. */
static void check_text(struct report *report, const struct vocab *vocab)
{
    struct tokenizer *tokenizer = NULL;
    struct chat *chat = NULL;
    if (!vocab) {
        add(report, LEVEL_FAIL, "tokenizer", "the model has none");
        return;
    }
    if (tokenizer_create(&tokenizer, vocab) != STATUS_OK) {
        add(report, LEVEL_FAIL, "tokenizer", "%s", status_message());
        return;
    }
    struct text_view pre = vocab_pre(vocab);
    add(report, LEVEL_OK, "tokenizer", "%.*s, %d tokens", (int)pre.bytes, pre.text,
        vocab_count(vocab));
    if (chat_create(&chat, tokenizer, vocab, "auto") != STATUS_OK)
        add(report, LEVEL_WARN, "chat form", "%s", status_message());
    else
        add(report, LEVEL_OK, "chat form", "%s", chat_origin(chat));
    chat_destroy(chat);
    tokenizer_destroy(tokenizer);
}

static void check_model(struct report *report, const char *path)
{
    struct model *model = NULL;
    if (!path[0])
        return;
    if (model_open(&model, path) != STATUS_OK) {
        add(report, LEVEL_FAIL, "model", "%s", status_message());
        return;
    }
    const struct model_spec *spec = model_spec(model);
    double file_bytes = (double)checkpoint_bytes(model_checkpoint(model));
    bool fits = report->available_bytes == 0 || file_bytes < report->available_bytes;
    add(report, fits ? LEVEL_OK : LEVEL_FAIL, "model",
        "%.*s, %s, %d layers, %.1f MB, once for all workers here%s", (int)spec->architecture.bytes,
        spec->architecture.text, spec->file_type, spec->layers, file_bytes / 1e6,
        fits ? "" : "; larger than the free memory: share it out over machines");
    check_text(report, model_vocab(model));
    model_close(model);
}

/* Whether there are measured rates, and whether they are of this machine and this model. */
static void check_costs(struct report *report, const struct config *config)
{
    struct measured_costs costs;
    const struct cost_file *file = &costs.file;
    const char *model = config_text(config, "model.path");
    const char *slash = strrchr(model, '/');
    if (measured_costs_find(&costs, config_text(config, "plan.costs")) != STATUS_OK) {
        add(report, LEVEL_FAIL, "costs", "%s", status_message());
        return;
    }
    if (!costs.known && file->cores == 0)
        add(report, LEVEL_OK, "costs",
            "none measured; plans use estimates until `longhaul calibrate --model FILE` has run");
    else if (!costs.fits)
        add(report, LEVEL_WARN, "costs",
            "%s was measured on %s, which this is not%s; run `longhaul calibrate` here", costs.path,
            file->cpu, costs.known ? "" : ", and is left alone");
    else if (model[0] && strcmp(slash ? slash + 1 : model, file->model) != 0)
        add(report, LEVEL_OK, "costs", "%s, measured %s with another model, %s", costs.path,
            file->measured, file->model);
    else
        add(report, LEVEL_OK, "costs", "%s, measured %s", costs.path, file->measured);
}

static enum level worst_of(const struct report *report)
{
    enum level worst = LEVEL_OK;
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].level > worst)
            worst = report->findings[i].level;
    return worst;
}

static const char *const level_names[] = {"ok", "warn", "fail"};

static void print_plain(const struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct finding *finding = &report->findings[i];
        printf("%-5s %-16s %s\n", level_names[finding->level], finding->what, finding->text);
    }
}

static void print_json(const struct report *report)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "worst", level_names[worst_of(report)]);
    json_writer_begin_array(&writer, "findings");
    for (size_t i = 0; i < report->count; i++) {
        json_writer_begin_object(&writer, NULL);
        json_writer_text(&writer, "level", level_names[report->findings[i].level]);
        json_writer_text(&writer, "what", report->findings[i].what);
        json_writer_text(&writer, "text", report->findings[i].text);
        json_writer_end_object(&writer);
    }
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    putchar('\n');
}

static int examine(const struct config *config, bool json)
{
    struct report report = {0};
    add(&report, LEVEL_OK, "longhaul", "%s", LONGHAUL_VERSION);
    check_cores(&report);
    check_memory(&report);
    check_limit(&report, "open files", RLIMIT_NOFILE, 1024,
                "a coordinator with many clients needs more (ulimit -n 4096)");
    check_limit(&report, "locked memory", RLIMIT_MEMLOCK, 64 << 10,
                "InfiniBand needs it unlimited (ulimit -l unlimited)");
    check_mpi(&report);
    check_coordinator(&report);
    check_worker(&report);
    check_ports(&report, config);
    check_model(&report, config_text(config, "model.path"));
    check_costs(&report, config);
    if (json)
        print_json(&report);
    else
        print_plain(&report);
    return worst_of(&report) == LEVEL_FAIL ? status_exit_code(STATUS_UNAVAILABLE) : 0;
}

int doctor_command(int argc, char **argv)
{
    bool json = false;
    const struct flags_row rows[] = {
        {.name = "json", .type = FLAGS_SWITCH, .target = &json, .help = "one JSON object"},
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure("longhaul doctor", status);
    const struct flags_command command = {
        .program = "longhaul doctor",
        .example = "  longhaul doctor --model SmolLM2-135M-Instruct.Q4_1.gguf\n",
        .summary =
            "Tells what this machine has and what it lacks, a line each: ok, warn or fail, with\n"
            "what to do. The exit code is 0 unless a line says fail.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_MODEL_ONLY | CONFIG_COORDINATOR,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = examine(config, json);
    config_destroy(config);
    return exit_code;
}
