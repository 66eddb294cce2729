"""A seed decides, whatever kind of whole number it is; what is no seed is refused."""

import numpy as np
import pytest
import torch

from simclr_lib.choices import MAX_SEED
from simclr_lib.errors import SimCLRError
from simclr_lib.seeding import initial_weights, seeded


def test_numpys_whole_numbers_name_the_same_streams_as_pythons():
    plain = torch.rand(4, generator=seeded(3, "views", 7))
    assert torch.equal(torch.rand(4, generator=seeded(np.int64(3), "views", np.int32(7))), plain)
    assert not torch.equal(torch.rand(4, generator=seeded(3, "views", 8)), plain)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**70])
def test_seeds_outside_the_range_are_refused(seed):
    with pytest.raises(SimCLRError, match="seed must be between 0 and 4,294,967,295"), initial_weights(seed):
        pass


def test_the_largest_seed_makes_weights():
    with initial_weights(MAX_SEED):
        first = torch.rand(3)
    with initial_weights(MAX_SEED):
        assert torch.equal(torch.rand(3), first)
