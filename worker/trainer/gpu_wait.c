/* Owns nothing. */
#include "worker/trainer/gpu_wait.h"

#include "proto/clock.h"

#define PATIENCE_NS (300 * INT64_C(1000000000))

enum status gpu_wait(const struct cuda_streams *streams, struct transport *transport)
{
    const struct cuda_runtime *runtime = streams->runtime;
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;
    struct CUevent_st *event = NULL;
    enum status status = STATUS_OK;
    bool done = false;
    TRY(runtime->event_create(&event));
    TRY_ELSE(runtime->event_record(event, streams->compute), end);
    while (!done && status == STATUS_OK) {
        TRY_ELSE(runtime->event_query(event, &done), end);
        TRY_ELSE(transport_progress(transport), end);
        if (!done && clock_now_ns() > end_ns)
            status =
                fail(STATUS_UNAVAILABLE, "GPU %d has not done its work in 300 s", streams->device);
    }
end:
    runtime->event_destroy(event);
    return status;
}
