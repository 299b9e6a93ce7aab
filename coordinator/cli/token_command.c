/* longhaul token: draws a tenant's token, writes it to a file of the user's alone, and prints the
 * line by which a coordinator knows it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/access/access.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "proto/flags.h"
#include "proto/secret_file.h"

static const char program[] = "longhaul token";
static const struct secret_kind kind = {"token", "--token-file"};

struct token_options {
    const char *file, *scopes;
};

/* The file is new: a token that somebody uses is never written over. */
static enum status write_token(const char *path, const char *secret)
{
    char line[SECRET_ROOM + 1];
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (descriptor < 0)
        return fail(errno == EEXIST ? STATUS_ALREADY_EXISTS : STATUS_IO, "write the token %s: %s%s",
                    path, strerror(errno),
                    errno == EEXIST ? "; remove it, or name another file" : "");
    const int bytes = snprintf(line, sizeof line, "%s\n", secret);
    const bool written = write(descriptor, line, (size_t)bytes) == bytes && fsync(descriptor) == 0;
    const int reason = errno;
    explicit_bzero(line, sizeof line);
    close(descriptor);
    if (written)
        return STATUS_OK;
    (void)unlink(path);
    return fail(STATUS_IO, "write the token %s: %s", path, strerror(reason));
}

static enum status check(const struct token_options *options, const char *tenant)
{
    unsigned scopes;
    if (!access_is_name(tenant))
        return fail(STATUS_INVALID_ARGUMENT,
                    "\"%s\" is no tenant's name: lower-case letters, digits and \"-\", a letter "
                    "first, no \"-\" last, at most %d",
                    tenant, ACCESS_TENANT_BYTES - 1);
    if (!options->file)
        return fail(STATUS_INVALID_ARGUMENT, "--token-file FILE is missing");
    if (options->scopes &&
        access_parse_scopes(&scopes, options->scopes, strlen(options->scopes)) != STATUS_OK)
        return fail(STATUS_INVALID_ARGUMENT, "--scopes: %s", status_message());
    return STATUS_OK;
}

static enum status make_token(const struct token_options *options, const char *tenant)
{
    char secret[SECRET_ROOM] = "", digest[2 * ACCESS_DIGEST_BYTES + 1];
    TRY(secret_file_draw(secret, &kind));
    access_digest(digest, secret, strlen(secret));
    enum status status = write_token(options->file, secret);
    explicit_bzero(secret, sizeof secret);
    TRY(status);
    printf("token %s sha256=%s%s%s\n", tenant, digest, options->scopes ? " scopes=" : "",
           options->scopes ? options->scopes : "");
    return STATUS_OK;
}

int token_command(int argc, char **argv)
{
    struct token_options options = {0};
    const struct flags_row rows[] = {
        {.name = "token-file",
         .type = FLAGS_TEXT,
         .target = &options.file,
         .value = "FILE",
         .help = "where the token goes, a new file that only you can read"},
        {.name = "scopes",
         .type = FLAGS_TEXT,
         .target = &options.scopes,
         .value = "WORD,...",
         .help = "inference, batches, documents, metrics, admin [the first three]"},
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul token --token-file team-a.token team-a >> access\n",
        .summary = "Draws a token for a tenant. The token goes to a file, which the tenant's "
                   "commands name\n"
                   "by the same option; its line, which does not tell it, is printed for the\n"
                   "coordinator's access file, where it stands below a line `tenant NAME`.\n",
        .arguments = "TENANT",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (check(&options, argv[first]) != STATUS_OK)
        return console_usage(program);
    enum status status = make_token(&options, argv[first]);
    return status == STATUS_OK ? 0 : console_failure(program, status);
}
