"""The best arithmetic that a device has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from lysoquant.errors import InputError

Precision = Literal["auto", "bf16", "fp32"]


def choose_device(device: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        If a GPU is asked for and not found: there is no silent fall-back to the CPU.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {device!r}; expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device is cuda but torch finds no GPU; check the driver and the job, or set it to cpu (execution.device)"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability(), _cpu_flags()
    return "AVX512" in capabilities[0] and bool({"avx512_bf16", "amx_bf16"} & capabilities[1])


def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as handle:  # noqa: PTH123
            line = next((line for line in handle if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(line.split())


def resolve_precision(precision: Precision, device: torch.device) -> Literal["bf16", "fp32"]:
    """What ``auto`` means on a device."""
    if precision == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return precision


def autocast(device: torch.device | str, precision: Precision = "auto") -> AbstractContextManager[None]:
    """Context in which convolutions run in the resolved precision."""
    device = torch.device(device)
    enabled = resolve_precision(precision, device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
