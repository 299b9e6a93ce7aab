/* Owns the splits of a group's ranks. */
#include "worker/engine/group_axes.h"

#include "worker/engine/transport/transport_split.h"

enum status group_axes_slice(struct tensor_slice *slice, const struct model *model,
                             const struct group_choice *group, const struct transport *world,
                             bool on_gpus)
{
    const struct model_shape shape = spec_shape(model_spec(model), 0);
    const int places = group_choice_tensor(group);
    if (group_choice_ranks(group) != world->size)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the mesh has %d x %d ranks (sequence, tensor), and the group has %d",
                    group->workers, places, world->size);
    if (places > 1 && on_gpus)
        return fail(STATUS_UNIMPLEMENTED,
                    "mesh: ranks on GPUs do not share out a model's weights over a tensor axis of "
                    "%d: use --mesh tensor=1, or workers on CPUs",
                    places);
    return tensor_slice_make(slice, &shape, places, world->rank % places);
}

enum status group_axes_split(struct group_axes *axes, const struct group_choice *group,
                             struct transport *world)
{
    const int places = group_choice_tensor(group);
    enum status status = STATUS_OK;
    *axes = (struct group_axes){world, world, NULL};
    if (places == 1)
        return STATUS_OK;
    TRY(transport_split(&axes->sequence, world, world->rank % places));
    TRY_ELSE(transport_split(&axes->tensor, world, world->rank / places), undo);
    return STATUS_OK;
undo:
    group_axes_deinit(axes);
    return status;
}

void group_axes_deinit(struct group_axes *axes)
{
    if (axes->sequence != axes->world)
        transport_destroy(axes->sequence);
    transport_destroy(axes->tensor);
    *axes = (struct group_axes){0};
}
