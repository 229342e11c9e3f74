"""The devices that torch can compute on."""

import torch

from umbel.base.errors import InvalidInput


def pick_device(wanted: str) -> torch.device:
    """The torch device of this name; auto: CUDA, else Apple's GPU, else the CPU. Raises InvalidInput."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(f"The device {wanted!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def training_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision that training is faster in here: bf16, or fp16 on GPUs that have no bf16; None: float32."""
    if has_native_bf16(device):
        return torch.bfloat16
    tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)
    return torch.float16 if tensor_cores else None


def has_native_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32 here; emulated bf16 is many times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
