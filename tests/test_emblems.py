"""Emblems are reproducible, balanced, and told apart by shape rather than by colour."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simclr_lib.choices import NUM_EMBLEM_CLASSES
from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.emblems import CLASSES, _chunk, draw_emblems, render_emblems
from simclr_lib.errors import SimCLRError


@pytest.fixture(scope="module")
def train() -> ImageDataset:
    return draw_emblems("train", limit=2048)


@pytest.fixture(scope="module")
def test() -> ImageDataset:
    return draw_emblems("test", limit=512)


def test_shapes_and_types(train: ImageDataset) -> None:
    assert train.images.shape == (2048, 3, 32, 32)
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.name == "emblems"


def test_ten_classes_with_names_of_their_own(train: ImageDataset) -> None:
    assert train.classes == list(CLASSES)
    assert len(CLASSES) == NUM_EMBLEM_CLASSES  # which the command line knows without drawing them
    assert len(set(train.classes)) == 10
    silhouettes, textures = zip(*CLASSES.values(), strict=True)
    assert len(set(silhouettes)) == len(set(textures)) == 10


@pytest.mark.parametrize("limit", [0, 1, 511, 512, 513, 1030])
def test_a_smaller_limit_gives_a_prefix(train: ImageDataset, limit: int) -> None:
    prefix = draw_emblems("train", limit=limit)
    assert len(prefix) == limit
    assert torch.equal(prefix.images, train.images[:limit])
    assert torch.equal(prefix.labels, train.labels[:limit])


@pytest.mark.parametrize("limit", [10, 1000, 2040])
def test_every_prefix_is_balanced(train: ImageDataset, limit: int) -> None:
    assert train.labels[:limit].bincount(minlength=10).tolist() == [limit // 10] * 10


def test_default_sizes() -> None:
    assert len(draw_emblems("test")) == 2048


def test_rendering_again_gives_the_same_images(test: ImageDataset) -> None:
    _chunk.cache_clear()
    assert torch.equal(draw_emblems("test", limit=512).images, test.images)


def test_writing_to_the_images_does_not_reach_the_cache(test: ImageDataset) -> None:
    draw_emblems("test", limit=512).images.zero_()
    assert torch.equal(draw_emblems("test", limit=512).images, test.images)


def test_the_global_random_state_neither_matters_nor_moves(test: ImageDataset) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    _chunk.cache_clear()
    again = draw_emblems("test", limit=512)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again.images, test.images)


def test_no_image_occurs_twice(train: ImageDataset, test: ImageDataset) -> None:
    other_seed = draw_emblems("train", limit=512, seed=1)
    images = torch.cat([train.images, test.images, other_seed.images])
    assert len({image.numpy().tobytes() for image in images}) == len(images)


def test_rendering_takes_labels_in_any_order() -> None:
    labels = torch.tensor([7, 7, 0, 3])
    images = render_emblems(labels, torch.Generator().manual_seed(0))
    assert images.shape == (4, 3, 32, 32)
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("split", ["validation", "Train", ""])
def test_unknown_split(split: str) -> None:
    with pytest.raises(SimCLRError, match="train, test"):
        draw_emblems(split)


def test_negative_limit() -> None:
    with pytest.raises(SimCLRError, match="limit"):
        draw_emblems(limit=-1)


@pytest.mark.parametrize("limit", [2**50, 2**70])
def test_more_emblems_than_any_memory_holds_are_refused(limit: int) -> None:
    with pytest.raises(SimCLRError, match="more memory than there is"):
        draw_emblems(limit=limit)


# ---- The colour trap ---------------------------------------------------------------------------------------


def test_colour_does_not_tell_the_class(train: ImageDataset, test: ImageDataset) -> None:
    assert _knn_accuracy(_mean_colour(train.images), train, _mean_colour(test.images), test) < 0.25


def test_colour_tells_the_image() -> None:
    """Two crops of one image find each other by their colours alone: the shortcut is really there."""
    images = draw_emblems("test", limit=256).images
    first, second = _colour_histogram(images[:, :, :26, :26]), _colour_histogram(images[:, :, 6:, 6:])
    found = torch.cdist(first, second).argmin(dim=1) == torch.arange(256)
    assert found.float().mean() > 0.75


def test_shape_tells_the_class(train: ImageDataset, test: ImageDataset) -> None:
    accuracy = _knn_accuracy(_edges(train.images), train, _edges(test.images), test)
    assert accuracy > 0.6


def test_pixels_are_not_enough(train: ImageDataset, test: ImageDataset) -> None:
    pixels = [d.images.flatten(1) / 255 for d in (train, test)]
    assert _knn_accuracy(pixels[0], train, pixels[1], test) < 0.5


@pytest.mark.parametrize("label", range(10))
def test_the_emblem_stands_out_from_its_background(label: int) -> None:
    """Colours are drawn so that no emblem drowns: its image has edges of a good contrast."""
    images = render_emblems(torch.full((200,), label), torch.Generator().manual_seed(5))
    lightness = images.float().mean(1) / 255
    contrast = lightness.flatten(1).quantile(0.97, dim=1) - lightness.flatten(1).quantile(0.03, dim=1)
    assert contrast.min() > 0.25


def _mean_colour(images: Tensor) -> Tensor:
    return images.float().mean((2, 3)) / 255


def _colour_histogram(images: Tensor, levels: int = 4) -> Tensor:
    """Square roots of counts of levels³ colours, float32 [n, levels³]: where a colour lies is forgotten."""
    red, green, blue = (images.long() * levels // 256).flatten(2).unbind(1)
    colour = (red * levels + green) * levels + blue
    counts = torch.zeros(len(images), levels**3).scatter_add_(1, colour, torch.ones(colour.shape))
    return counts.sqrt()


def _edges(images: Tensor) -> Tensor:
    """Gradient strengths on a coarse map: outlines and texture without colour or sign."""
    lightness = images.float().mean(1, keepdim=True) / 255
    across, down = lightness.diff(dim=3)[:, :, 1:, :].abs(), lightness.diff(dim=2)[:, :, :, 1:].abs()
    maps = torch.nn.functional.avg_pool2d(torch.cat([across, down], 1), 4, 3).flatten(1)
    return maps / maps.norm(dim=1, keepdim=True)


def _knn_accuracy(bank: Tensor, bank_set: ImageDataset, query: Tensor, query_set: ImageDataset) -> float:
    nearest = torch.cdist(query, bank).topk(20, largest=False).indices
    guess = bank_set.labels[nearest].mode(dim=1).values
    return (guess == query_set.labels).float().mean().item()
