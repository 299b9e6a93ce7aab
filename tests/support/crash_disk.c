/* Owns the record of a disk and what crashes leave of it. */
#include "tests/support/crash_disk.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/random.h"

enum { PATH_BYTES = 256, FILES_MAX = 4096, SECTOR = 512 };

enum kind { MAKE, WRITE, TRUNCATE, SYNC, REMOVE, RENAME, SYNC_FOLDER, ACKNOWLEDGE };

struct event {
    enum kind kind;
    char path[PATH_BYTES], to[PATH_BYTES];
    int64_t offset; /* or the size, of TRUNCATE */
    size_t size;
    uint8_t *bytes;
};

struct crash_disk {
    pthread_mutex_t lock;
    struct event **events;
    int64_t count, room;
    int64_t first; /* event that was not there before */
};

struct crash_disk *crash_disk_create(void)
{
    struct crash_disk *disk = calloc(1, sizeof *disk);
    assert(disk);
    pthread_mutex_init(&disk->lock, NULL);
    return disk;
}

void crash_disk_destroy(struct crash_disk *disk)
{
    for (int64_t i = 0; i < disk->count; i++) {
        free(disk->events[i]->bytes);
        free(disk->events[i]);
    }
    free(disk->events);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
}

static void copy_path(char to[PATH_BYTES], const char *path)
{
    const int bytes = snprintf(to, PATH_BYTES, "%s", path);
    assert(bytes < PATH_BYTES);
}

static void add(struct crash_disk *disk, enum kind kind, const char *path, const char *to,
                const void *bytes, size_t size, int64_t offset)
{
    struct event *event = calloc(1, sizeof *event);
    assert(event);
    event->kind = kind;
    copy_path(event->path, path);
    copy_path(event->to, to);
    event->offset = offset;
    event->size = size;
    if (size > 0) {
        event->bytes = malloc(size);
        assert(event->bytes);
        memcpy(event->bytes, bytes, size);
    }
    pthread_mutex_lock(&disk->lock);
    if (disk->count == disk->room) {
        disk->room = 2 * disk->room + 1024;
        disk->events = realloc(disk->events, (size_t)disk->room * sizeof(struct event *));
        assert(disk->events);
    }
    disk->events[disk->count++] = event;
    pthread_mutex_unlock(&disk->lock);
}

void crash_disk_make(struct crash_disk *disk, const char *path)
{
    add(disk, MAKE, path, "", NULL, 0, 0);
}

void crash_disk_write(struct crash_disk *disk, const char *path, const void *bytes, size_t size,
                      int64_t offset)
{
    add(disk, WRITE, path, "", bytes, size, offset);
}

void crash_disk_truncate(struct crash_disk *disk, const char *path, int64_t size)
{
    add(disk, TRUNCATE, path, "", NULL, 0, size);
}

void crash_disk_sync(struct crash_disk *disk, const char *path)
{
    add(disk, SYNC, path, "", NULL, 0, 0);
}

void crash_disk_remove(struct crash_disk *disk, const char *path)
{
    add(disk, REMOVE, path, "", NULL, 0, 0);
}

void crash_disk_rename(struct crash_disk *disk, const char *from, const char *to)
{
    add(disk, RENAME, from, to, NULL, 0, 0);
}

void crash_disk_sync_folder(struct crash_disk *disk, const char *folder)
{
    add(disk, SYNC_FOLDER, folder, "", NULL, 0, 0);
}

void crash_disk_begin(struct crash_disk *disk)
{
    disk->first = disk->count;
}

void crash_disk_acknowledge(struct crash_disk *disk)
{
    add(disk, ACKNOWLEDGE, "", "", NULL, 0, 0);
}

/* ---- a state of the disk ---- */

struct content {
    uint8_t *bytes;
    int64_t size, room;
};

static void change(struct content *content, const struct event *event, size_t from, size_t bytes)
{
    if (event->kind == TRUNCATE) {
        if (event->offset < content->size)
            content->size = event->offset;
        return;
    }
    const int64_t first = event->offset + (int64_t)from, end = first + (int64_t)bytes;
    if (end > content->room) {
        content->room = 2 * end + 4096;
        content->bytes = realloc(content->bytes, (size_t)content->room);
        assert(content->bytes);
    }
    if (end > content->size) {
        memset(content->bytes + content->size, 0, (size_t)(end - content->size));
        content->size = end;
    }
    if (bytes > 0)
        memcpy(content->bytes + first, event->bytes + from, bytes);
}

/* A file by its identity: names come and go. */
struct file {
    struct content safe;
    const struct event **pending; /* writes since it was synced */
    int64_t pending_count, pending_room;
};

/* name -> file; -1: none of this name. */
struct name {
    char path[PATH_BYTES];
    int file;
};

struct names {
    struct name *list;
    int count, room;
};

/* Changes of names since their folder was synced, with the file that was made or renamed. */
struct naming {
    const struct event *event;
    int file;
};

struct crash_replay {
    struct crash_disk *disk;
    int64_t at, acknowledged;
    struct file files[FILES_MAX];
    int files_count;
    struct names safe, now;
    struct naming *namings;
    int namings_count, namings_room;
};

static struct name *find(struct names *names, const char *path, bool make)
{
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->list[i].path, path) == 0)
            return &names->list[i];
    if (!make)
        return NULL;
    if (names->count == names->room) {
        names->room = 2 * names->room + 16;
        names->list = realloc(names->list, (size_t)names->room * sizeof(struct name));
        assert(names->list);
    }
    struct name *name = &names->list[names->count++];
    copy_path(name->path, path);
    name->file = -1;
    return name;
}

static void rename_in(struct names *names, const struct naming *naming)
{
    const struct event *event = naming->event;
    find(names, event->path, true)->file = event->kind == MAKE ? naming->file : -1;
    if (event->kind == RENAME)
        find(names, event->to, true)->file = naming->file;
}

static bool lies_in(const char *path, const char *folder)
{
    const size_t bytes = strlen(folder);
    if (bytes == 0)
        return !strchr(path, '/');
    return strncmp(path, folder, bytes) == 0 && path[bytes] == '/' &&
           !strchr(path + bytes + 1, '/');
}

/* The folder's names are safe; a renaming is whole once either of its folders is. */
static void sync_folder(struct crash_replay *replay, const char *folder)
{
    int kept = 0;
    for (int i = 0; i < replay->namings_count; i++) {
        const struct naming naming = replay->namings[i];
        if (lies_in(naming.event->path, folder) ||
            (naming.event->kind == RENAME && lies_in(naming.event->to, folder)))
            rename_in(&replay->safe, &naming);
        else
            replay->namings[kept++] = naming;
    }
    replay->namings_count = kept;
}

static void sync_file(struct file *file)
{
    for (int64_t i = 0; i < file->pending_count; i++)
        change(&file->safe, file->pending[i], 0, file->pending[i]->size);
    file->pending_count = 0;
}

static void note_write(struct crash_replay *replay, const struct event *event)
{
    const struct name *name = find(&replay->now, event->path, false);
    assert(name && name->file >= 0);
    struct file *file = &replay->files[name->file];
    if (file->pending_count == file->pending_room) {
        file->pending_room = 2 * file->pending_room + 64;
        file->pending = realloc(file->pending, (size_t)file->pending_room * sizeof(struct event *));
        assert(file->pending);
    }
    file->pending[file->pending_count++] = event;
}

static void note_naming(struct crash_replay *replay, const struct event *event)
{
    struct naming naming = {event, -1};
    if (event->kind == MAKE) {
        assert(replay->files_count < FILES_MAX);
        naming.file = replay->files_count++;
    } else if (event->kind == RENAME) {
        naming.file = find(&replay->now, event->path, true)->file;
    }
    rename_in(&replay->now, &naming);
    if (replay->namings_count == replay->namings_room) {
        replay->namings_room = 2 * replay->namings_room + 64;
        replay->namings =
            realloc(replay->namings, (size_t)replay->namings_room * sizeof(struct naming));
        assert(replay->namings);
    }
    replay->namings[replay->namings_count++] = naming;
}

void crash_replay_end(struct crash_replay *replay)
{
    for (int i = 0; i < replay->files_count; i++) {
        free(replay->files[i].safe.bytes);
        free(replay->files[i].pending);
    }
    free(replay->safe.list);
    free(replay->now.list);
    free(replay->namings);
    free(replay);
}

bool crash_replay_next(struct crash_replay *replay)
{
    if (replay->at >= replay->disk->count)
        return false;
    const struct event *event = replay->disk->events[replay->at++];
    const struct name *name;
    switch (event->kind) {
    case MAKE:
    case REMOVE:
    case RENAME:
        note_naming(replay, event);
        break;
    case WRITE:
    case TRUNCATE:
        note_write(replay, event);
        break;
    case SYNC:
        name = find(&replay->now, event->path, false);
        assert(name && name->file >= 0);
        sync_file(&replay->files[name->file]);
        break;
    case SYNC_FOLDER:
        sync_folder(replay, event->path);
        break;
    case ACKNOWLEDGE:
        replay->acknowledged++;
        break;
    }
    return true;
}

struct crash_replay *crash_replay_begin(struct crash_disk *disk)
{
    struct crash_replay *replay = calloc(1, sizeof *replay);
    assert(replay);
    replay->disk = disk;
    while (replay->at < disk->first && crash_replay_next(replay))
        continue;
    return replay;
}

int64_t crash_replay_acknowledged(const struct crash_replay *replay)
{
    return replay->acknowledged;
}

/* ---- what is left ---- */

/* The last write of all, which CRASH_TEAR tears. */
static const struct event *last_write(const struct crash_replay *replay)
{
    for (int64_t i = replay->at - 1; i >= 0; i--)
        if (replay->disk->events[i]->kind == WRITE)
            return replay->disk->events[i];
    return NULL;
}

static void apply_sectors(struct content *content, const struct event *event, struct random *random)
{
    for (size_t from = 0; from < event->size; from += SECTOR)
        if (random_between(random, 0, 2))
            change(content, event, from, event->size - from < SECTOR ? event->size - from : SECTOR);
}

/* Pending writes as this mode leaves them. */
static void apply_pending(const struct crash_replay *replay, const struct file *file,
                          struct content *content, enum crash_mode mode, struct random *random)
{
    const int64_t count = file->pending_count;
    const struct event **order = calloc((size_t)count + 1, sizeof(struct event *));
    const struct event *torn = last_write(replay);
    int64_t kept = count;
    assert(order);
    for (int64_t i = 0; i < count; i++)
        order[i] = file->pending[i];
    if (mode == CRASH_REORDER) {
        for (int64_t i = count - 1; i > 0; i--) {
            const int64_t other = random_between(random, 0, i + 1);
            const struct event *swapped = order[i];
            order[i] = order[other];
            order[other] = swapped;
        }
        kept = random_between(random, 0, count + 1);
    }
    for (int64_t i = 0; i < kept; i++) {
        if (mode == CRASH_LOSE_ALL || (mode == CRASH_LOSE_SOME && random_between(random, 0, 2)))
            continue;
        if (mode == CRASH_TEAR && order[i] == torn)
            apply_sectors(content, order[i], random);
        else
            change(content, order[i], 0, order[i]->size);
    }
    free(order);
}

static void leave_file(const char *folder, const char *path, const struct content *content)
{
    char whole[2 * PATH_BYTES];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    const int descriptor = open(whole, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(descriptor >= 0);
    const ssize_t written =
        content->size > 0 ? write(descriptor, content->bytes, (size_t)content->size) : 0;
    assert(written == content->size);
    close(descriptor);
}

/* Names as this mode leaves them: changes of names keep their sequence, as journals do. */
static struct names leave_names(const struct crash_replay *replay, enum crash_mode mode,
                                struct random *random)
{
    struct names names = {0};
    for (int i = 0; i < replay->safe.count; i++)
        *find(&names, replay->safe.list[i].path, true) = replay->safe.list[i];
    int64_t kept = replay->namings_count;
    if (mode == CRASH_LOSE_ALL)
        kept = 0;
    else if (mode == CRASH_LOSE_SOME || mode == CRASH_REORDER)
        kept = random_between(random, 0, kept + 1);
    for (int64_t i = 0; i < kept; i++)
        rename_in(&names, &replay->namings[i]);
    return names;
}

void crash_replay_leave(const struct crash_replay *replay, const char *folder, enum crash_mode mode,
                        uint64_t seed)
{
    struct random random = {seed};
    struct names names = leave_names(replay, mode, &random);
    for (int i = 0; i < names.count; i++) {
        if (names.list[i].file < 0)
            continue;
        const struct file *file = &replay->files[names.list[i].file];
        struct content content = {.size = file->safe.size, .room = file->safe.size};
        content.bytes = malloc((size_t)file->safe.size + 1);
        assert(content.bytes);
        if (file->safe.size > 0)
            memcpy(content.bytes, file->safe.bytes, (size_t)file->safe.size);
        apply_pending(replay, file, &content, mode, &random);
        leave_file(folder, names.list[i].path, &content);
        free(content.bytes);
    }
    free(names.list);
}
