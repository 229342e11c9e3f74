"""Telling a GPU that is lost to this process from a picture, or a batch, that was too much for it."""

SIGNS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")
SHORT_OF_MEMORY = ("out of memory", "ALLOC_FAILED")


def device_lost(error: BaseException) -> bool:
    """Whether the device will compute nothing more for this process.

    An error of CUDA sticks to its context: every later call fails with it, until another process makes a new one. Not
    so where memory was short: fewer pictures at once may fit.
    """
    said = str(error)
    if any(sign in said for sign in SHORT_OF_MEMORY):
        return False
    # torch.AcceleratorError, by its name: a worker on another runtime never loads torch.
    return type(error).__name__ == "AcceleratorError" or any(sign in said for sign in SIGNS)
