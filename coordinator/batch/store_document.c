/* Owns documents: their files, named by digest, and their rows. Promises that a row names a file
 * that is whole on disk, and that the same bytes of a tenant are kept once. */
#include "coordinator/batch/store_document.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_document_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_request.h"

enum { SHA_BYTES = 32, DOCUMENT_BYTES_MAX = 1 << 30 };
static const char digest_prefix[] = "sha256:";

struct store_document_upload {
    struct store *store;
    char *tenant;
    char id[STORE_ID_BYTES]; /* of the file, and of the document where none is chosen */
    char path[PATH_MAX];
    int descriptor;
    int64_t bytes, most; /* of the text, and that it may have */
    EVP_MD_CTX *sha;
};

static enum status no_memory(void)
{
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document");
}

/* ---- digests ---- */

static void write_hex(char *hex, const uint8_t sha[SHA_BYTES])
{
    for (int i = 0; i < SHA_BYTES; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", sha[i]);
}

/* "sha256:HEX" as bytes. */
static bool parse_digest(uint8_t sha[SHA_BYTES], const char *name)
{
    const char *hex = name + sizeof digest_prefix - 1;
    if (strncmp(name, digest_prefix, sizeof digest_prefix - 1) != 0 ||
        strlen(hex) != 2 * (size_t)SHA_BYTES ||
        strspn(hex, "0123456789abcdef") != 2 * (size_t)SHA_BYTES)
        return false;
    for (int i = 0; i < SHA_BYTES; i++) {
        const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        sha[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* ---- rows ---- */

enum status store_document_row_read(struct store_document *document,
                                    char file[STORE_DOCUMENT_FILE_BYTES], sqlite3_stmt *rows)
{
    *document = (struct store_document){
        .number = sqlite3_column_int64(rows, 0),
        .bytes = sqlite3_column_int64(rows, 4),
        .tokens = sqlite3_column_int64(rows, 5),
        .created_us = sqlite3_column_int64(rows, 6),
        .expires_us = sqlite3_column_int64(rows, 7),
    };
    store_link_copy_text(document->id, sizeof document->id, rows, 1);
    store_link_copy_text(document->title, sizeof document->title, rows, 3);
    store_link_copy_text(file, STORE_DOCUMENT_FILE_BYTES, rows, 8);
    if (sqlite3_column_bytes(rows, 2) != SHA_BYTES)
        return fail(STATUS_DATA_LOSS, "documents/%s: its row is damaged", document->id);
    memcpy(document->digest, digest_prefix, sizeof digest_prefix);
    write_hex(document->digest + sizeof digest_prefix - 1, sqlite3_column_blob(rows, 2));
    return STATUS_OK;
}

/* By id or digest. */
static enum status find(struct store_link *link, struct store_document *document,
                        char file[STORE_DOCUMENT_FILE_BYTES], int64_t tenant, const char *name)
{
    sqlite3_stmt *rows;
    bool found;
    uint8_t sha[SHA_BYTES];
    if (parse_digest(sha, name))
        TRY(store_link_ask(link, &rows,
                           "SELECT" STORE_DOCUMENT_COLUMNS
                           "FROM documents WHERE tenant = ? AND digest = ?",
                           store_int(tenant), store_blob(sha, sizeof sha)));
    else
        TRY(store_link_ask(link, &rows,
                           "SELECT" STORE_DOCUMENT_COLUMNS
                           "FROM documents WHERE tenant = ? AND id = ?",
                           store_int(tenant), store_text(name)));
    TRY(store_link_step(link, rows, &found));
    if (!found)
        return fail(STATUS_NOT_FOUND, "documents/%s is not there", name);
    const enum status status = store_document_row_read(document, file, rows);
    sqlite3_reset(rows);
    return status;
}

/* ---- uploads ---- */

enum status store_document_begin(struct store_document_upload **upload, struct store *store,
                                 const char *tenant, const struct store_limits *limits)
{
    struct store_document_upload *u = calloc(1, sizeof *u);
    if (!u)
        return no_memory();
    char name[128];
    enum status status = STATUS_OK;
    u->store = store;
    u->descriptor = -1;
    u->most = limits && limits->stored_bytes > 0 ? limits->stored_bytes : INT64_MAX;
    u->tenant = strdup(tenant);
    u->sha = EVP_MD_CTX_new();
    if (!u->tenant || !u->sha || EVP_DigestInit_ex(u->sha, EVP_sha256(), NULL) != 1)
        TRY_ELSE(no_memory(), abandon);
    store_make_id(store, u->id);
    snprintf(name, sizeof name, "documents/new/%s", u->id);
    store_place_path(&store->place, u->path, name);
    u->descriptor = store->place.files->open(u->path, O_WRONLY | O_CREAT | O_EXCL);
    if (u->descriptor < 0)
        TRY_ELSE(store_file_fail(u->descriptor, "make", u->path), abandon);
    *upload = u;
    return STATUS_OK;
abandon:
    store_document_abandon(u);
    return status;
}

enum status store_document_write(struct store_document_upload *upload, const void *text,
                                 size_t bytes)
{
    if (bytes > (size_t)(DOCUMENT_BYTES_MAX - upload->bytes))
        return fail(STATUS_INVALID_ARGUMENT, "a document has at most %d bytes", DOCUMENT_BYTES_MAX);
    if (upload->bytes + (int64_t)bytes > upload->most)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "the document is longer than the %lld stored bytes that may be",
                    (long long)upload->most);
    TRY(store_file_write(upload->store->place.files, upload->descriptor, upload->path, text, bytes,
                         upload->bytes));
    if (EVP_DigestUpdate(upload->sha, text, bytes) != 1)
        return fail(STATUS_INTERNAL, "SHA-256 of a document failed");
    upload->bytes += (int64_t)bytes;
    return STATUS_OK;
}

void store_document_abandon(struct store_document_upload *upload)
{
    if (!upload)
        return;
    const struct store_file_row *files = upload->store->place.files;
    if (upload->descriptor >= 0)
        (void)files->close(upload->descriptor);
    if (upload->path[0])
        (void)files->remove(upload->path);
    EVP_MD_CTX_free(upload->sha);
    free(upload->tenant);
    free(upload);
}

struct finish {
    const struct store_document_upload *upload;
    const struct store_document_args *args;
    struct store_document_answer *answer;
    uint8_t sha[SHA_BYTES];
    char digest[STORE_DIGEST_BYTES];
    char file[STORE_DOCUMENT_FILE_BYTES];
    const char *id;
};

/* The file's bytes, length and name are on disk. */
static enum status settle_file(struct store_document_upload *upload, struct finish *finish)
{
    char name[PATH_MAX], path[PATH_MAX], folder[PATH_MAX];
    const struct store_place *place = &upload->store->place;
    const int synced = place->files->sync(upload->descriptor);
    if (synced < 0)
        return store_file_fail(synced, "sync", upload->path);
    (void)place->files->close(upload->descriptor);
    upload->descriptor = -1;
    snprintf(name, sizeof name, "documents/%s", finish->file);
    store_place_path(place, path, name);
    store_place_path(place, folder, "documents");
    const int renamed = place->files->rename(upload->path, path);
    if (renamed < 0)
        return store_file_fail(renamed, "rename", upload->path);
    /* From here on it is the named file that is removed where no row comes to name it. */
    memcpy(upload->path, path, sizeof upload->path);
    const int named = place->files->sync_folder(folder);
    return named < 0 ? store_file_fail(named, "sync", folder) : STATUS_OK;
}

static enum status keep_answer(struct store_turn *turn, const struct finish *finish, int64_t tenant)
{
    struct store_saved saved = {0};
    enum status status = store_request_save_document(&saved, &finish->answer->document);
    if (status == STATUS_OK)
        status = store_request_keep(turn, tenant, finish->args->request, &saved);
    store_request_clear(&saved);
    return status;
}

static enum status find_answer(struct store_turn *turn, const struct finish *finish, int64_t tenant)
{
    struct store_saved saved = {0};
    TRY(store_request_find(turn->link, &saved, &finish->answer->repeated, tenant, turn->now_us,
                           finish->args->request));
    if (!finish->answer->repeated)
        return STATUS_OK;
    const enum status status = store_request_load_document(&finish->answer->document, &saved);
    store_request_clear(&saved);
    return status;
}

/* The tenant has these bytes: that document is kept as long as this one would be. */
static enum status take_known(struct store_turn *turn, const struct finish *finish, int64_t tenant)
{
    struct store_document *document = &finish->answer->document;
    const struct store_document_args *args = finish->args;
    if (args->id && args->id[0] && strcmp(args->id, document->id) != 0)
        return fail(STATUS_ALREADY_EXISTS, "these bytes are there as documents/%s: use that name",
                    document->id);
    const int64_t expires_us = turn->now_us + args->expires_after_seconds * 1000000;
    if (expires_us > document->expires_us)
        document->expires_us = expires_us;
    if (args->tokens > 0)
        document->tokens = args->tokens;
    finish->answer->known = true;
    TRY(store_link_do(
        turn->link, "UPDATE documents SET expires_us = ?, tokens = ? WHERE number = ?",
        store_int(document->expires_us), store_int(document->tokens), store_int(document->number)));
    return keep_answer(turn, finish, tenant);
}

static enum status insert_document(struct store_turn *turn, const struct finish *finish,
                                   struct store_tenant_entry *tenant)
{
    const struct store_document_args *args = finish->args;
    struct store_document *document = &finish->answer->document;
    const struct store_tenant_growth growth = {.stored_bytes = finish->upload->bytes};
    struct store_document other;
    char file[STORE_DOCUMENT_FILE_BYTES];
    const enum status named = find(turn->link, &other, file, tenant->number, finish->id);
    if (named == STATUS_OK)
        return fail(STATUS_ALREADY_EXISTS, "documents/%s is another text: choose another id",
                    finish->id);
    if (named != STATUS_NOT_FOUND)
        return named;
    TRY(store_tenants_check(tenant, args->limits, &growth));
    *document = (struct store_document){
        .bytes = finish->upload->bytes,
        .tokens = args->tokens,
        .created_us = turn->now_us,
        .expires_us = turn->now_us + args->expires_after_seconds * 1000000,
    };
    snprintf(document->id, sizeof document->id, "%s", finish->id);
    memcpy(document->digest, finish->digest, sizeof document->digest);
    snprintf(document->title, sizeof document->title, "%s", args->title ? args->title : "");
    TRY(store_link_do(turn->link,
                      "INSERT INTO documents(number, tenant, id, digest, title, bytes, tokens,"
                      " file, created_us, expires_us) VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      store_int(tenant->number), store_text(document->id),
                      store_blob(finish->sha, SHA_BYTES), store_text(document->title),
                      store_int(document->bytes), store_int(document->tokens),
                      store_text(finish->file), store_int(document->created_us),
                      store_int(document->expires_us)));
    document->number = sqlite3_last_insert_rowid(turn->link->database);
    TRY(keep_answer(turn, finish, tenant->number));
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    return STATUS_OK;
}

static enum status apply_finish(struct store_turn *turn, void *context)
{
    const struct finish *finish = context;
    struct store_tenant_entry *tenant;
    char file[STORE_DOCUMENT_FILE_BYTES];
    *finish->answer = (struct store_document_answer){0};
    TRY(store_tenants_find(&turn->store->tenants, turn->link, &tenant, finish->upload->tenant));
    TRY(find_answer(turn, finish, tenant->number));
    if (finish->answer->repeated)
        return STATUS_OK;
    const enum status known =
        find(turn->link, &finish->answer->document, file, tenant->number, finish->digest);
    if (known == STATUS_OK)
        return take_known(turn, finish, tenant->number);
    if (known != STATUS_NOT_FOUND)
        return known;
    return insert_document(turn, finish, tenant);
}

enum status store_document_finish(struct store_document_upload *upload,
                                  struct store_document_answer *answer,
                                  const struct store_document_args *args)
{
    struct finish finish = {.upload = upload, .args = args, .answer = answer};
    unsigned int size = SHA_BYTES;
    if ((args->title && strlen(args->title) >= STORE_TITLE_BYTES) ||
        (args->id && strlen(args->id) >= STORE_ID_BYTES) || args->expires_after_seconds < 0 ||
        args->tokens < 0)
        return fail(STATUS_INVALID_ARGUMENT, "a field of the document is out of range");
    if (EVP_DigestFinal_ex(upload->sha, finish.sha, &size) != 1 || size != SHA_BYTES)
        return fail(STATUS_INTERNAL, "SHA-256 of a document failed");
    memcpy(finish.digest, digest_prefix, sizeof digest_prefix);
    write_hex(finish.digest + sizeof digest_prefix - 1, finish.sha);
    snprintf(finish.file, sizeof finish.file, "%.64s.%s", finish.digest + sizeof digest_prefix - 1,
             upload->id);
    finish.id = args->id && args->id[0] ? args->id : upload->id;
    TRY(settle_file(upload, &finish));
    TRY(store_writer_run(upload->store->writer, apply_finish, &finish));
    if (!answer->repeated && !answer->known)
        upload->path[0] = '\0'; /* the row names it: it stays */
    return STATUS_OK;
}

/* ---- looking ---- */

enum status store_document_get(struct store *store, struct store_document *document,
                               const char *tenant, const char *name)
{
    struct store_link *link;
    char file[STORE_DOCUMENT_FILE_BYTES];
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = find(link, document, file, number, name);
    store_readers_give(store->readers, link);
    return status;
}

/* The bytes of a file, held against the digest. */
static enum status read_file(struct store *store, const struct store_document *document,
                             const char *file, char *text)
{
    char name[PATH_MAX], path[PATH_MAX];
    uint8_t sha[SHA_BYTES], expected[SHA_BYTES];
    const struct store_file_row *files = store->place.files;
    snprintf(name, sizeof name, "documents/%s", file);
    store_place_path(&store->place, path, name);
    const int descriptor = files->open(path, O_RDONLY);
    if (descriptor == -ENOENT)
        return fail(STATUS_DATA_LOSS, "its file is gone");
    if (descriptor < 0)
        return store_file_fail(descriptor, "open", path);
    const enum status status =
        store_file_read(files, descriptor, path, text, (size_t)document->bytes, 0);
    (void)files->close(descriptor);
    TRY(status);
    if (EVP_Digest(text, (size_t)document->bytes, sha, NULL, EVP_sha256(), NULL) != 1)
        return fail(STATUS_INTERNAL, "SHA-256 of a document failed");
    if (!parse_digest(expected, document->digest) || memcmp(sha, expected, SHA_BYTES) != 0)
        return fail(STATUS_DATA_LOSS, "its bytes are damaged");
    return STATUS_OK;
}

enum status store_document_row_text(struct store *store, const struct store_document *document,
                                    const char *file, char **text)
{
    char *read = malloc((size_t)document->bytes + 1);
    if (!read)
        return no_memory();
    const enum status status = read_file(store, document, file, read);
    if (status != STATUS_OK) {
        free(read);
        return status == STATUS_DATA_LOSS
                   ? fail(STATUS_DATA_LOSS, "documents/%s: %s", document->id, status_message())
                   : status;
    }
    read[document->bytes] = '\0';
    *text = read;
    return STATUS_OK;
}

enum status store_document_read(struct store *store, const char *tenant, const char *name,
                                char **text, size_t *bytes)
{
    struct store_link *link;
    struct store_document document;
    char file[STORE_DOCUMENT_FILE_BYTES];
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = find(link, &document, file, number, name);
    store_readers_give(store->readers, link);
    TRY(status);
    TRY(store_document_row_text(store, &document, file, text));
    *bytes = (size_t)document.bytes;
    return STATUS_OK;
}

enum status store_document_read_part(struct store *store, const char *tenant, const char *name,
                                     int64_t offset, void *buffer, size_t bytes, size_t *read)
{
    struct store_link *link;
    struct store_document document;
    char file[PATH_MAX], part[PATH_MAX], path[PATH_MAX];
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = find(link, &document, file, number, name);
    store_readers_give(store->readers, link);
    TRY(status);
    const int64_t left = offset < document.bytes ? document.bytes - offset : 0;
    const size_t wanted = left < (int64_t)bytes ? (size_t)left : bytes;
    const struct store_file_row *files = store->place.files;
    snprintf(part, sizeof part, "documents/%.200s", file);
    store_place_path(&store->place, path, part);
    const int descriptor = files->open(path, O_RDONLY);
    if (descriptor < 0)
        return store_file_fail(descriptor, "open", path);
    status = store_file_read(files, descriptor, path, buffer, wanted, offset);
    (void)files->close(descriptor);
    if (status == STATUS_OK)
        *read = wanted;
    return status;
}

enum status store_document_list(struct store *store, const char *tenant, int64_t before,
                                int64_t count, store_document_take *take, void *context)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = store_link_ask(link, &rows,
                                "SELECT" STORE_DOCUMENT_COLUMNS "FROM documents WHERE tenant = ?"
                                " AND number < ? ORDER BY number DESC LIMIT ?",
                                store_int(number), store_int(before > 0 ? before : INT64_MAX),
                                store_int(count));
    while (status == STATUS_OK) {
        bool found;
        struct store_document document;
        char file[STORE_DOCUMENT_FILE_BYTES];
        status = store_link_step(link, rows, &found);
        if (status != STATUS_OK || !found)
            break;
        status = store_document_row_read(&document, file, rows);
        if (status == STATUS_OK)
            status = take(context, &document);
    }
    store_readers_give(store->readers, link);
    return status;
}

/* ---- changes ---- */

struct document_change {
    const char *tenant, *id;
    const struct store_request *request;
    int64_t tokens;
};

static enum status apply_tokens(struct store_turn *turn, void *context)
{
    const struct document_change *change = context;
    const struct store_tenant_entry *tenant =
        store_tenants_known(&turn->store->tenants, change->tenant);
    return store_link_do(turn->link, "UPDATE documents SET tokens = ? WHERE tenant = ? AND id = ?",
                         store_int(change->tokens), store_int(tenant ? tenant->number : -1),
                         store_text(change->id));
}

enum status store_document_set_tokens(struct store *store, const char *tenant, const char *id,
                                      int64_t tokens)
{
    struct document_change change = {tenant, id, NULL, tokens};
    return store_writer_run(store->writer, apply_tokens, &change);
}

static enum status delete_row(struct store_turn *turn, struct store_tenant_entry *tenant,
                              const struct document_change *change)
{
    struct store_document document;
    struct store_saved nothing = {0};
    char file[STORE_DOCUMENT_FILE_BYTES], name[PATH_MAX];
    int64_t batch;
    bool named;
    TRY(find(turn->link, &document, file, tenant->number, change->id));
    TRY(store_link_number(turn->link, &batch, &named,
                          "SELECT batch FROM batch_documents WHERE document = ? LIMIT 1",
                          store_int(document.number)));
    if (named)
        return fail(STATUS_FAILED_PRECONDITION,
                    "documents/%s: a batch that has not ended names it: cancel that first",
                    document.id);
    TRY(store_link_do(turn->link, "DELETE FROM documents WHERE number = ?",
                      store_int(document.number)));
    TRY(store_request_keep(turn, tenant->number, change->request, &nothing));
    const struct store_tenant_growth growth = {.stored_bytes = -document.bytes};
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    snprintf(name, sizeof name, "documents/%s", file);
    return store_turn_remove(turn, name);
}

static enum status apply_delete(struct store_turn *turn, void *context)
{
    const struct document_change *change = context;
    struct store_tenant_entry *tenant = store_tenants_known(&turn->store->tenants, change->tenant);
    struct store_saved saved = {0};
    bool repeated;
    if (!tenant)
        return fail(STATUS_NOT_FOUND, "documents/%s is not there", change->id);
    TRY(store_request_find(turn->link, &saved, &repeated, tenant->number, turn->now_us,
                           change->request));
    store_request_clear(&saved);
    return repeated ? STATUS_OK : delete_row(turn, tenant, change);
}

enum status store_document_delete(struct store *store, const char *tenant, const char *id,
                                  const struct store_request *request)
{
    struct document_change change = {tenant, id, request, 0};
    return store_writer_run(store->writer, apply_delete, &change);
}
