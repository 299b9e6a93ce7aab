/* The address under which a rank reaches its coordinator, and the interface that has it. */
#include "tests/support/unit.h"

#include "worker/own_address.h"

static void this_host_is_reached_by_its_loopback(void **state)
{
    (void)state;
    struct own_address own;
    own_address_find(&own, "127.0.0.1:7712");
    assert_string_equal(own.address, "127.0.0.1");
    assert_string_equal(own.interface, "lo");
    own_address_find(&own, "[127.0.0.1]:7712");
    assert_string_equal(own.address, "127.0.0.1");
}

static void what_is_no_address_has_none(void **state)
{
    (void)state;
    static const char *const peers[] = {"", "7712", "127.0.0.1", "256.1.1.1:7712"};
    for (size_t p = 0; p < sizeof peers / sizeof peers[0]; p++) {
        struct own_address own = {"before", "before"};
        own_address_find(&own, peers[p]);
        assert_string_equal(own.address, "");
        assert_string_equal(own.interface, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_host_is_reached_by_its_loopback),
        cmocka_unit_test(what_is_no_address_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
