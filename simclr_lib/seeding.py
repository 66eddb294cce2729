"""Random choices that a seed decides: generators with names, and the initial weights of networks."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from simclr_lib.choices import MAX_SEED
from simclr_lib.errors import require_range


def seeded(seed: int, *stream: int | str) -> torch.Generator:
    """Make a CPU generator that depends only on the seed and the name of a stream, such as ("views", step)."""
    # operator.index makes a plain int of NumPy's, whose repr is another one.
    name = (part if isinstance(part, str) else operator.index(part) for part in (seed, *stream))
    digest = hashlib.blake2b(repr(tuple(name)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Give the networks that are made in this context weights that depend only on the seed.

    The global generator is the same afterwards.

    Raises:
        SimCLRError: the seed is not between 0 and `MAX_SEED`.
    """
    require_range("seed", seed, 0, MAX_SEED)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
