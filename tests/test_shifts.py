"""Changed test images: other colours or damage, reproducible, and nothing else."""

import pytest
import torch

from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import SHIFTS, labels_needed, shifted


@pytest.fixture(scope="module")
def images():
    return load_dataset("emblems", "test", limit=12)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_every_image_and_nothing_else_of_the_set(images, name):
    changed = shifted(images, name)
    assert changed.images.dtype == torch.uint8
    assert changed.images.shape == images.images.shape
    assert (changed.images != images.images).flatten(1).any(dim=1).all()
    assert torch.equal(changed.labels, images.labels)
    assert torch.equal(changed.images, shifted(images, name).images)


def test_grey_has_no_colour_and_a_negative_twice_is_the_image(images):
    grey = shifted(images, "grey").images
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
    assert torch.equal(shifted(shifted(images, "negative"), "negative").images, images.images)


def test_the_opposite_of_red_is_cyan_and_dark_is_darker():
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    data = ImageDataset(red, torch.zeros(1, dtype=torch.int64), ["red"])
    assert shifted(data, "opposite_hue").images[0, :, 0, 0].tolist() == [0, 200, 200]
    assert shifted(data, "dark").images[0, :, 0, 0].tolist() == [60, 0, 0]


def test_blur_smooths_and_noise_roughens(images):
    def roughness(part):
        return part.images.float().diff(dim=3).abs().mean()

    assert roughness(shifted(images, "blurred")) < 0.7 * roughness(images)
    noise = shifted(images, "noisy").images.float() - images.images.float()
    inside = (images.images > 80) & (images.images < 175)  # where nothing is clamped
    assert noise[inside].std() == pytest.approx(25.5, rel=0.03)
    assert noise[inside].mean() == pytest.approx(0, abs=0.5)


def test_a_square_of_two_fifths_of_the_side_is_hidden_and_no_more(images):
    kept = shifted(images, "hidden").images == images.images
    hidden = ~kept.all(dim=1)  # [N, 32, 32]
    for image in hidden:
        rows, columns = image.any(dim=1).nonzero().flatten(), image.any(dim=0).nonzero().flatten()
        assert rows[-1] - rows[0] < 13
        assert columns[-1] - columns[0] < 13
    assert len({tuple(image.nonzero()[0].tolist()) for image in hidden}) > 6


def test_an_unknown_shift_is_named(images):
    with pytest.raises(SimCLRError, match="did you mean 'negative'"):
        shifted(images, "negativ")


def test_images_that_are_not_square_are_refused():
    wide = ImageDataset(torch.zeros(2, 3, 8, 12, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), ["black"])
    with pytest.raises(SimCLRError, match="square images, not 8 × 12"):
        shifted(wide, "hidden")


def test_labels_are_read_off_straight_lines_over_their_logarithm():
    accuracy = {10.0: 0.6, 40.0: 0.8, 160.0: 0.7}
    assert labels_needed(accuracy, 0.7) == pytest.approx(20)  # half-way from 10 to 40 on that scale
    assert labels_needed(accuracy, 0.5) == 10
    assert labels_needed(accuracy, 0.8) == pytest.approx(40)
    assert labels_needed(accuracy, 0.9) is None
