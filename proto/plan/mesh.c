/* Owns the numbering of a mesh's ranks. */
#include "proto/plan/mesh.h"

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

struct mesh_place mesh_place(const struct mesh *mesh, int rank)
{
    return (struct mesh_place){
        .data = rank / (mesh->tensor * mesh->sequence),
        .sequence = rank / mesh->tensor % mesh->sequence,
        .tensor = rank % mesh->tensor,
    };
}
