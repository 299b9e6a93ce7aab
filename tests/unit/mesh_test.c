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

static struct mesh parsed(const char *text)
{
    struct mesh mesh;
    assert_int_equal(mesh_parse(&mesh, text), STATUS_OK);
    return mesh;
}

static void a_group_is_laid_out_as_it_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ranks, asked, sequence, tensor; /* sequence 0: refused */
    } rows[] = {
        {"auto", 6, 0, 0, 0},
        {"tensor=2", 6, 2, 3, 2},
        {"sequence=2", 6, 2, 2, 3},
        {"tensor=2,sequence=3", 6, 6, 3, 2},
        {"sequence=6,tensor=1", 6, 6, 6, 1},
        {"tensor=4", 6, 4, -1, 0},
        {"tensor=2,sequence=2", 6, 4, -1, 0},
        {"tensor=12", 6, 12, -1, 0},
        {"sequence=1", 64, 1, 1, 64},
        {"sequence=1", 65, 1, -1, 0},
        {"tensor=1", MESH_AXIS_MOST, 1, MESH_AXIS_MOST, 1},
        {"tensor=1", MESH_AXIS_MOST + 1, 1, -1, 0},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct mesh mesh = parsed(rows[r].text);
        assert_int_equal(mesh_asked(&mesh), rows[r].asked);
        const enum status status = mesh_lay_out(&mesh, rows[r].ranks);
        assert_int_equal(status, rows[r].sequence < 0 ? STATUS_INVALID_ARGUMENT : STATUS_OK);
        if (status != STATUS_OK)
            continue;
        assert_int_equal(mesh.sequence, rows[r].sequence);
        assert_int_equal(mesh.tensor, rows[r].tensor);
        assert_int_equal(mesh.data, 1);
    }
}

static void what_names_no_mesh_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "tensor",
        "tensor=",
        "tensor=0",
        "tensor=-1",
        "tensor=65",
        "tensor=2,",
        "tensor=2;",
        "tensor=2,tensor=2",
        "data=2",
        "auto,",
        "sequence=1e9",
        "tensor= 2",
        "sequence=99999999999999999999",
    };
    struct mesh mesh;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
        assert_int_equal(mesh_parse(&mesh, texts[t]), STATUS_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_a_place_of_its_own),
        cmocka_unit_test(what_cannot_be_laid_out_is_refused),
        cmocka_unit_test(a_group_is_laid_out_as_it_is_asked_for),
        cmocka_unit_test(what_names_no_mesh_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
