"""Running out of memory: telling it from other errors, and giving back what a failed attempt still holds."""

from __future__ import annotations

import gc

import torch

# What allocators say in a plain RuntimeError: MPS, cuBLAS and cuDNN, the CPU's on Linux and elsewhere.
_SAID = ("out of memory", "alloc_failed", "can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True for what CUDA, MPS and the CPU raise when memory runs out, and for nothing else."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID)


def give_back_memory() -> None:
    """Free what nobody holds any more, down to the driver's pool; call it outside of the `except` block."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
