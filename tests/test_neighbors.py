"""Among frozen features: the most similar images, votes of labelled ones, and images that a set has twice."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import (
    balanced_accuracy,
    evaluate_features,
    knn_predict,
    knn_votes,
    near_duplicates,
    nearest_neighbors,
)


@pytest.fixture
def bank():
    return torch.randn(50, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chunk_size", [1, 7, 1024])
def test_the_nearest_are_those_of_the_highest_cosine_similarity(bank, chunk_size):
    queries = torch.randn(9, 8, generator=torch.Generator().manual_seed(1))
    expected = F.cosine_similarity(queries[:, None], bank[None], dim=2).topk(4, dim=1)
    similarity, rows = nearest_neighbors(bank, queries, 4, chunk_size)
    torch.testing.assert_close(similarity, expected.values)
    assert torch.equal(rows, expected.indices)


@pytest.mark.parametrize("chunk_size", [1, 7, 1024])
def test_no_feature_is_its_own_neighbour(bank, chunk_size):
    similarity, rows = nearest_neighbors(bank, k=3, chunk_size=chunk_size)
    assert (rows != torch.arange(50)[:, None]).all()
    everything = F.normalize(bank, dim=1) @ F.normalize(bank, dim=1).T
    torch.testing.assert_close(similarity[:, 0], everything.fill_diagonal_(-2).amax(dim=1))


def test_there_are_at_most_as_many_neighbours_as_images(bank):
    assert nearest_neighbors(bank[:3], bank, k=10)[1].shape == (50, 3)
    assert nearest_neighbors(bank[:3], k=10)[1].shape == (3, 2)
    assert nearest_neighbors(bank, bank[:0], k=10)[1].shape == (0, 10)


@pytest.mark.parametrize("settings", [{"k": 0}, {"chunk_size": 0}])
def test_a_search_needs_sensible_numbers(bank, settings):
    with pytest.raises(SimCLRError, match="must be at least 1"):
        nearest_neighbors(bank, **settings)


def test_votes_are_shares_and_the_prediction_has_most_of_them(bank):
    labels = torch.arange(50) % 4
    votes = knn_votes(bank, labels, bank, k=9)
    assert votes.shape == (50, 4)
    torch.testing.assert_close(votes.sum(dim=1), torch.ones(50))
    assert torch.equal(votes.argmax(dim=1), knn_predict(bank, labels, bank, k=9))


def test_votes_have_the_weights_of_the_papers_formula():
    bank = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), dim=1)
    similarity = torch.tensor([1.0, 0.8, 0.0])
    weight = (similarity / 0.1).exp()
    votes = knn_votes(bank, torch.tensor([0, 1, 1]), bank[:1], k=3)
    torch.testing.assert_close(votes[0], torch.stack([weight[0], weight[1] + weight[2]]) / weight.sum())


def test_an_image_has_no_vote_on_itself(bank):
    labels = torch.arange(50)  # each image has a class of its own, so that every voter is known
    itself = torch.arange(50)
    itself[::2] = -1
    votes = knn_votes(bank, labels, bank, k=1, own=itself)
    assert torch.equal(votes.argmax(dim=1)[::2], torch.arange(50)[::2])
    assert torch.equal(votes.argmax(dim=1)[1::2], nearest_neighbors(bank, k=1)[1][1::2, 0])


def test_copies_are_found_and_similar_images_are_not_taken_for_copies():
    images = load_dataset("emblems", limit=40).images
    bright = (images[5].float() * 0.6 + 30).round().to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(images[9].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=70)
    again = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    dataset = ImageDataset(torch.cat([images, bright[None], again[None]]), torch.full((42,), -1), [])
    features = dataset.images.float().flatten(1)
    pairs = near_duplicates(features - features.mean(dim=0), dataset)
    assert {(first, second) for first, second, _ in pairs} == {(5, 40), (9, 41)}
    assert all(0.98 <= alike <= 1.0001 for *_, alike in pairs)
    assert pairs[0][2] >= pairs[1][2]


def test_a_single_image_has_no_duplicate():
    dataset = load_dataset("emblems", limit=1)
    assert near_duplicates(torch.ones(1, 4), dataset) == []


# --- classes of unequal size


def test_always_the_larger_class_has_a_balanced_accuracy_of_a_half():
    labels = torch.tensor([0] * 95 + [1] * 5)
    assert balanced_accuracy(torch.zeros_like(labels), labels) == pytest.approx(0.5)
    assert balanced_accuracy(labels, labels) == 1.0
    assert balanced_accuracy(torch.tensor([0, 2]), torch.tensor([0, 2])) == 1.0  # class 1 has no image


def test_the_table_of_unequal_classes_shows_that_noise_knows_nothing():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 190 + [1] * 10)
    noise = torch.randn(2, 200, 6, generator=generator)
    row = evaluate_features(noise[0], labels, noise[1], labels, budgets=(5,), draws=1)
    assert row["knn"]["mean"] >= 0.94
    assert row["knn_balanced"]["mean"] <= 0.6
    assert {"labels_all_balanced", "labels_5_balanced", "knn_200_balanced"} <= set(row)


def test_the_table_of_equal_classes_has_no_second_accuracy():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    row = evaluate_features(features, torch.arange(40) % 2, features, torch.arange(40) % 2, budgets=(5,), draws=1)
    assert set(row) == {"knn", "knn_200", "labels_all", "labels_5"}
