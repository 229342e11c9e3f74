"""The arithmetic of training follows from what the device can do."""

import pytest
import torch

from ml.devices import training_dtype


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((9, 0), torch.bfloat16),
        ((8, 0), torch.bfloat16),
        ((7, 5), torch.float16),
        ((7, 0), torch.float16),
        ((6, 1), None),
    ],
    ids=["H100", "A100", "T4", "V100", "GTX 1080"],
)
def test_a_gpu_trains_in_the_half_precision_that_it_has(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    assert training_dtype(torch.device("cuda")) is dtype


@pytest.mark.parametrize(("capabilities", "dtype"), [({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, None)])
def test_a_cpu_trains_in_bf16_or_float32(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert training_dtype(torch.device("cpu")) is dtype
