import pytest
import torch

from rlcompress.machine.memory import give_back_memory, is_out_of_memory


def raised(fault) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fault()
    return caught.value


def test_the_real_error_of_this_machines_allocator():
    assert is_out_of_memory(raised(lambda: torch.empty(2**58, dtype=torch.uint8)))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1 GB, max allowed: 9 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    ],
)
def test_what_runs_out_of_memory(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("CUDA error: device-side assert triggered"),
        ValueError("out of memory"),
        KeyError("memory"),
    ],
)
def test_what_does_not(error):
    assert not is_out_of_memory(error)


def test_a_mistake_in_shapes_is_none():
    assert not is_out_of_memory(raised(lambda: torch.ones(2, 3) @ torch.ones(2, 3)))


def test_giving_back_harms_nobody():
    kept = torch.ones(3)
    give_back_memory()
    assert kept.sum() == 3
