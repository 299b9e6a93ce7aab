/* Owns the list of settings under which ranks share a device: separate hosts that talk by sockets
 * over the loopback interface, and few channels, so that all ranks' kernels find room side by side.
 */
#include "worker/engine/transport/nccl_share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum status nccl_share_device(const char *name)
{
    const char *const settings[][2] = {
        {"NCCL_HOSTID", name},        {"NCCL_NET", "Socket"},      {"NCCL_IB_DISABLE", "1"},
        {"NCCL_SOCKET_IFNAME", "lo"}, {"NCCL_MNNVL_ENABLE", "0"},  {"NCCL_NVLS_ENABLE", "0"},
        {"NCCL_MAX_CTAS", "2"},       {"NCCL_MAX_NCHANNELS", "2"}, {"NCCL_PROTO", "Simple"},
        {"NCCL_BUFFSIZE", "1048576"},
    };
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++)
        if (setenv(settings[s][0], settings[s][1], 0) != 0)
            return fail(STATUS_RESOURCE_EXHAUSTED, "set %s: %s", settings[s][0], strerror(errno));
    return STATUS_OK;
}
