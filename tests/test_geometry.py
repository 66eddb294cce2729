"""Effective rank, alignment and uniformity are what their definitions say, and know their extremes."""

import math

import numpy as np
import pytest
import torch

from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import alignment, effective_rank, principal_variances, uniformity
from simclr_lib.seeding import seeded


def test_effective_rank_counts_the_directions_that_are_used():
    axes = torch.eye(8)
    both_ways = torch.cat([axes, -axes])  # the same variance in each of eight directions
    assert effective_rank(both_ways) == pytest.approx(8)
    assert effective_rank(both_ways[[0, 1, 8, 9]]) == pytest.approx(2)
    assert effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(1)


@pytest.mark.parametrize(
    "features",
    [torch.zeros(10, 8), torch.ones(10, 8), torch.randn(1, 8), 0.1 * torch.rand(1, 300).expand(500, 300)],
    ids=["zeros", "ones", "one row", "equal rows"],
)
def test_effective_rank_of_features_that_coincide_is_1(features):
    assert effective_rank(features) == 1


def test_uniformity_sees_a_collapse_to_one_point_and_effective_rank_does_not():
    noise = torch.randn(500, 32, generator=seeded(0), dtype=torch.float64)
    collapsed = torch.ones(32, dtype=torch.float64) + 1e-7 * noise
    assert effective_rank(collapsed) > 25  # of 32: the noise fills all directions
    assert uniformity(collapsed) == pytest.approx(0, abs=1e-9)


MEASURES = [principal_variances, effective_rank, uniformity, lambda f: alignment(f, f)]


@pytest.mark.parametrize("measure", MEASURES, ids=["variances", "effective rank", "uniformity", "alignment"])
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.full((4, 3), float("nan")), "must be finite: 4 of 4 rows"),
        (torch.tensor([[1.0, 2.0], [float("inf"), 0.0]]), "must be finite: 1 of 2 rows"),
        (torch.ones(4), r"must be \[N, D\], not \[4\]"),
        (torch.ones(4, 0), r"must be \[N, D\], not \[4, 0\]"),
        (torch.ones(0, 4), "must have at least"),
        (np.ones((4, 3)), r"must be a tensor, not numpy\.ndarray"),
    ],
    ids=["NaN", "infinite", "1-D", "no columns", "no rows", "NumPy"],
)
def test_features_without_a_shape_are_refused_by_name(measure, features, message):
    with pytest.raises(SimCLRError, match=message):
        measure(features)


def test_principal_variances_add_up_to_the_total():
    features = torch.randn(50, 6, generator=seeded(0))
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    variances = principal_variances(features)
    assert variances.sum().item() == pytest.approx(unit.var(dim=0, correction=0).sum().item())
    assert (variances.diff() <= 0).all()


def test_alignment_is_the_squared_distance_of_partners():
    a = torch.randn(30, 5, generator=seeded(1))
    assert alignment(a, 3 * a) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a) == pytest.approx(4)
    b = torch.randn(30, 5, generator=seeded(2))
    similarity = torch.nn.functional.cosine_similarity(a.double(), b.double())
    assert alignment(a, b) == pytest.approx((2 - 2 * similarity).mean().item())
    with pytest.raises(SimCLRError, match="one shape"):
        alignment(a, b[:3])
    with pytest.raises(SimCLRError, match=r"b must be \[N, 5\], not \[30, 4\]"):
        alignment(a, b[:, :4])


def test_uniformity_is_zero_for_a_point_and_low_when_spread():
    assert uniformity(torch.ones(10, 4)) == pytest.approx(0, abs=1e-9)
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(poles) == pytest.approx(-8)
    sphere = torch.randn(2_000, 64, generator=seeded(3))
    assert uniformity(sphere) == pytest.approx(-4 + 8 / 64, abs=0.02)  # d² = 2 − 2s, s ~ N(0, 1/64)
    assert math.isfinite(uniformity(sphere))
    with pytest.raises(SimCLRError, match="at least 2 rows, not 1"):
        uniformity(sphere[:1])
