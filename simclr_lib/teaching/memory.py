"""The peak memory of a computation, measured on any machine by watching every tensor that PyTorch makes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Counts the bytes of the storages that were allocated while it was active and are still in use."""

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0  # bytes
        self.known: set[int] = set()  # addresses

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        inputs = {storage.data_ptr() for storage in _storages((args, kwargs))}
        for storage in _storages(output):  # a view, or a tensor changed in place, shares the storage of an input
            if storage.data_ptr() not in inputs and storage.data_ptr() not in self.known:
                self._count(storage)
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        self.known.add(address)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._freed, address, size)

    def _freed(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.current -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def peak_bytes(work: Callable[[], object]) -> int:
    """The largest number of bytes that the tensors made in ``work`` hold at one time.

    Memory that a single operation allocates and frees within itself is not seen.
    """
    with _Watch() as watch:
        work()
    return watch.peak
