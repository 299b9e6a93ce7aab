/* Owns nothing. */
#include "coordinator/batch/client_stream.h"

enum { LOOK_MS = 100, IDLE_MS = 60000, RETRY_MS = 2000 };

enum status client_stream_next(const struct batch_context *context,
                               const ProtobufCMessage **message)
{
    for (int idle_ms = 0; idle_ms < IDLE_MS; idle_ms += LOOK_MS) {
        if (atomic_load(&context->tools->errand->draining)) {
            context->details->reason = "DRAINING";
            context->details->retry_ms = RETRY_MS;
            return fail(STATUS_UNAVAILABLE, "the coordinator is draining; go on later");
        }
        enum status status = rpc_call_read(context->call, message, LOOK_MS);
        if (status != STATUS_DEADLINE_EXCEEDED)
            return status;
        if (rpc_call_cancelled(context->call))
            return fail(STATUS_CANCELLED, "the client left");
    }
    return fail(STATUS_DEADLINE_EXCEEDED, "nothing came for %d s", IDLE_MS / 1000);
}
