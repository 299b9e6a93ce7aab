/* Owns the sorting of error codes. Needs no toolkit: the numbers are the runtime's for good. */
#include "worker/engine/device/cuda_error.h"

#include <stddef.h>

enum { MEMORY_ALLOCATION = 2 };

/* driver_types.h: those after which "the process must be terminated and relaunched", and those that
 * come from outside of the program. */
static const int lost[] = {
    3,   /* cudaErrorInitializationError */
    4,   /* cudaErrorCudartUnloading */
    46,  /* cudaErrorDevicesUnavailable */
    53,  /* cudaErrorPriorLaunchFailure */
    127, /* cudaErrorStartupFailure */
    214, /* cudaErrorECCUncorrectable */
    220, /* cudaErrorNvlinkUncorrectable */
    226, /* cudaErrorContained */
    304, /* cudaErrorOperatingSystem */
    700, /* cudaErrorIllegalAddress */
    702, /* cudaErrorLaunchTimeout */
    709, /* cudaErrorContextIsDestroyed */
    710, /* cudaErrorAssert */
    714, /* cudaErrorHardwareStackError */
    715, /* cudaErrorIllegalInstruction */
    716, /* cudaErrorMisalignedAddress */
    717, /* cudaErrorInvalidAddressSpace */
    718, /* cudaErrorInvalidPc */
    719, /* cudaErrorLaunchFailure */
    721, /* cudaErrorTensorMemoryLeak */
    802, /* cudaErrorSystemNotReady */
    805, /* cudaErrorMpsConnectionFailed */
    806, /* cudaErrorMpsRpcFailure */
    807, /* cudaErrorMpsServerNotReady */
    810, /* cudaErrorMpsClientTerminated */
    909, /* cudaErrorTimeout */
    911, /* cudaErrorExternalDevice */
    999, /* cudaErrorUnknown */
};

enum status cuda_error_status(int code)
{
    if (code == 0)
        return STATUS_OK;
    if (code == MEMORY_ALLOCATION)
        return STATUS_RESOURCE_EXHAUSTED;
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (lost[i] == code)
            return STATUS_UNAVAILABLE;
    return STATUS_INTERNAL;
}
