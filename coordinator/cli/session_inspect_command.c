/* longhaul session inspect: what is in a file of saved keys, all of it verified. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/session_asking.h"
#include "proto/cache_file/cache_reader.h"
#include "proto/flags.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

enum { MIB = 1 << 20 };

/* Unpacks every block: the first that is no block is refused. */
static enum status verify(const struct cache_reader *reader, size_t *memory_bytes)
{
    const struct cache_header *header = &reader->header;
    const size_t most = cache_header_block_most(header);
    struct cache_packer *packer;
    uint8_t *block = malloc(most);
    *memory_bytes = 0;
    if (!block)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a block of %zu bytes", most);
    enum status status = cache_packer_create(&packer, most, cache_header_element_bytes(header));
    for (int64_t n = 0; status == STATUS_OK && n < reader->blocks; n++) {
        const struct cache_stored stored = cache_reader_stored(reader, n);
        const size_t bytes = cache_header_block_bytes(header, n);
        status = cache_block_unpack(packer, block, bytes, &stored);
        *memory_bytes += bytes;
    }
    cache_packer_destroy(packer);
    free(block);
    return status;
}

static const char *store_name(const struct cache_store *store)
{
    return store->store == BANDS_SINKS ? "sinks" : "panels";
}

static void print_text(const struct cache_reader *reader, size_t memory_bytes)
{
    const struct cache_header *header = &reader->header;
    char method[METHOD_TEXT_BYTES];
    method_print(&header->method, method);
    printf("%-14s ", "file");
    printable_write_line(stdout, reader->name, strlen(reader->name));
    printf(", %.1f MiB, version %d\n", (double)reader->bytes / MIB, CACHE_VERSION);
    printf("%-14s %s\n", "model", header->model);
    printf("%-14s %s\n", "method", method);
    printf("%-14s %lld, planned for %lld\n", "tokens", (long long)header->tokens,
           (long long)header->context_tokens);
    printf("%-14s %s, %lld layers, %lld key-value heads of %lld\n", "keys",
           cache_header_element_name(header), (long long)header->layers,
           (long long)header->kv_heads, (long long)header->head_dim);
    printf("%-14s %zu bytes%s\n", "document", header->document_bytes,
           header->form == CACHE_FORM_CHAT ? ", the beginning of a user's message" : "");
    for (int s = 0; s < header->store_count; s++) {
        const struct cache_store *store = &header->stores[s];
        printf("%-14s %lld to %lld, of 64 tokens, %d records each\n", store_name(store),
               (long long)store->first_panel, (long long)store->end_panel - 1, store->records);
    }
    printf("%-14s %.1f MiB\n", "in memory", (double)memory_bytes / MIB);
    printf("%-14s %lld blocks, as they were written\n", "verified", (long long)reader->blocks);
}

static void print_json(const struct cache_reader *reader, size_t memory_bytes)
{
    const struct cache_header *header = &reader->header;
    struct json_writer writer = {.file = stdout};
    char method[METHOD_TEXT_BYTES];
    method_print(&header->method, method);
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "file", reader->name);
    json_writer_unsigned(&writer, "bytes", reader->bytes);
    json_writer_integer(&writer, "version", CACHE_VERSION);
    json_writer_text(&writer, "model_digest", header->model);
    json_writer_text(&writer, "method", method);
    json_writer_integer(&writer, "tokens", header->tokens);
    json_writer_integer(&writer, "context_tokens", header->context_tokens);
    json_writer_unsigned(&writer, "document_bytes", header->document_bytes);
    json_writer_boolean(&writer, "raw", header->form == CACHE_FORM_RAW);
    json_writer_text(&writer, "elements", cache_header_element_name(header));
    json_writer_integer(&writer, "layers", header->layers);
    json_writer_integer(&writer, "kv_heads", header->kv_heads);
    json_writer_integer(&writer, "head_dim", header->head_dim);
    json_writer_begin_array(&writer, "stores");
    for (int s = 0; s < header->store_count; s++) {
        const struct cache_store *store = &header->stores[s];
        json_writer_begin_object(&writer, NULL);
        json_writer_text(&writer, "store", store_name(store));
        json_writer_integer(&writer, "first_panel", store->first_panel);
        json_writer_integer(&writer, "end_panel", store->end_panel);
        json_writer_integer(&writer, "records", store->records);
        json_writer_end_object(&writer);
    }
    json_writer_end_array(&writer);
    json_writer_integer(&writer, "blocks", reader->blocks);
    json_writer_unsigned(&writer, "memory_bytes", memory_bytes);
    json_writer_end_object(&writer);
    putchar('\n');
}

static enum status inspect(const char *path, bool json)
{
    struct cache_reader reader;
    size_t memory_bytes;
    TRY(cache_reader_open(&reader, path));
    const enum status status = verify(&reader, &memory_bytes);
    if (status == STATUS_OK && json)
        print_json(&reader, memory_bytes);
    else if (status == STATUS_OK)
        print_text(&reader, memory_bytes);
    cache_reader_close(&reader);
    return status == STATUS_OK && ferror(stdout)
               ? fail(STATUS_IO, "write the description of %s", path)
               : status;
}

int session_command_inspect(int argc, char **argv)
{
    bool json = false;
    const struct flags_row rows[] = {
        {.name = "json", .type = FLAGS_SWITCH, .target = &json, .help = "one JSON object"},
    };
    const struct flags_command command = {
        .program = "longhaul session inspect",
        .example = "  longhaul session inspect report.keys\n",
        .summary = "Shows what is in a file of a saved session, and verifies all of it: it is of\n"
                   "no use where any byte is not as it was written. No coordinator is asked.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const enum status status = inspect(argv[first], json);
    return status == STATUS_OK ? 0 : console_failure(command.program, status);
}
