/* Owns the numbering of a mesh's ranks. */
#include "proto/plan/mesh.h"

#include <stdlib.h>
#include <string.h>

#include "proto/plan/choice.h"

static enum status check_axis(const char *name, int places, int most)
{
    if (places >= 1 && places <= most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "mesh.%s is %d: an axis has between 1 and %d places (docs/training.md)", name,
                places, most);
}

int mesh_size(const struct mesh *mesh)
{
    return mesh->data * mesh->sequence * mesh->tensor;
}

enum status mesh_check(const struct mesh *mesh, int size, int batch)
{
    TRY(check_axis("data", mesh->data, MESH_AXIS_MOST));
    TRY(check_axis("sequence", mesh->sequence, MESH_AXIS_MOST));
    if (mesh->tensor > 1)
        return fail(STATUS_UNIMPLEMENTED,
                    "mesh.tensor is %d: products are not shared out among ranks yet; leave it at 1 "
                    "and use the data and sequence axes",
                    mesh->tensor);
    TRY(check_axis("tensor", mesh->tensor, 1));
    if (mesh_size(mesh) != size)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the mesh has %d x %d x %d = %d ranks (data, sequence, tensor), and %d were "
                    "started: start as many, or change the mesh",
                    mesh->data, mesh->sequence, mesh->tensor, mesh_size(mesh), size);
    if (batch < mesh->data)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a batch of %d samples leaves places of a data axis of %d without one: make "
                    "training.batch %d at least, or mesh.data shorter",
                    batch, mesh->data, mesh->data);
    return STATUS_OK;
}

/* ---- of a worker group ---- */

static enum status refuse_text(const char *text)
{
    return fail(
        STATUS_INVALID_ARGUMENT,
        "mesh \"%s\": give auto, or places of the axes, as tensor=2,sequence=3: tensor up to "
        "%d, sequence up to %d",
        text, CHOICE_TENSOR_MAX, MESH_AXIS_MOST);
}

/* Reads "NAME=N" at *text, moves behind it and a comma; false where it is something else. */
static bool read_axis(int *places, const char **text, const char *name, int most)
{
    const size_t length = strlen(name);
    char *end;
    if (strncmp(*text, name, length) != 0 || (*text)[length] != '=' || *places != 0 ||
        (*text)[length + 1] < '1' || (*text)[length + 1] > '9')
        return false;
    const long number = strtol(*text + length + 1, &end, 10);
    if (number > most || (*end != '\0' && (*end != ',' || end[1] == '\0')))
        return false;
    *places = (int)number;
    *text = *end == ',' ? end + 1 : end;
    return true;
}

enum status mesh_parse(struct mesh *mesh, const char *text)
{
    struct mesh read = {.data = 1};
    const char *at = strcmp(text, "auto") == 0 ? "" : text;
    if (text[0] == '\0')
        return refuse_text(text);
    while (*at)
        if (!read_axis(&read.tensor, &at, "tensor", CHOICE_TENSOR_MAX) &&
            !read_axis(&read.sequence, &at, "sequence", MESH_AXIS_MOST))
            return refuse_text(text);
    *mesh = read;
    return STATUS_OK;
}

int mesh_asked(const struct mesh *mesh)
{
    if (mesh->sequence == 0 && mesh->tensor == 0)
        return 0;
    return (mesh->sequence ? mesh->sequence : 1) * (mesh->tensor ? mesh->tensor : 1);
}

static enum status check_open(const struct mesh *mesh, const char *open, int places, int most)
{
    if (places <= most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "a mesh of tensor=%d and sequence=%d (0: open) leaves %d workers for the %s axis, "
                "which has up to %d places: start fewer, or change --mesh",
                mesh->tensor, mesh->sequence, places, open, most);
}

enum status mesh_lay_out(struct mesh *mesh, int ranks)
{
    const int said = mesh->tensor > 0 ? mesh->tensor : mesh->sequence;
    const int other = said > 0 ? ranks / said : 0;
    if (said > 0 && (ranks % said != 0 ||
                     (mesh->sequence > 0 && mesh->tensor > 0 && mesh_asked(mesh) != ranks)))
        return fail(STATUS_INVALID_ARGUMENT,
                    "a mesh of tensor=%d and sequence=%d (0: open) cannot be laid out over %d "
                    "workers: start as many as the axes make, or change --mesh",
                    mesh->tensor, mesh->sequence, ranks);
    TRY(mesh->sequence == 0 ? check_open(mesh, "sequence", other, MESH_AXIS_MOST)
        : mesh->tensor == 0 ? check_open(mesh, "tensor", other, CHOICE_TENSOR_MAX)
                            : STATUS_OK);
    if (mesh->sequence == 0)
        mesh->sequence = other;
    else if (mesh->tensor == 0)
        mesh->tensor = other;
    return STATUS_OK;
}

struct mesh_place mesh_place(const struct mesh *mesh, int rank)
{
    return (struct mesh_place){
        .data = rank / (mesh->tensor * mesh->sequence),
        .sequence = rank / mesh->tensor % mesh->sequence,
        .tensor = rank % mesh->tensor,
    };
}
