/* The parser of meshes over any text, and what it reads laid out over any number of ranks: refused
 * with a sentence, or axes within their limits in which each rank has a place. */
#include "proto/plan/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/plan/choice.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_BYTES = 256, RANKS_MOST = 8192 };

/* The first two bytes are the ranks less one, modulo RANKS_MOST. */
static const struct {
    const char *bytes;
    size_t count;
} seeds[] = {
    {"\x05\x00"
     "tensor=2,sequence=3",
     21},
    {"\x07\x00"
     "sequence=4,tensor=2",
     21},
    {"\xff\x0f"
     "sequence=4096",
     15},
    {"\x3f\x00"
     "tensor=64",
     11},
    {"\x01\x00"
     "auto",
     6},
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0] || seeds[index].count > room)
        return 0;
    memcpy(data, seeds[index].bytes, seeds[index].count);
    return seeds[index].count;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_limits(const struct mesh *mesh)
{
    require(mesh->data == 1);
    require(mesh->tensor >= 0 && mesh->tensor <= CHOICE_TENSOR_MAX);
    require(mesh->sequence >= 0 && mesh->sequence <= MESH_AXIS_MOST);
}

/* As it is said, it is read again. */
static void check_spelling(const struct mesh *mesh)
{
    char text[TEXT_BYTES];
    struct mesh again;
    if (mesh->tensor && mesh->sequence)
        snprintf(text, sizeof text, "tensor=%d,sequence=%d", mesh->tensor, mesh->sequence);
    else if (mesh->tensor || mesh->sequence)
        snprintf(text, sizeof text, "%s=%d", mesh->tensor ? "tensor" : "sequence",
                 mesh->tensor + mesh->sequence);
    else
        snprintf(text, sizeof text, "auto");
    require(mesh_parse(&again, text) == STATUS_OK);
    require(again.tensor == mesh->tensor && again.sequence == mesh->sequence);
}

static void lay_out(struct mesh mesh, int ranks)
{
    const struct mesh asked = mesh;
    if (mesh_lay_out(&mesh, ranks) != STATUS_OK) {
        require(status_message()[0] != '\0');
        return;
    }
    check_limits(&mesh);
    require(asked.tensor == 0 || mesh.tensor == asked.tensor);
    require(asked.sequence == 0 || mesh.sequence == asked.sequence);
    if (asked.tensor == 0 && asked.sequence == 0)
        return;
    require(mesh_size(&mesh) == ranks);
    for (int rank = 0; rank < ranks; rank++) {
        const struct mesh_place place = mesh_place(&mesh, rank);
        require(place.data == 0 && place.sequence < mesh.sequence && place.tensor < mesh.tensor);
        require(place.sequence * mesh.tensor + place.tensor == rank);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char text[TEXT_BYTES];
    struct mesh mesh;
    if (bytes < 2 || bytes - 2 >= sizeof text)
        return 0;
    memcpy(text, data + 2, bytes - 2);
    text[bytes - 2] = '\0';
    if (mesh_parse(&mesh, text) != STATUS_OK) {
        require(status_message()[0] != '\0');
        return 0;
    }
    check_limits(&mesh);
    check_spelling(&mesh);
    lay_out(mesh, 1 + (data[0] | data[1] << 8) % RANKS_MOST);
    return 0;
}
