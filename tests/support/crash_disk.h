/* A disk that forgets: a record of what was written, synced, named and removed, and what could be
 * left of it had the power gone at any moment of it.
 *
 * What is written to a file is safe once the file was synced; a name, a renaming or a removal once
 * its folder was. Everything younger may be there or not, in any part and sequence, sector by
 * sector: a mode says how.
 *
 * Paths are relative to the folder that is recorded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crash_disk;

struct crash_disk *crash_disk_create(void);
void crash_disk_destroy(struct crash_disk *disk);

/* What happens; any thread may tell. Bytes are copied. */
void crash_disk_make(struct crash_disk *disk, const char *path);
void crash_disk_write(struct crash_disk *disk, const char *path, const void *bytes, size_t size,
                      int64_t offset);
void crash_disk_truncate(struct crash_disk *disk, const char *path, int64_t size);
void crash_disk_sync(struct crash_disk *disk, const char *path);
void crash_disk_remove(struct crash_disk *disk, const char *path);
void crash_disk_rename(struct crash_disk *disk, const char *from, const char *to);
/* `folder` "": the recorded folder itself. */
void crash_disk_sync_folder(struct crash_disk *disk, const char *folder);
/* What was told so far was there before: a replay begins behind it. */
void crash_disk_begin(struct crash_disk *disk);
/* Something was acknowledged: not an event of the disk. */
void crash_disk_acknowledge(struct crash_disk *disk);

enum crash_mode {
    CRASH_KEEP_ALL,  /* the process was killed, the machine lives */
    CRASH_LOSE_ALL,  /* nothing that was not synced is there */
    CRASH_LOSE_SOME, /* some of it is */
    CRASH_TEAR,      /* all of it, but for sectors of the last write */
    CRASH_REORDER,   /* the beginning of it in another sequence */
    CRASH_MODES
};

/* Goes through a record event by event. */
struct crash_replay;

struct crash_replay *crash_replay_begin(struct crash_disk *disk);
void crash_replay_end(struct crash_replay *replay);

/* False at the end of the record. */
bool crash_replay_next(struct crash_replay *replay);

/* Acknowledgements so far. */
int64_t crash_replay_acknowledged(const struct crash_replay *replay);

/* Writes what a crash at this moment leaves into a folder that has the sub-folders of the paths. */
void crash_replay_leave(const struct crash_replay *replay, const char *folder, enum crash_mode mode,
                        uint64_t seed);
