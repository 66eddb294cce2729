"""Random choices as functions of a seed: generators with names, and the initial weights of networks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seeded(seed: int, *stream: int | str) -> torch.Generator:
    """A CPU generator that is a function of the seed and a stream's name, such as ("views", step)."""
    digest = hashlib.blake2b(repr((seed, *stream)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Networks made within it get weights that are a function of the seed; the global generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
