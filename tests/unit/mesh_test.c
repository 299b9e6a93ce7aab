/* The layout of a training run's ranks. */
#include "tests/support/unit.h"

#include "proto/plan/mesh.h"

static void every_rank_has_a_place_of_its_own(void **state)
{
    (void)state;
    for (int data = 1; data <= 5; data++)
        for (int sequence = 1; sequence <= 9; sequence++) {
            const struct mesh mesh = {data, sequence, 1};
            assert_int_equal(mesh_size(&mesh), data * sequence);
            for (int rank = 0; rank < data * sequence; rank++) {
                const struct mesh_place place = mesh_place(&mesh, rank);
                assert_true(place.data < data && place.sequence < sequence && place.tensor == 0);
                assert_int_equal(place.data * sequence + place.sequence, rank);
            }
        }
}

static void refuse(struct mesh mesh, int size, int batch, enum status status, const char *words)
{
    assert_int_equal(mesh_check(&mesh, size, batch), status);
    if (!strstr(status_message(), words))
        fail_msg("\"%s\" does not say \"%s\"", status_message(), words);
}

static void what_cannot_be_laid_out_is_refused(void **state)
{
    (void)state;
    const struct mesh good = {2, 2, 1};
    assert_int_equal(mesh_check(&good, 4, 2), STATUS_OK);
    refuse(good, 3, 2, STATUS_INVALID_ARGUMENT, "2 x 2 x 1 = 4 ranks");
    refuse(good, 4, 1, STATUS_INVALID_ARGUMENT, "training.batch 2 at least");
    refuse((struct mesh){0, 1, 1}, 0, 1, STATUS_INVALID_ARGUMENT, "mesh.data is 0");
    refuse((struct mesh){1, MESH_AXIS_MOST + 1, 1}, 0, 1, STATUS_INVALID_ARGUMENT,
           "mesh.sequence is 4097");
    refuse((struct mesh){1, 1, 2}, 2, 1, STATUS_UNIMPLEMENTED, "mesh.tensor is 2");
    refuse((struct mesh){1, 1, 0}, 0, 1, STATUS_INVALID_ARGUMENT, "mesh.tensor is 0");
    refuse((struct mesh){1 << 30, 4, 1}, 0, 1, STATUS_INVALID_ARGUMENT, "mesh.data is 1073741824");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_a_place_of_its_own),
        cmocka_unit_test(what_cannot_be_laid_out_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
