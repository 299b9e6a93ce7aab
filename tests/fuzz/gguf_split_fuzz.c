/* The reader of split GGUF files over any parts, the first under any name: refused, or all tensors
 * of all parts, each once and in its own file.
 *
 * An input is the first part's name and then the parts, each of which begins as a GGUF file. */
#include "proto/model/gguf_split.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/gguf_writer.h"

enum { PARTS_MOST = 3, NAME_BYTES = 64, PATH_BYTES = 128, ALIGNMENT = 32, COLUMNS = 8 };

struct part {
    const uint8_t *data;
    size_t bytes;
    char path[PATH_BYTES];
};

static void put_u16(struct gguf_writer *file, const char *key, int value)
{
    gguf_writer_key(file, key, GGUF_U16);
    gguf_writer_u8(file, (uint8_t)value);
    gguf_writer_u8(file, (uint8_t)(value >> 8));
}

/* One tensor in each part. */
static void put_part(struct gguf_writer *file, int part, int count)
{
    struct gguf_writer alone = {0};
    char name[] = "a.weight";
    name[0] = (char)('a' + part);
    gguf_writer_header(&alone, 1, part == 0 ? 4 : 2);
    put_u16(&alone, "split.no", part);
    put_u16(&alone, "split.count", count);
    if (part == 0) {
        gguf_writer_pair_u32(&alone, "split.tensors.count", (uint32_t)count);
        gguf_writer_pair_text(&alone, "general.architecture", "llama");
    }
    gguf_writer_tensor(&alone, name, COLUMNS, 0, 0, 0);
    gguf_writer_pad(&alone, ALIGNMENT);
    for (int i = 0; i < COLUMNS; i++)
        gguf_writer_f32(&alone, (float)i);
    gguf_writer_pad(&alone, ALIGNMENT);
    gguf_writer_bytes(file, alone.data, alone.bytes);
    gguf_writer_free(&alone);
}

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    static const char *const names[] = {"m-00001-of-00002.gguf", "m-00001-of-00003.gguf",
                                        "m-00001-of-00001.gguf", "m-00002-of-00003.gguf",
                                        "other.gguf"};
    static const int counts[] = {2, 3, 1, 3, 2};
    struct gguf_writer file = {0};
    if (index >= (int)(sizeof counts / sizeof counts[0]))
        return 0;
    gguf_writer_bytes(&file, names[index], strlen(names[index]));
    for (int part = 0; part < counts[index]; part++)
        put_part(&file, part, counts[index]);
    const size_t bytes = file.bytes <= room ? file.bytes : 0;
    memcpy(data, file.data, bytes);
    gguf_writer_free(&file);
    return bytes;
}

static const uint8_t *next_part(const uint8_t *from, const uint8_t *end)
{
    const uint8_t *found = from < end ? memmem(from, (size_t)(end - from), "GGUF", 4) : NULL;
    return found ? found : end;
}

/* Returns how many there are. */
static int cut(struct part parts[PARTS_MOST], const uint8_t *data, const uint8_t *end)
{
    int count = 0;
    while (count < PARTS_MOST && data < end) {
        const uint8_t *stop = count < PARTS_MOST - 1 ? next_part(data + 4, end) : end;
        parts[count].data = data;
        parts[count++].bytes = (size_t)(stop - data);
        data = stop;
    }
    return count;
}

/* The name that the input begins with; false where it is no name of a file in a folder. */
static bool name_first(char path[PATH_BYTES], const char *folder, const uint8_t *data, size_t bytes)
{
    char name[NAME_BYTES + 1];
    if (bytes == 0 || bytes > NAME_BYTES || memchr(data, '/', bytes) || memchr(data, 0, bytes))
        return false;
    memcpy(name, data, bytes);
    name[bytes] = '\0';
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void write_part(const struct part *part)
{
    FILE *file = fopen(part->path, "wb");
    if (!file || fwrite(part->data, 1, part->bytes, file) != part->bytes || fclose(file) != 0) {
        perror(part->path);
        abort();
    }
}

/* Whether a tensor's bytes lie in one of the parts. */
static bool is_inside(const struct gguf *gguf, const struct gguf_tensor *tensor)
{
    for (int i = 0; i < gguf_part_count(gguf); i++) {
        size_t bytes;
        const uint8_t *data = gguf_data(gguf_part(gguf, i), &bytes);
        if (tensor->data >= data && tensor->bytes <= bytes &&
            (size_t)(tensor->data - data) <= bytes - tensor->bytes)
            return strcmp(tensor->file, gguf_name(gguf_part(gguf, i))) == 0;
    }
    return false;
}

static void check(const struct gguf *gguf, int parts)
{
    const int opened = gguf_part_count(gguf);
    int tensors = 0;
    assert(opened >= 1 && opened <= parts);
    for (int i = 1; i < opened; i++)
        assert(gguf_find_pair(gguf_part(gguf, i), "split.no"));
    for (int i = 0; i < gguf_tensor_count(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        char name[GGUF_NAME_BYTES_MAX + 1];
        assert(is_inside(gguf, tensor));
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.bytes, tensor->name.text);
        tensors += strlen(name) != tensor->name.bytes || gguf_find_tensor(gguf, name) == i;
    }
    assert(tensors == gguf_tensor_count(gguf));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char folder[] = "/dev/shm/longhaul-split-fuzz-XXXXXX";
    struct part parts[PARTS_MOST];
    const uint8_t *start = next_part(data, data + bytes);
    struct gguf *gguf = NULL;
    const int count = cut(parts, start, data + bytes);
    if (count == 0)
        return 0;
    if (!mkdtemp(folder)) {
        perror(folder);
        abort();
    }
    if (!name_first(parts[0].path, folder, data, (size_t)(start - data)))
        snprintf(parts[0].path, PATH_BYTES, "%s/m", folder);
    for (int i = 1; i < count; i++)
        snprintf(parts[i].path, PATH_BYTES, "%s/m-%05d-of-%05d.gguf", folder, i + 1, count);
    for (int i = count - 1; i >= 0; i--)
        write_part(&parts[i]);
    if (gguf_split_open(&gguf, parts[0].path) == STATUS_OK) {
        check(gguf, count);
        gguf_close(gguf);
    } else {
        assert(!gguf && status_message()[0]);
    }
    for (int i = 0; i < count; i++)
        unlink(parts[i].path);
    rmdir(folder);
    return 0;
}
