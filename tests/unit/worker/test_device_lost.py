"""Which errors of torch are the end of a process."""

import pytest
import torch

from worker.watchdog import device_lost

LOST = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
]
PASSING = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ArithmeticError("its vector is not finite"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_an_error_that_sticks_is_the_end(error: Exception) -> None:
    assert device_lost(error)


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_a_want_of_memory_or_a_bad_picture_is_not(error: Exception) -> None:
    assert not device_lost(error)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_kernel_that_failed_has_lost_the_device() -> None:
    weights, beyond = torch.zeros(4, 4, device="cuda"), torch.tensor([9], device="cuda")
    with pytest.raises(RuntimeError) as caught:
        torch.nn.functional.embedding(beyond, weights).sum().item()
    assert device_lost(caught.value)
    with pytest.raises(RuntimeError):  # and every later call says so too
        torch.zeros(1, device="cuda").item()
