/* longhaul document: texts that a coordinator keeps for lines to name. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "coordinator/cli/batch_command.h"
#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/line_file.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

static void print_json(const Longhaul__V1__StoredDocument *document)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "name", document->name);
    json_writer_text(&writer, "digest", document->digest);
    json_writer_integer(&writer, "bytes", document->bytes);
    json_writer_integer(&writer, "tokens", document->tokens);
    json_writer_text(&writer, "title", document->title);
    json_writer_integer(&writer, "created_us", document->created_us);
    json_writer_integer(&writer, "expires_us", document->expires_us);
    json_writer_end_object(&writer);
    putchar('\n');
}

/* ---- upload ---- */

static const char upload_program[] = "longhaul document upload";

struct uploading {
    struct batch_asking asking;
    struct line_file file;
    const char *id, *title;
    int64_t expires_seconds;
};

static enum status upload(struct uploading *uploading)
{
    Longhaul__V1__UploadDocumentRequest request = LONGHAUL__V1__UPLOAD_DOCUMENT_REQUEST__INIT;
    Longhaul__V1__StoredDocument *document = NULL;
    char id[BATCH_CLIENT_ID_BYTES];
    TRY(batch_client_make_id(id));
    request.request_id = id;
    request.expires_after_seconds = uploading->expires_seconds;
    if (uploading->id)
        request.document_id = (char *)uploading->id;
    if (uploading->title)
        request.title = (char *)uploading->title;
    const struct batch_client_lines text = {line_file_read, NULL, &uploading->file};
    TRY(batch_asking_begin(&uploading->asking));
    TRY(batch_client_upload_document(&uploading->asking.client, &document, &request, &text));
    if (uploading->asking.json)
        print_json(document);
    else
        printf("%s\n", document->name);
    longhaul__v1__stored_document__free_unpacked(document, NULL);
    return STATUS_OK;
}

static int upload_command(int argc, char **argv)
{
    struct uploading uploading = {.file = {.descriptor = -1}};
    struct flags_row rows[BATCH_ASKING_ROWS + 3] = {
        [BATCH_ASKING_ROWS] =
            {.name = "id",
             .type = FLAGS_TEXT,
             .target = &uploading.id,
             .value = "ID",
             .help = "its id: small letters, digits and hyphens; not given: the coordinator's"},
        {.name = "title",
         .type = FLAGS_TEXT,
         .target = &uploading.title,
         .value = "TEXT",
         .help = "for people, at most 256 bytes"},
        {.name = "expires",
         .type = FLAGS_INTEGER,
         .target = &uploading.expires_seconds,
         .value = "SECONDS",
         .help = "until it is forgotten; not given: the coordinator's",
         .least = 60,
         .most = 31536000},
    };
    batch_asking_rows(&uploading.asking, rows);
    const struct flags_command command = {
        .program = upload_program,
        .example = "  longhaul document upload --server 127.0.0.1:7711 report.txt\n",
        .summary =
            "Stores a text (- is standard input) and prints its name, which lines of\n"
            "batches give as {\"document\": \"documents/ID\", \"question\": \"...\"}. The same\n"
            "bytes again are the same document.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&uploading.asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    enum status status = line_file_open(&uploading.file, argv[first]);
    if (status != STATUS_OK)
        return console_failure(upload_program, status);
    status = upload(&uploading);
    line_file_close(&uploading.file);
    return batch_asking_end(&uploading.asking, upload_program, status, 0);
}

/* ---- list ---- */

static const char list_program[] = "longhaul document list";

static void print_row(const Longhaul__V1__StoredDocument *document)
{
    char day[16] = "";
    const time_t seconds = (time_t)(document->expires_us / 1000000);
    struct tm when;
    if (gmtime_r(&seconds, &when))
        (void)strftime(day, sizeof day, "%Y-%m-%d", &when);
    printf("%-36s  %12" PRId64 "  %10" PRId64 "  %-10s  ", document->name, document->bytes,
           document->tokens, day);
    printable_write_line(stdout, document->title, strlen(document->title));
    putchar('\n');
}

static enum status list(struct batch_asking *asking)
{
    char token[256] = "";
    TRY(batch_asking_begin(asking));
    if (!asking->json)
        printf("%-36s  %12s  %10s  %-10s  %s\n", "name", "bytes", "tokens", "until", "title");
    do {
        Longhaul__V1__ListDocumentsRequest request = LONGHAUL__V1__LIST_DOCUMENTS_REQUEST__INIT;
        ProtobufCMessage *reply = NULL;
        request.page_token = token;
        TRY(batch_client_ask(&asking->client, &reply, "Documents/ListDocuments",
                             &longhaul__v1__list_documents_response__descriptor, &request.base));
        const Longhaul__V1__ListDocumentsResponse *page = (const void *)reply;
        for (size_t i = 0; i < page->n_documents; i++)
            if (asking->json)
                print_json(page->documents[i]);
            else
                print_row(page->documents[i]);
        snprintf(token, sizeof token, "%s", page->next_page_token);
        protobuf_c_message_free_unpacked(reply, NULL);
    } while (token[0]);
    return STATUS_OK;
}

static int list_command(int argc, char **argv)
{
    struct batch_asking asking = {.json = false};
    struct flags_row rows[BATCH_ASKING_ROWS];
    batch_asking_rows(&asking, rows);
    const struct flags_command command = {
        .program = list_program,
        .example = "  longhaul document list --server 127.0.0.1:7711\n",
        .summary = "Lists the documents of a coordinator, the newest first.\n",
        .rows = rows,
        .rows_count = BATCH_ASKING_ROWS,
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&asking, &command, argc, argv, &first);
    return exit_code == FLAGS_GO_ON ? batch_asking_end(&asking, list_program, list(&asking), 0)
                                    : exit_code;
}

/* ---- delete ---- */

static const char delete_program[] = "longhaul document delete";

static enum status delete (struct batch_asking *asking, const char *word) {
    Longhaul__V1__DeleteDocumentRequest request = LONGHAUL__V1__DELETE_DOCUMENT_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char id[BATCH_CLIENT_ID_BYTES], name[BATCH_ASKING_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", strpbrk(word, "/:") ? "" : "documents/", word);
    TRY(batch_client_make_id(id));
    request.name = name;
    request.request_id = id;
    TRY(batch_asking_begin(asking));
    TRY(batch_client_ask(&asking->client, &reply, "Documents/DeleteDocument",
                         &longhaul__v1__delete_document_response__descriptor, &request.base));
    protobuf_c_message_free_unpacked(reply, NULL);
    return STATUS_OK;
}

static int delete_command(int argc, char **argv)
{
    struct batch_asking asking = {.json = false};
    struct flags_row rows[BATCH_ASKING_ROWS];
    batch_asking_rows(&asking, rows);
    const struct flags_command command = {
        .program = delete_program,
        .example = "  longhaul document delete --server 127.0.0.1:7711 documents/ID\n",
        .summary =
            "Forgets a document, by its name or its digest. One that a batch names which has\n"
            "not ended stays.\n",
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = BATCH_ASKING_ROWS - 1, /* there is nothing to tell as JSON */
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&asking, &command, argc, argv, &first);
    return exit_code == FLAGS_GO_ON
               ? batch_asking_end(&asking, delete_program, delete (&asking, argv[first]), 0)
               : exit_code;
}

static const struct command_row commands[] = {
    {"upload", upload_command, "store a text; prints its name"},
    {"list", list_command, "the documents that there are"},
    {"delete", delete_command, "forget one"},
};

int document_command(int argc, char **argv)
{
    const struct command_list command_list = {
        .program = "longhaul document",
        .example = "  longhaul document upload --server 127.0.0.1:7711 report.txt\n",
        .summary = "Long texts that a coordinator keeps, so that many lines can ask about one. It\n"
                   "needs --store DIR.\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&command_list, argc, argv);
}
