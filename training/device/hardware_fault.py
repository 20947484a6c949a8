"""Faults of a GPU itself, of its links or of its server, as CUDA and NCCL report them.

They end the process, whose CUDA context is gone, and say nothing about the program: the same work
goes on in a new process. An illegal address or a device-side assert (codes 700 and 710) are faults
of a program. Codes and texts: NVIDIA CUDA Runtime API, cudaError; NCCL, ncclResult_t.
"""

FAULTS = {
    46: "CUDA-capable device(s) is/are busy or unavailable",
    100: "no CUDA-capable device is detected",  # it fell off the bus
    214: "uncorrectable ECC error encountered",
    220: "uncorrectable NVLink error detected during the execution",
    226: "Invalid access of peer GPU memory over nvlink or a hardware error",
    714: "hardware stack error",
    719: "unspecified launch failure",
    802: "system not yet initialized",  # the fabric manager of a machine with NVSwitch
    805: "MPS client failed to connect to the MPS control daemon or the MPS server",
    806: "the remote procedural call between the MPS server and the MPS client failed",
    807: "MPS server is not ready to accept new MPS client requests",
    810: "the MPS client has been terminated",
    999: "CUDA error: unknown error",
}
OF_NCCL = ("ncclRemoteError", "ncclSystemError", "remote process exited or there was a network")
_TEXTS = tuple(text.lower() for text in (*FAULTS.values(), *OF_NCCL))


def is_hardware_fault(error: BaseException | None) -> bool:
    """Whether a fault of a device is behind an error: by CUDA's code where torch gives it.

    Else by the text of it and of what it came from: the compiler's launches, NCCL and another
    rank's report have only that.
    """
    while error is not None:
        code = getattr(error, "error_code", None)  # of torch.AcceleratorError
        if code in FAULTS:
            return True
        if code is None and any(text in str(error).lower() for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False
