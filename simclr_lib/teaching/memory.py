"""How much memory a computation holds at its peak, on any machine: by watching every tensor that PyTorch makes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Counts the bytes of storages that were made under it and are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        before = {storage.data_ptr() for storage in _storages((args, kwargs))}  # views, and what is changed in place
        for storage in _storages(output):
            if storage.data_ptr() not in before and storage.data_ptr() not in self.known:
                self._count(storage)
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        self.known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, address, size)

    def _freed(self, address: int, size: int) -> None:
        self.known.discard(address)
        self.now -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def peak_bytes(work: Callable[[], object]) -> int:
    """Most bytes that the tensors made in ``work`` held at one time. What one operation uses within is not seen."""
    with _Watch() as watch:
        work()
    return watch.peak
