/* Owns the table of keys. Promises that a file which is read holds every rate, finite and within
 * its range. */
#include "proto/cost_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/config_yaml.h"
#include "proto/printable.h"

enum { THREADS_MOST = 4096, KEYS_MAX = 24, PROBLEM_BYTES = 512 };

static const double RATE_LEAST = 1, RATE_MOST = 1e21, SECONDS_MOST = 1e6, KEYS_MOST = 4096;

enum kind { KIND_TEXT, KIND_COUNT, KIND_REAL };

/* Where a key's value goes: `offset` into struct cost_file, a row's table, or a link. */
struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t bytes; /* of a text */
    double least, most;
};

#define TEXT(name, member)                                                                         \
    {                                                                                              \
        name, KIND_TEXT, offsetof(struct cost_file, member),                                       \
            sizeof((struct cost_file *)0)->member, 0, 0                                            \
    }
#define RATE(member)                                                                               \
    {                                                                                              \
#member, KIND_REAL, offsetof(struct cost_table, member), 0, RATE_LEAST, RATE_MOST          \
    }
#define SECONDS(member)                                                                            \
    {                                                                                              \
#member, KIND_REAL, offsetof(struct cost_table, member), 0, 0, SECONDS_MOST                \
    }

static const struct key file_keys[] = {
    TEXT("costs.measured", measured),
    TEXT("machine.cpu", cpu),
    {"machine.cores", KIND_COUNT, offsetof(struct cost_file, cores), 0, 1, THREADS_MOST},
    TEXT("machine.kernels", rates.kernels),
    TEXT("model.name", model),
    TEXT("model.digest", digest),
    TEXT("model.weights", weights),
    {"model.head_dim", KIND_COUNT, offsetof(struct cost_file, head_dim), 0, 1, KEYS_MOST},
};

static const struct key table_keys[] = {
    RATE(linear_flops),
    RATE(attention_flops),
    {"edge_keys", KIND_REAL, offsetof(struct cost_table, edge_keys), 0, 0, KEYS_MOST},
    SECONDS(layer_s),
    SECONDS(stage_s),
    RATE(logits_flops),
    RATE(memory_bytes),
    RATE(keys_bytes),
    SECONDS(token_s),
    RATE(load_bytes),
};

static const struct key link_keys[] = {
    {"bytes_per_second", KIND_REAL, offsetof(struct cost_link, bytes_per_second), 0, RATE_LEAST,
     RATE_MOST},
    {"latency_s", KIND_REAL, offsetof(struct cost_link, latency_s), 0, 0, SECONDS_MOST},
    {"message_s", KIND_REAL, offsetof(struct cost_link, message_s), 0, 0, SECONDS_MOST},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- reading ---- */

/* Bit k: keys[k] has been seen. */
struct reader {
    struct cost_file *file;
    const char *name;
    bool version_seen;
    unsigned file_seen, table_seen[COST_MEASURED_THREADS_MAX], link_seen[2];
    bool failed;
    char problem[PROBLEM_BYTES]; /* the first one */
};

__attribute__((format(printf, 3, 4))) static void
refuse(struct reader *reader, struct config_yaml_place place, const char *format, ...)
{
    char sentence[PROBLEM_BYTES / 2];
    if (reader->failed)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    reader->failed = true;
    snprintf(reader->problem, sizeof reader->problem, "%.200s:%zu:%zu: %s", reader->name,
             place.line, place.column, sentence);
    printable_mask_line(reader->problem, strlen(reader->problem));
}

static const struct key *find_key(const struct key *keys, size_t count, const char *name)
{
    for (size_t k = 0; k < count; k++)
        if (strcmp(keys[k].name, name) == 0)
            return &keys[k];
    return NULL;
}

/* A decimal number within the key's range, and nothing behind it. */
static bool read_number(double *number, const struct key *key, const char *text)
{
    char *end = NULL;
    if (!(text[0] >= '0' && text[0] <= '9') || strspn(text, "0123456789.eE+-") != strlen(text))
        return false;
    errno = 0;
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number) && *number >= key->least && *number <= key->most &&
           (key->kind != KIND_COUNT || *number == floor(*number));
}

static void set_value(struct reader *reader, void *object, const struct key *key, const char *text,
                      struct config_yaml_place place)
{
    char *at = (char *)object + key->offset;
    double number;
    if (key->kind == KIND_TEXT) {
        if (strlen(text) >= key->bytes)
            refuse(reader, place, "%s: longer than %zu bytes", key->name, key->bytes - 1);
        else
            snprintf(at, key->bytes, "%s", text);
        return;
    }
    if (!read_number(&number, key, text)) {
        refuse(reader, place, "%s: \"%.40s\" is no %snumber from %g to %g", key->name, text,
               key->kind == KIND_COUNT ? "whole " : "", key->least, key->most);
        return;
    }
    if (key->kind == KIND_COUNT) {
        const int count = (int)number;
        memcpy(at, &count, sizeof count);
    } else {
        memcpy(at, &number, sizeof number);
    }
}

/* Sets a key of a group of keys, once. */
static void take_key(struct reader *reader, unsigned *seen, void *object, const struct key *keys,
                     size_t count, const char *name, const char *text,
                     struct config_yaml_place place)
{
    const struct key *key = find_key(keys, count, name);
    if (!key) {
        refuse(reader, place, "%.80s: a file of rates has no such key", name);
        return;
    }
    const unsigned bit = 1U << (unsigned)(key - keys);
    if (*seen & bit)
        refuse(reader, place, "%s: is there twice", name);
    *seen |= bit;
    set_value(reader, object, key, text, place);
}

/* The row of the number of threads at the start of `path`, which is cut off; NULL after a refusal.
 */
static struct cost_measured_row *row_of(struct reader *reader, const char **path,
                                        struct config_yaml_place place)
{
    static const struct key threads = {"threads", KIND_COUNT, 0, 0, 1, THREADS_MOST};
    struct cost_measured *rates = &reader->file->rates;
    char text[16] = "";
    double number = 0;
    const size_t length = strcspn(*path, ".");
    if (length < sizeof text)
        snprintf(text, sizeof text, "%.*s", (int)length, *path);
    if ((*path)[length] != '.' || !read_number(&number, &threads, text)) {
        refuse(reader, place, "threads: \"%.40s\" is no number of threads", *path);
        return NULL;
    }
    *path += length + 1;
    for (int r = 0; r < rates->count; r++)
        if (rates->rows[r].threads == (int)number)
            return &rates->rows[r];
    if (rates->count == COST_MEASURED_THREADS_MAX) {
        refuse(reader, place, "threads: more than %d numbers of threads",
               COST_MEASURED_THREADS_MAX);
        return NULL;
    }
    struct cost_measured_row *row = &rates->rows[rates->count++];
    row->threads = (int)number;
    return row;
}

static void take_version(struct reader *reader, const char *text, struct config_yaml_place place)
{
    if (strcmp(text, "1") != 0)
        refuse(reader, place, "costs.version: \"%.40s\", and this program reads 1: measure again",
               text);
    reader->version_seen = true;
}

static const char *after(const char *path, const char *prefix)
{
    const size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 ? path + length : NULL;
}

static void on_value(void *context, const char *path, const char *text, bool quoted,
                     struct config_yaml_place key_place, struct config_yaml_place place)
{
    struct reader *reader = context;
    struct cost_measured *rates = &reader->file->rates;
    const char *name;
    (void)quoted;
    (void)key_place;
    if (strcmp(path, "costs.version") == 0) {
        take_version(reader, text, place);
    } else if ((name = after(path, "threads."))) {
        struct cost_measured_row *row = row_of(reader, &name, place);
        if (row)
            take_key(reader, &reader->table_seen[row - rates->rows], &row->table, table_keys,
                     COUNT_OF(table_keys), name, text, place);
    } else if ((name = after(path, "links.within."))) {
        take_key(reader, &reader->link_seen[0], &rates->within, link_keys, COUNT_OF(link_keys),
                 name, text, place);
    } else if ((name = after(path, "links.between."))) {
        take_key(reader, &reader->link_seen[1], &rates->between, link_keys, COUNT_OF(link_keys),
                 name, text, place);
    } else {
        take_key(reader, &reader->file_seen, reader->file, file_keys, COUNT_OF(file_keys), path,
                 text, place);
    }
}

static bool on_section(void *context, const char *path, struct config_yaml_place place)
{
    (void)context;
    (void)path;
    (void)place;
    return true; /* a key that is not known is refused by its value */
}

static void on_problem(void *context, struct config_yaml_place place, const char *sentence)
{
    refuse(context, place, "%s", sentence);
}

/* Says which key of a group is missing. */
static void check_seen(struct reader *reader, unsigned seen, const struct key *keys, size_t count,
                       const char *where)
{
    const struct config_yaml_place start = {1, 1};
    for (size_t k = 0; k < count; k++)
        if (!(seen >> k & 1))
            refuse(reader, start, "%s%s is missing", where, keys[k].name);
}

static void check_whole(struct reader *reader)
{
    const struct config_yaml_place start = {1, 1};
    char where[32];
    if (!reader->version_seen)
        refuse(reader, start, "costs.version is missing: this is no file of rates");
    check_seen(reader, reader->file_seen, file_keys, COUNT_OF(file_keys), "");
    const struct cost_measured *rates = &reader->file->rates;
    if (rates->count == 0)
        refuse(reader, start, "threads is missing");
    for (int r = 0; r < rates->count; r++) {
        snprintf(where, sizeof where, "threads.%d.", rates->rows[r].threads);
        check_seen(reader, reader->table_seen[r], table_keys, COUNT_OF(table_keys), where);
    }
    for (int l = 0; l < 2; l++)
        if (reader->link_seen[l])
            check_seen(reader, reader->link_seen[l], link_keys, COUNT_OF(link_keys),
                       l ? "links.between." : "links.within.");
}

enum status cost_file_read_bytes(struct cost_file *file, const char *name, const void *data,
                                 size_t bytes)
{
    struct cost_file made = {.cores = 0};
    struct reader reader = {.file = &made, .name = name};
    const struct config_yaml_visitor visitor = {
        .context = &reader, .section = on_section, .value = on_value, .problem = on_problem};
    config_yaml_walk(&visitor, data, bytes);
    check_whole(&reader);
    if (reader.failed)
        return fail(STATUS_INVALID_ARGUMENT, "%s", reader.problem);
    *file = made;
    return STATUS_OK;
}

enum status cost_file_read(struct cost_file *file, const char *path)
{
    FILE *in = fopen(path, "re");
    if (!in)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "read %s: %s", path,
                    strerror(errno));
    enum status status = STATUS_OK;
    char *data = malloc(CONFIG_YAML_BYTES + 1);
    const size_t bytes = data ? fread(data, 1, CONFIG_YAML_BYTES + 1, in) : 0;
    if (!data)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    else if (ferror(in))
        status = fail(STATUS_IO, "read %s: %s", path, strerror(errno));
    else
        status = cost_file_read_bytes(file, path, data, bytes);
    free(data);
    fclose(in);
    return status;
}

/* ---- writing ---- */

static void print_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, "  %s: \"", name);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', out);
        if ((unsigned char)*text >= ' ')
            putc(*text, out);
    }
    fputs("\"\n", out);
}

static void print_reals(FILE *out, const char *indent, const void *object, const struct key *keys,
                        size_t count)
{
    for (size_t k = 0; k < count; k++) {
        double number;
        memcpy(&number, (const char *)object + keys[k].offset, sizeof number);
        fprintf(out, "%s%s: %.17g\n", indent, keys[k].name, number);
    }
}

void cost_file_print(FILE *out, const struct cost_file *file)
{
    const struct cost_measured *rates = &file->rates;
    const struct cost_link *links[] = {&rates->within, &rates->between};
    static const char *const names[] = {"within", "between"};
    fprintf(out, "# What `longhaul calibrate` measured; docs/operating.md tells what each means.\n"
                 "costs:\n  version: 1\n");
    print_text(out, "measured", file->measured);
    fputs("machine:\n", out);
    print_text(out, "cpu", file->cpu);
    fprintf(out, "  cores: %d\n", file->cores);
    print_text(out, "kernels", rates->kernels);
    fputs("model:\n", out);
    print_text(out, "name", file->model);
    print_text(out, "digest", file->digest);
    print_text(out, "weights", file->weights);
    fprintf(out, "  head_dim: %d\nthreads:\n", file->head_dim);
    for (int r = 0; r < rates->count; r++) {
        fprintf(out, "  %d:\n", rates->rows[r].threads);
        print_reals(out, "    ", &rates->rows[r].table, table_keys, COUNT_OF(table_keys));
    }
    for (int l = 0, begun = 0; l < 2; l++) {
        if (links[l]->bytes_per_second <= 0)
            continue;
        fprintf(out, "%s  %s:\n", begun++ ? "" : "links:\n", names[l]);
        print_reals(out, "    ", links[l], link_keys, COUNT_OF(link_keys));
    }
}

/* Makes the folders above `path`. */
static enum status make_folders(const char *path)
{
    char folder[COST_FILE_PATH_BYTES];
    if ((size_t)snprintf(folder, sizeof folder, "%s", path) >= sizeof folder)
        return fail(STATUS_INVALID_ARGUMENT, "write %.100s...: the path is too long", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST) /* as XDG says */
            return fail(STATUS_IO, "make the folder %s: %s", folder, strerror(errno));
        *slash = '/';
    }
    return STATUS_OK;
}

/* A new file beside `path`, of a name that nobody else has: two who write at once do not mix. */
static enum status open_part(FILE **out, char part[COST_FILE_PATH_BYTES], const char *path)
{
    if ((size_t)snprintf(part, COST_FILE_PATH_BYTES, "%s.XXXXXX", path) >= COST_FILE_PATH_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "write %.100s...: the path is too long", path);
    const int descriptor = mkostemp(part, O_CLOEXEC);
    if (descriptor < 0)
        return fail(STATUS_IO, "write %s: %s", part, strerror(errno));
    /* Others may read measured rates. */
    *out = fchmod(descriptor, 0644) == 0 ? fdopen(descriptor, "w") : NULL;
    if (*out)
        return STATUS_OK;
    const enum status status = fail(STATUS_IO, "write %s: %s", part, strerror(errno));
    close(descriptor);
    unlink(part);
    return status;
}

enum status cost_file_write(const struct cost_file *file, const char *path)
{
    char part[COST_FILE_PATH_BYTES];
    FILE *out = NULL;
    TRY(make_folders(path));
    TRY(open_part(&out, part, path));
    cost_file_print(out, file);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed || rename(part, path) != 0) {
        const enum status status = fail(STATUS_IO, "write %s: %s", path, strerror(errno));
        unlink(part);
        return status;
    }
    return STATUS_OK;
}

enum status cost_file_default_path(char path[COST_FILE_PATH_BYTES], const char *state_home,
                                   const char *home)
{
    const bool named = state_home && state_home[0] == '/'; /* XDG: others are to be ignored */
    path[0] = '\0';
    if (!named && (!home || !home[0]))
        return STATUS_OK;
    const int bytes = snprintf(path, COST_FILE_PATH_BYTES, "%s%s/longhaul/costs.yaml",
                               named ? state_home : home, named ? "" : "/.local/state");
    if (bytes >= COST_FILE_PATH_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "the folder for state has too long a name");
    return STATUS_OK;
}
