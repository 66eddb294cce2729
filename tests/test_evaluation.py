"""Frozen features are judged fairly: evaluation mode, no augmentation, no look at the test set."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from simclr_lib import loop
from simclr_lib.data import ImageDataset, few_labels, split_indices
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import (
    accuracy,
    balanced_accuracy,
    evaluate_features,
    evaluating,
    extract_features,
    feature_dim,
    knn_accuracy,
    knn_predict,
    labels_needed,
    linear_probe,
    logistic,
    make_film,
    pixel_features,
    project,
    projected,
    suitable_k,
    summary,
    trustworthiness,
    votes_of_labelled,
)
from simclr_lib.evaluation.linear import fit_heads
from simclr_lib.evaluation.logistic import L2_GRID, logistic_heads
from simclr_lib.models import OutputHead, ProjectionHead, SimCLR, resnet18
from simclr_lib.training import FineTuned, fine_tune


def clusters(n, num_classes=4, dim=8, noise=1.0, seed=0):
    """Features and labels of overlapping classes, with unequal scales and an offset."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(num_classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(n) % num_classes
    features = centers[labels] + noise * torch.randn(n, dim, generator=generator)
    return features * torch.logspace(-2, 2, dim) + 3, labels


def image_set(n=20, num_classes=4, seed=0):
    """Noise, brighter for higher classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % num_classes
    noise = torch.randint(100, (n, 3, 16, 16), generator=generator)
    images = (noise + 40 * labels[:, None, None, None]).byte()
    return ImageDataset(images, labels, [f"class {i}" for i in range(num_classes)])


@pytest.fixture
def encoder():
    """A small encoder whose batch-norm statistics are those of some images, in training mode."""
    torch.manual_seed(0)
    encoder = resnet18("fast", width=4)
    with torch.no_grad():
        for _ in range(5):
            encoder.train()(torch.rand(16, 3, 16, 16))
    return encoder


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_state(module, before):
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


# --- kNN


@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_knn_is_sklearns_with_cosine_distance_and_exponential_weights(k):
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(300, 6, generator=generator), torch.randn(150, 6, generator=generator)
    labels = torch.randint(5, (300,), generator=generator)
    reference = KNeighborsClassifier(
        k,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: torch.tensor((1 - distance) / 0.1).exp().numpy(),
    ).fit(bank.numpy(), labels.numpy())
    assert (
        knn_predict(bank, labels, queries, k, temperature=0.1).tolist() == reference.predict(queries.numpy()).tolist()
    )


def test_knn_accuracy_is_the_share_of_right_predictions():
    bank, labels = clusters(200)
    queries, query_labels = clusters(61, noise=2.0, seed=1)
    right = (knn_predict(bank, labels, queries, 20) == query_labels).double().mean().item()
    assert 0.2 < right < 1
    assert knn_accuracy(bank, labels, queries, query_labels) == pytest.approx(right)


def test_knn_with_k_above_the_bank_uses_the_whole_bank():
    bank, labels = clusters(12)
    queries, _ = clusters(30, seed=1)
    assert torch.equal(knn_predict(bank, labels, queries, k=500), knn_predict(bank, labels, queries, k=12))


def test_knn_of_one_query_is_that_of_the_query_among_others():
    bank, labels = clusters(100)
    queries, _ = clusters(30, noise=2.0, seed=1)
    together = knn_predict(bank, labels, queries)
    assert [knn_predict(bank, labels, q[None]).item() for q in queries] == together.tolist()


def test_knn_with_a_bank_of_one_gives_its_label():
    assert knn_predict(torch.ones(1, 3), torch.tensor([2]), torch.randn(4, 3)).tolist() == [2] * 4


def test_knn_does_not_depend_on_the_chunk_size():
    bank, labels = clusters(100)
    queries, _ = clusters(50, noise=2.0, seed=1)
    assert torch.equal(knn_predict(bank, labels, queries, chunk_size=7), knn_predict(bank, labels, queries))


def test_knn_never_predicts_a_class_that_the_bank_does_not_have():
    bank, labels = clusters(90, num_classes=3)
    labels = labels * 2  # classes 0, 2 and 4
    queries, query_labels = clusters(30, num_classes=3, seed=1)
    assert set(knn_predict(bank, labels, queries).tolist()) <= {0, 2, 4}
    assert knn_accuracy(bank, labels, queries, query_labels * 0 + 7) == 0


@pytest.mark.parametrize("temperature", [1e-4, 1e-8])
def test_knn_at_a_low_temperature_is_the_nearest_neighbour_and_does_not_overflow(temperature):
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(100, 16, generator=generator), torch.randn(50, 16, generator=generator)
    labels = torch.arange(100)  # every neighbour votes for a class of its own
    nearest = knn_predict(bank, labels, queries, k=1)
    assert torch.equal(knn_predict(bank, labels, queries, 50, temperature), nearest)


def test_knn_compares_directions_and_not_lengths():
    bank, labels = clusters(100)
    queries, _ = clusters(50, seed=1)
    longer = bank * torch.logspace(-2, 2, 100)[:, None]
    assert torch.equal(knn_predict(longer, labels, 5 * queries), knn_predict(bank, labels, queries))


def fifteen_and_three():
    """Features of 15 images of class 0, which are much alike, and of 3 of class 1 with a copy of each."""
    torch.manual_seed(0)
    centres = torch.tensor([[1.0, 0.25, 0, 0], [1.0, -0.25, 0, 0]])  # a cosine similarity of 0.88
    a, b = (centre + 0.02 * torch.randn(count, 4) for centre, count in zip(centres, (15, 3), strict=True))
    return torch.cat([a, b, b]), torch.tensor([0] * 15 + [1] * 3 + [-1] * 3)


def test_few_labels_of_a_class_are_not_outvoted_by_many_of_another():
    features, labels = fifteen_and_three()
    assert suitable_k(labels) == 3
    assert votes_of_labelled(features, labels, 20).argmax(dim=1).tolist() == [0] * 21
    assert votes_of_labelled(features, labels).argmax(dim=1).tolist() == [0] * 15 + [1] * 6
    assert suitable_k(torch.tensor([0] * 50 + [2] * 30 + [-1] * 3)) == 20


def test_an_image_has_no_vote_on_itself():
    features = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1.0, 0], [0, 0.9, 0.1]])
    labels = torch.tensor([0, 1, 1, 0])  # the nearest other image has the other label
    assert votes_of_labelled(features, labels, 1).argmax(dim=1).tolist() == [1, 0, 0, 1]
    with pytest.raises(SimCLRError, match="two classes or more"):
        votes_of_labelled(features, torch.tensor([0, 0, -1, -1]))


def test_knn_refuses_an_empty_bank_and_queries_of_another_length():
    with pytest.raises(SimCLRError, match="bank must have at least 1 row"):
        knn_predict(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(2, 3))
    with pytest.raises(SimCLRError, match=r"queries must be \[N, 3\], not \[2, 5\]"):
        knn_predict(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), torch.zeros(2, 5))


def test_knn_of_no_queries_predicts_nothing():
    bank, labels = clusters(12)
    assert knn_predict(bank, labels, bank[:0]).shape == (0,)


@pytest.mark.parametrize("settings", [{"k": 0}, {"temperature": 0.0}, {"temperature": -0.1}, {"chunk_size": 0}])
def test_knn_refuses_settings_that_would_silently_give_nonsense(settings):
    bank, labels = clusters(12)
    with pytest.raises(SimCLRError, match=next(iter(settings))):
        knn_predict(bank, labels, bank, **settings)


# --- linear probe


@pytest.mark.parametrize(
    ("l2", "dim", "noise"),
    [(1e-1, 8, 1.0), (1e-3, 8, 1.0), (1e-1, 600, 12.0), (1e-2, 600, 12.0)],  # the last two: fewer labels than numbers
)
def test_probe_is_sklearns_logistic_regression_on_standardised_features(l2, dim, noise):
    train, train_labels = clusters(400, dim=dim, noise=noise)
    test, test_labels = clusters(101, dim=dim, noise=noise, seed=1)
    result = linear_probe(train, train_labels, test, test_labels, l2=l2)

    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
    reference = LogisticRegression(C=1 / (400 * l2), tol=1e-8, max_iter=5000)
    reference.fit(((train - mean) / std).numpy(), train_labels.numpy())
    expected = torch.from_numpy(reference.predict_proba(((test - mean) / std).numpy())).float()
    torch.testing.assert_close(result.head(test).softmax(dim=1), expected, rtol=0, atol=2e-3)
    right = reference.score(((test - mean) / std).numpy(), test_labels.numpy())
    assert 0.5 < right < 1
    assert result.accuracy == pytest.approx(right, abs=1 / 101)


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
def test_probes_head_takes_features_as_they_come_from_the_encoder(method):
    train, train_labels = clusters(200)
    test, test_labels = clusters(101, seed=1)
    result = linear_probe(train, train_labels, test, test_labels, method)
    predicted = result.head(test).argmax(dim=1)
    assert result.accuracy == pytest.approx((predicted == test_labels).double().mean().item())
    assert result.accuracy > 0.5


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
def test_probe_does_not_depend_on_the_features_scale_and_offset(method):
    train, train_labels = clusters(200)
    test, test_labels = clusters(101, seed=1)
    scaled = linear_probe(7 * train - 20, train_labels, 7 * test - 20, test_labels, method)
    plain = linear_probe(train, train_labels, test, test_labels, method)
    torch.testing.assert_close(scaled.head(7 * test - 20), plain.head(test), rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
def test_probe_learns_what_is_separable(method):
    train, train_labels = clusters(300, noise=0.05)
    test, test_labels = clusters(100, noise=0.05, seed=1)
    assert linear_probe(train, train_labels, test, test_labels, method).accuracy == 1


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
def test_probe_never_looks_at_the_test_set(method):
    train, train_labels = clusters(200, noise=2.0)
    test, test_labels = clusters(100, noise=2.0, seed=1)
    plain = linear_probe(train, train_labels, test, test_labels, method)
    other = linear_probe(train, train_labels, -9 * test[:50], test_labels[:50].flip(0), method)
    assert other.accuracy != plain.accuracy
    assert (other.l2, other.validation) == (plain.l2, plain.validation)
    assert_same_state(other.head, state(plain.head))


def test_probe_takes_the_l2_strength_that_does_best_on_the_validation_splits():
    train, train_labels = clusters(120, dim=30, noise=4.0)
    result = linear_probe(train, train_labels, train, train_labels)
    tried = list(result.validation.values())
    assert tuple(result.validation) == L2_GRID[: len(tried)]  # from strong to weak, until it overfits
    assert len(set(tried)) > 1
    assert result.l2 == L2_GRID[tried.index(max(tried))]  # the strongest of the best
    refitted = linear_probe(train, train_labels, train, train_labels, l2=result.l2)
    torch.testing.assert_close(result.head.weight, refitted.head.weight, rtol=0, atol=0.01)  # started elsewhere
    assert refitted.validation is None


@pytest.mark.parametrize("count", [60, 3000])  # fewer rows than numbers, and one validation split instead of five
def test_probes_that_are_solved_together_are_those_of_each_data_set_alone(count):
    parts = [clusters(count, dim=80, noise=noise, seed=seed) for seed, noise in enumerate((4.0, 6.0, 9.0))]
    together = fit_heads(torch.stack([x for x, _ in parts]), torch.stack([y for _, y in parts]), num_classes=4)
    for (head, l2, validation), (features, labels) in zip(together, parts, strict=True):
        alone = linear_probe(features, labels, features, labels, l2=l2)
        torch.testing.assert_close(head(features).softmax(1), alone.head(features).softmax(1), rtol=0, atol=0.01)
        assert l2 == max(validation, key=lambda strength: (validation[strength], strength))


@pytest.mark.parametrize("dim", [40, 700])  # more directions than the solver knows the curvature of
def test_probe_reaches_a_minimum_of_its_objective(dim):
    features, labels = clusters(900, dim=dim, noise=9.0)
    head, l2, _ = fit_heads(features[None], labels[None], num_classes=4, l2=1e-2)[0]
    standardised = ((features - features.mean(0)) / features.std(0, correction=0)).double()
    weight = (head.weight * features.std(0, correction=0)).detach().double().requires_grad_()
    bias = (head.bias + head.weight @ features.mean(0)).detach().double().requires_grad_()
    loss = nn.functional.cross_entropy(standardised @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
    loss.backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-3


def test_the_solver_of_the_probe_leaves_the_global_random_numbers_alone():
    train, train_labels = clusters(60)
    before = torch.get_rng_state()
    logistic_heads(train[None], train_labels[None], num_classes=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_that_are_too_small_to_be_divided_take_one_core_and_leave_the_others_as_they_were(monkeypatch):
    seen, threads = [], torch.get_num_threads()
    for module, step in ((logistic, "_logits"), (loop, "train_step")):
        original = getattr(module, step)
        monkeypatch.setattr(module, step, lambda *a, f=original: seen.append(torch.get_num_threads()) or f(*a))
    torch.set_num_threads(2)
    try:
        for count, method, expected in ((60, "lbfgs", 1), (3_000, "lbfgs", 2), (60, "sgd", 1)):
            features, labels = torch.randn(count, 256), torch.arange(count) % 20
            linear_probe(features, labels, features[:20], labels[:20], method=method)
            assert set(seen) == {expected}
            assert torch.get_num_threads() == 2
            seen.clear()
    finally:
        torch.set_num_threads(threads)


def test_probe_on_noise_prefers_a_strong_penalty():
    generator = torch.Generator().manual_seed(0)
    noise, labels = torch.randn(60, 100, generator=generator), torch.arange(60) % 2
    noise[:, 0] += 2 * labels  # one feature in a hundred says something
    assert linear_probe(noise, labels, noise, labels).l2 >= 1e-2


def test_every_test_image_counts():
    train, train_labels = clusters(100, noise=0.01)
    test, test_labels = clusters(7, noise=0.01, seed=1)
    test_labels[-1] = 0 if test_labels[-1] else 1  # the last one cannot be right
    assert linear_probe(train, train_labels, test, test_labels).accuracy == pytest.approx(6 / 7)


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
def test_probe_copes_with_classes_missing_from_the_training_set(method):
    train, train_labels = clusters(90, num_classes=3, noise=0.05)
    test, test_labels = clusters(30, num_classes=3, noise=0.05, seed=1)
    result = linear_probe(train, train_labels, test, test_labels, method, num_classes=6)
    assert result.head.weight.shape == (6, 8)
    assert result.accuracy == 1
    test_labels[:3] = 4  # a class that only the test set has: these three are wrong, and no more
    assert linear_probe(train, train_labels, test, test_labels, method).accuracy == pytest.approx(0.9)


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
@pytest.mark.parametrize("per_class", [1, 2])
def test_probe_copes_with_one_or_two_labels_a_class(method, per_class):
    train, train_labels = clusters(4 * per_class, noise=0.05)
    test, test_labels = clusters(40, noise=0.05, seed=1)
    result = linear_probe(train, train_labels, test, test_labels, method)
    assert result.accuracy > 0.9
    if method == "lbfgs":
        assert result.l2 == max(L2_GRID)  # nothing to validate on: the strongest penalty


def test_probe_copes_with_constant_features():
    train, train_labels = clusters(100, noise=0.05)
    test, test_labels = clusters(40, noise=0.05, seed=1)
    train[:, 0] = test[:, 0] = 5.0
    result = linear_probe(train, train_labels, test, test_labels)
    assert result.head.weight.isfinite().all()
    assert result.accuracy > 0.9


def test_probe_of_one_test_image():
    train, train_labels = clusters(100, noise=0.05)
    assert linear_probe(train, train_labels, train[:1], train_labels[:1]).accuracy == 1


def test_probe_refuses_unknown_methods_and_labels_that_do_not_match():
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match="unknown probe method 'lbfsg': did you mean 'lbfgs'"):
        linear_probe(features, labels, features, labels, "lbfsg")
    with pytest.raises(SimCLRError, match=r"train_labels must be int64 \[20\].*not int64 \[19\]"):
        linear_probe(features, labels[1:], features, labels)


@pytest.mark.parametrize("l2", [-0.1, float("nan"), float("inf")])
def test_probe_refuses_a_penalty_that_is_not_a_number_of_at_least_0(l2):
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match="l2 must be"):
        linear_probe(features, labels, features, labels, l2=l2)


def test_probe_refuses_a_seed_that_no_generator_takes():
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match="seed must be"):
        linear_probe(features, labels, features, labels, seed=2**70)


@pytest.mark.parametrize("method", ["lbfgs", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_probe_takes_features_of_any_precision(method, dtype):
    train, train_labels = clusters(100, noise=0.05)
    assert linear_probe(train.to(dtype), train_labels, train.to(dtype), train_labels, method).accuracy == 1


# --- features and labels that would silently give nonsense


def knn(bank, bank_labels, queries, query_labels):
    return knn_accuracy(bank, bank_labels, queries, query_labels)


MEASURES = [knn, linear_probe, evaluate_features]


def damaged(features, value):
    features = features.clone()
    features[3, 1] = value
    return features


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("position", [0, 2])
def test_features_that_are_not_finite_are_refused(measure, value, position):
    features, labels = clusters(20)
    arguments = [features, labels, features, labels]
    arguments[position] = damaged(features, value)
    with pytest.raises(SimCLRError, match="must be finite: 1 of 20 rows"):
        measure(*arguments)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("position", [0, 2])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda features: features[0], r"must be \[N, .*not \[8\]"),
        (lambda features: features[:, :, None], r"must be \[N, .*not \[20, 8, 1\]"),
        (lambda features: features[:, :0], r"must be \[N, .*not \[20, 0\]"),
        (lambda features: features[:0], "must have at least 1 row"),
        (lambda features: features.numpy(), r"must be a tensor, not numpy\.ndarray"),
        (lambda features: features.to(torch.complex64), "must be real numbers, not torch.complex64"),
    ],
    ids=["1-D", "3-D", "no columns", "no rows", "NumPy", "complex"],
)
def test_features_of_another_form_are_refused_by_name(measure, position, change, message):
    features, labels = clusters(20)
    arguments = [features, labels, features, labels]
    arguments[position] = change(features)
    with pytest.raises(SimCLRError, match=message):
        measure(*arguments)


@pytest.mark.parametrize("measure", MEASURES)
def test_features_of_another_width_are_refused(measure):
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match=r"must be \[N, 8\], not \[20, 7\]"):
        measure(features, labels, features[:, :7], labels)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("position", [1, 3])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:, None], r"must be int64 \[20\].*not int64 \[20, 1\]"),
        (lambda labels: labels[:1], r"must be int64 \[20\].*not int64 \[1\]"),
        (lambda labels: labels[0], r"must be int64 \[20\].*not int64 \[\]"),
        (lambda labels: labels.int(), r"must be int64 \[20\].*not int32 \[20\]"),
        (lambda labels: labels.float(), r"must be int64 \[20\].*not float32 \[20\]"),
        (lambda labels: labels - 1, "must be 0 or more, not -1"),
        (lambda labels: labels.numpy(), r"must be a tensor, not numpy\.ndarray"),
        (lambda labels: labels.tolist(), "must be a tensor, not list"),
    ],
    ids=["column", "one", "scalar", "int32", "float", "-1", "NumPy", "list"],
)
def test_labels_of_another_form_are_refused_by_name(measure, position, change, message):
    features, labels = clusters(20)
    arguments = [features, labels, features, labels]
    arguments[position] = change(labels)
    with pytest.raises(SimCLRError, match=f"labels {message}"):
        measure(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:, None], r"int64 \[(N|20)\], not int64 \[20, 1\]"),
        (lambda labels: labels.int(), r"int64 \[(N|20)\], not int32 \[20\]"),
        (lambda labels: labels.float(), r"int64 \[(N|20)\], not float32 \[20\]"),
        (lambda labels: labels - 2, "0 or more, (or -1 where there is no label, )?not -2"),
        (lambda labels: labels.numpy(), r"a tensor, not numpy\.ndarray"),
        (lambda labels: labels.tolist(), "a tensor, not list"),
    ],
    ids=["column", "int32", "float", "-2", "NumPy", "list"],
)
@pytest.mark.parametrize(
    "measure",
    [
        lambda features, true, labels: votes_of_labelled(features, labels),
        lambda features, true, labels: suitable_k(labels),
        lambda features, true, labels: balanced_accuracy(labels, true),
        lambda features, true, labels: balanced_accuracy(true, labels),
    ],
    ids=["votes_of_labelled", "suitable_k", "predicted", "true"],
)
def test_votes_and_balanced_accuracies_take_labels_only(measure, change, message):
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match=f"must be {message}"):
        measure(features, labels, change(labels))


def test_every_row_of_features_has_its_label_and_every_label_its_prediction():
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match=r"labels must be int64 \[20\], not int64 \[19\]"):
        votes_of_labelled(features, labels[:19])
    with pytest.raises(SimCLRError, match=r"labels must be int64 \[20\], not int64 \[19\]"):
        balanced_accuracy(labels, labels[:19])
    with pytest.raises(SimCLRError, match="at least one image"):
        balanced_accuracy(labels[:0], labels[:0])


@pytest.mark.parametrize("position", [1, 3])
def test_labels_above_the_number_of_classes_are_refused(position):
    features, labels = clusters(20)
    arguments = [features, labels, features, labels]
    arguments[position] = labels + 2
    with pytest.raises(SimCLRError, match="labels must be below the number of classes, 4, not 5"):
        linear_probe(*arguments, num_classes=4)


@pytest.mark.parametrize("settings", [{"budgets": (0,)}, {"budgets": (10, -1)}, {"draws": 0}])
def test_table_refuses_budgets_and_draws_below_1(settings):
    features, labels = clusters(20)
    with pytest.raises(SimCLRError, match="must be at least 1"):
        evaluate_features(features, labels, features, labels, **settings)


def test_a_summary_of_nothing_and_labels_needed_of_nothing_are_refused():
    with pytest.raises(SimCLRError, match="at least one value"):
        summary([])
    for accuracies in ({}, {0: 0.5, 10: 0.9}):
        with pytest.raises(SimCLRError, match="budgets above 0"):
            labels_needed(accuracies, 0.7)


@pytest.mark.parametrize(("accuracy", "target"), [(math.nan, 0.7), (math.inf, 0.7), (0.9, math.nan)])
def test_labels_needed_are_those_of_finite_accuracies(accuracy, target):
    with pytest.raises(SimCLRError, match="finite accuracies and a finite target"):
        labels_needed({10: accuracy, 20: 0.5}, target)


# --- features


def test_features_are_those_of_evaluation_mode_and_without_augmentation(encoder):
    dataset = image_set()
    features = extract_features(encoder, dataset, precision="fp32")
    with torch.no_grad():
        expected = encoder.eval()(dataset.images / 255)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_features_in_bf16_differ_by_its_rounding(encoder):
    features, rounded = (extract_features(encoder, image_set(), precision=precision) for precision in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32
    error = (rounded - features).norm() / features.norm()
    assert 1e-4 < error < 2**-5  # twenty layers round to 2⁻⁹ each


def test_training_mode_would_give_other_features_that_depend_on_the_batch(encoder):
    """The trap: batch norm in training mode mixes the images of a batch."""
    images = image_set().images / 255
    with torch.no_grad():
        in_evaluation = extract_features(encoder, images, precision="fp32")
        in_training = encoder.train()(images)
        alone = encoder.train()(images[:4])
    assert (in_training - in_evaluation).abs().max() > 0.05
    assert (alone - in_training[:4]).abs().max() > 0.05


def test_extracting_features_leaves_mode_weights_and_statistics_as_they_were(encoder):
    before = state(encoder)
    encoder.train()
    extract_features(encoder, image_set(), precision="fp32")
    assert encoder.training
    assert encoder.bn1.training
    assert_same_state(encoder, before)
    encoder.eval()
    extract_features(encoder, image_set(), precision="fp32")
    assert not encoder.training


def test_extracting_features_leaves_the_mode_of_each_layer_as_it_was(encoder):
    encoder.train()
    encoder.bn1.eval()  # frozen by hand, as some fine-tuning does
    extract_features(encoder, image_set(), precision="fp32")
    assert encoder.layer1.training
    assert not encoder.bn1.training


def test_evaluating_restores_the_mode_after_an_error(encoder):
    encoder.train()

    def interrupted():
        with evaluating(encoder):
            assert not encoder.training
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert encoder.training


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_features_do_not_depend_on_the_batch_size_nor_lose_the_last_batch(encoder, batch_size):
    dataset = image_set(20)
    features = extract_features(encoder, dataset, batch_size, precision="fp32")
    assert len(features) == 20
    expected = extract_features(encoder, dataset, precision="fp32")
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_features_come_in_the_order_of_the_images(encoder):
    dataset = image_set(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    features = extract_features(encoder, dataset, 6, precision="fp32")
    shuffled = extract_features(encoder, dataset.subset(order), 6, precision="fp32")
    torch.testing.assert_close(shuffled, features[order], rtol=1e-5, atol=1e-5)


def test_features_of_a_data_set_its_images_and_its_images_as_floats_are_the_same(encoder):
    dataset = image_set()
    features = extract_features(encoder, dataset, precision="fp32")
    assert torch.equal(extract_features(encoder, dataset.images, precision="fp32"), features)
    assert torch.equal(extract_features(encoder, dataset.images.float() / 255, precision="fp32"), features)


@pytest.mark.parametrize("take", [lambda images: extract_features(nn.Flatten(), images), pixel_features])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (255 * torch.rand(4, 3, 8, 8), "must be in 0…1"),
        (torch.rand(4, 3, 8, 8) - 0.5, "must be in 0…1"),
        (torch.full((4, 3, 8, 8), float("nan")), "nan…nan"),
        (torch.ones(4, 3, 8, 8, dtype=torch.int64), "not torch.int64"),
        (torch.rand(4, 1, 8, 8), r"must be \[N, 3, H, W\], not \[4, 1, 8, 8\]"),
        (torch.rand(3, 8, 8), r"must be \[N, 3, H, W\], not \[3, 8, 8\]"),
        (np.zeros((4, 3, 8, 8), dtype=np.uint8), r"must be a tensor, not numpy\.ndarray"),
    ],
    ids=["0…255", "normalised", "NaN", "int64", "one channel", "one image", "NumPy"],
)
def test_features_of_images_outside_the_documented_range_are_refused(take, images, message):
    with pytest.raises(SimCLRError, match=message):
        take(images)


def test_features_of_no_images_or_in_batches_of_0_are_refused(encoder):
    with pytest.raises(SimCLRError, match="at least one image"):
        extract_features(encoder, image_set().images[:0])
    with pytest.raises(SimCLRError, match="batch_size must be at least 1, not 0"):
        extract_features(encoder, image_set(), batch_size=0)


def test_an_encoder_without_parameters_has_features():
    images = image_set().images
    torch.testing.assert_close(extract_features(nn.Flatten(), images, precision="fp32"), pixel_features(images))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Conv2d(3, 4, 3), r"must return features \[20, D\] for 20 images, not \[20, 4, 14, 14\]"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(20 * 3 * 16 * 16, 5)), r"not \[5\]"),
        (SimCLR(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)), "not tuple"),  # its encoder is meant
    ],
)
def test_an_encoder_that_returns_no_features_is_refused(encoder, message):
    with pytest.raises(SimCLRError, match=message):
        extract_features(encoder, image_set(), precision="fp32")


def test_feature_dim_is_the_length_of_the_features_and_leaves_the_encoder_as_it_was(encoder):
    before = state(encoder)
    encoder.train()
    assert feature_dim(encoder, 16) == encoder.feature_dim == 32
    assert encoder.training
    assert_same_state(encoder, before)
    assert feature_dim(nn.Flatten(), 5) == 75


def test_features_need_no_gradient(encoder):
    assert not extract_features(encoder, image_set()).requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("writable", [True, False])
def test_numba_gets_a_folder_where_it_could_write_nowhere(tmp_path, monkeypatch, writable):
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # is restored afterwards
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr("simclr_lib.evaluation.projection.is_writable", lambda folder: writable)
    assert project(torch.randn(30, 4, generator=torch.Generator().manual_seed(0))).isfinite().all()
    assert os.environ.get("NUMBA_CACHE_DIR") == (None if writable else str(tmp_path / "numba"))


@pytest.mark.slow
def test_the_next_process_finds_what_umap_has_compiled():
    project(clusters(30)[0])
    from umap import umap_

    for name in ("fast_knn_indices", "smooth_knn_dist", "compute_membership_strengths"):
        function = getattr(umap_, name)
        assert function.signatures  # it was compiled, or found
        assert list(Path(function.stats.cache_path or "nowhere").glob(f"*{name}*.nbc"))


@pytest.mark.parametrize("take", [lambda images: extract_features(nn.Flatten(), images), pixel_features])
def test_no_images_have_no_features(take):
    with pytest.raises(SimCLRError, match="_features needs at least one image"):
        take(torch.zeros(0, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_embeddings_are_those_of_finite_features(value):
    model = SimCLR(resnet18(width=4), ProjectionHead(32, 16, 8))
    h = torch.zeros(5, 32)
    assert projected(model, h).shape == (5, 8)
    h[3, 1] = value
    with pytest.raises(SimCLRError, match="h must be finite: 1 of 5 rows have NaN or infinity"):
        projected(model, h)


def test_pixel_features_of_large_images_are_averaged_down():
    images = torch.rand(3, 3, 64, 64)
    averaged = images.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    torch.testing.assert_close(pixel_features(images), averaged.flatten(1))


def test_three_images_are_too_few_for_a_picture():
    with pytest.raises(SimCLRError, match="at least 4 rows, not 3"):
        project(torch.rand(3, 8))
    assert project(torch.rand(4, 8), method="pca").shape == (4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_a_projection_leaves_pytorch_the_threads_that_it_had(method):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        project(clusters(30)[0], method)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.randn(3, 2), r"start must be \[30, 2\], .*not \[3, 2\]"),
        (torch.randn(31, 2), r"start must be \[30, 2\], .*not \[31, 2\]"),
        (torch.randn(30, 3), r"start must be \[N, 2\], not \[30, 3\]"),
        (torch.randn(60), r"start must be \[N, 2\], not \[60\]"),
        (torch.full((30, 2), float("nan")), "start must be finite: 30 of 30 rows"),
        (torch.full((30, 2), 1e300, dtype=torch.float64), "start must be finite: 30 of 30 rows"),
        (torch.zeros(30, 2), "start must have some extent"),
        (np.zeros((30, 2)), r"start must be a tensor, not numpy\.ndarray"),
    ],
    ids=["too few", "too many", "3-D points", "flat", "NaN", "beyond float32", "one point", "NumPy"],
)
def test_a_picture_that_starts_nowhere_is_refused_rather_than_crashing(method, start, message):
    with pytest.raises(SimCLRError, match=message):
        project(clusters(30)[0], method, start=start)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbors": 1}, "neighbors must be at least 2"),
        ({"method": "tnse"}, "unknown projection 'tnse': did you mean 'tsne'"),
        ({"seed": 2**70}, "seed must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_senseless_settings_of_a_picture_are_refused(settings, message):
    with pytest.raises(SimCLRError, match=message):
        project(clusters(30)[0], **settings)


def test_pictures_of_features_that_are_not_finite_are_refused():
    features, picture = clusters(30)[0], torch.rand(30, 2)
    with pytest.raises(SimCLRError, match="features must be finite"):
        project(damaged(features, float("nan")), "pca")
    with pytest.raises(SimCLRError, match="features must be finite"):
        trustworthiness(damaged(features, float("nan")), picture)
    with pytest.raises(SimCLRError, match="picture must be finite"):
        trustworthiness(features, damaged(picture, float("nan")))
    with pytest.raises(SimCLRError, match=r"picture must be \[30, 2\], .*not \[29, 2\]"):
        trustworthiness(features, picture[:29])


def test_features_of_one_number_have_no_picture():
    with pytest.raises(SimCLRError, match="one number each"):
        project(torch.rand(12, 1))


def test_the_largest_seed_makes_a_picture_and_larger_ones_are_refused():
    assert project(clusters(12)[0], "tsne", seed=2**32 - 1).shape == (12, 2)
    with pytest.raises(SimCLRError, match="seed must be between 0 and 4,294,967,295"):
        project(clusters(12)[0], "tsne", seed=2**32)


def test_a_film_needs_frames_of_the_same_images():
    features = clusters(12)[0]
    with pytest.raises(SimCLRError, match="no frames"):
        make_film("h", {}, method="pca")
    with pytest.raises(SimCLRError, match=r"same number of images, not \[11, 12\]"):
        make_film("h", {"epoch 1": features[:11], "epoch 2": features}, method="pca")
    with pytest.raises(SimCLRError, match=r"last must be \[12, 2\]"):
        make_film("h", {"epoch 1": features}, last=torch.zeros(11, 2), method="pca")


def test_pixel_features_are_the_images_flattened():
    dataset = image_set()
    torch.testing.assert_close(pixel_features(dataset), dataset.images.reshape(20, -1) / 255)


# --- fine-tuning


def test_fine_tuning_leaves_the_given_encoder_as_it_was(encoder):
    encoder.train()
    before = state(encoder)
    classifier, _ = fine_tune(encoder, image_set(40), image_set(20, seed=1), epochs=2, precision="fp32")
    assert encoder.training
    assert_same_state(encoder, before)
    assert not torch.equal(classifier.encoder.conv1.weight, encoder.conv1.weight)


def test_fine_tuning_learns_and_is_tested_in_evaluation_mode(encoder):
    test = image_set(40, num_classes=2, seed=1)
    classifier, right = fine_tune(
        encoder, image_set(64, num_classes=2), test, epochs=10, batch_size=16, lr=0.05, precision="fp32"
    )
    assert not classifier.training
    assert right == accuracy(classifier, test, precision="fp32")
    assert right > 0.9


def test_fine_tuning_with_fewer_images_than_a_batch_uses_all_of_them(encoder):
    _, right = fine_tune(encoder, image_set(6), image_set(8), epochs=1, batch_size=256, precision="fp32")
    assert 0 <= right <= 1


def test_fine_tuned_is_a_pair_with_names(encoder):
    tuned = fine_tune(encoder, image_set(6), image_set(8), epochs=1, precision="fp32")
    assert isinstance(tuned, FineTuned)
    classifier, right = tuned
    assert classifier is tuned.classifier
    assert right == tuned.accuracy == tuned[1]


def test_fine_tuning_starts_from_the_head_that_it_is_given(encoder):
    train, test = image_set(40, num_classes=2), image_set(20, num_classes=2, seed=1)
    head = OutputHead(encoder.feature_dim, 2)
    before = state(head)
    still, moved = (fine_tune(encoder, train, test, 1, 40, lr, precision="fp32", head=head) for lr in (1e-12, 0.1))
    torch.testing.assert_close(still.classifier.head.weight, head.weight)
    assert not torch.equal(moved.classifier.head.weight, head.weight)
    assert_same_state(head, before)


def test_fine_tuning_refuses_a_head_for_other_features_or_classes(encoder):
    with pytest.raises(SimCLRError, match=r"the head must be for \d+ features and 2 classes, not 3 and 4"):
        fine_tune(encoder, image_set(6, num_classes=2), image_set(8, num_classes=2), epochs=1, head=OutputHead(3, 4))


def test_torchvisions_resnet_can_be_fine_tuned():
    encoder = torchvision.models.resnet18()
    tuned = fine_tune(encoder, image_set(6), image_set(8), epochs=1, precision="fp32")
    assert tuned.classifier.head.in_features == 1000  # it has no ``feature_dim``: its outputs are its features
    assert 0 <= tuned.accuracy <= 1


def test_any_network_that_returns_features_can_be_fine_tuned():
    encoder = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten())
    tuned = fine_tune(encoder, image_set(6), image_set(8), epochs=1, precision="fp32")
    assert tuned.classifier.head.in_features == 5 * 7 * 7


def test_fine_tuning_refuses_an_encoder_without_parameters_or_features(encoder):
    with pytest.raises(SimCLRError, match="an encoder with parameters"):
        fine_tune(nn.Flatten(), image_set(6), image_set(8), epochs=1)
    with pytest.raises(SimCLRError, match="must return features"):
        fine_tune(nn.Conv2d(3, 4, 3), image_set(6), image_set(8), epochs=1)
    for train, test, name in ((0, 8, "train"), (6, 0, "test")):
        with pytest.raises(SimCLRError, match=f"at least one image in {name}"):
            fine_tune(encoder, image_set(train), image_set(test), epochs=1)
    with pytest.raises(SimCLRError, match="seed must be"):
        fine_tune(encoder, image_set(6), image_set(8), epochs=1, seed=2**70)


def test_accuracy_refuses_labels_that_the_classifier_does_not_have():
    dataset = image_set(8)
    classifier = nn.Sequential(nn.Flatten(), OutputHead(3 * 16 * 16, 3))
    with pytest.raises(SimCLRError, match="labels must be below the number of classes, 3, not 3"):
        accuracy(classifier, dataset, precision="fp32")
    unlabelled = ImageDataset(dataset.images, torch.full((8,), -1), dataset.classes)
    with pytest.raises(SimCLRError, match="labels must be 0 or more, not -1"):
        accuracy(classifier, unlabelled, precision="fp32")


def test_accuracy_refuses_a_classifier_that_has_diverged():
    classifier = nn.Sequential(nn.Flatten(), OutputHead(3 * 16 * 16, 4))
    nn.init.constant_(classifier[1].weight, float("nan"))
    with pytest.raises(SimCLRError, match="logits must be finite"):
        accuracy(classifier, image_set(8), precision="fp32")


def test_accuracy_counts_every_image():
    class Brightest(nn.Module):
        """Logits of two classes: dark and bright."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images):
            brightness = self.scale * images.mean(dim=(1, 2, 3))
            return torch.stack([0.5 - brightness, brightness - 0.5], dim=1)

    images = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    images[2:] = 255
    dataset = ImageDataset(images, torch.tensor([0, 0, 1, 1, 0]), ["dark", "bright"])
    assert accuracy(Brightest(), dataset, precision="fp32") == pytest.approx(0.8)


# --- splits and budgets

label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=60)


@given(labels=label_lists, fraction=st.floats(0, 1), seed=st.integers(0, 1000))
def test_split_puts_every_image_in_one_part_and_the_same_share_of_every_class(labels, fraction, seed):
    labels = torch.tensor(labels)
    first, second = split_indices(labels, fraction, seed)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(labels)))
    assert first.tolist() == sorted(first.tolist())
    assert second.tolist() == sorted(second.tolist())
    for label in labels.unique():
        size = int((labels == label).sum())
        assert (labels[second] == label).sum() == round(fraction * size)
    again, _ = split_indices(labels, fraction, seed)
    assert torch.equal(first, again)


@given(labels=label_lists, per_class=st.integers(1, 12), seed=st.integers(0, 1000))
def test_few_labels_are_that_many_of_every_class_that_has_them(labels, per_class, seed):
    labels = torch.tensor(labels)
    picked = few_labels(labels, per_class, seed)
    assert picked.tolist() == sorted(set(picked.tolist()))
    for label in labels.unique():
        size = int((labels == label).sum())
        assert (labels[picked] == label).sum() == min(per_class, size)
    assert torch.equal(picked, few_labels(labels, per_class, seed))


def test_other_seeds_choose_other_images():
    labels = torch.arange(200) % 4
    assert not torch.equal(few_labels(labels, 5, seed=0), few_labels(labels, 5, seed=1))
    assert not torch.equal(split_indices(labels, 0.3, seed=0)[1], split_indices(labels, 0.3, seed=1)[1])


def test_choosing_labels_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    few_labels(torch.arange(50) % 4, 5)
    split_indices(torch.arange(50) % 4, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_table_leaves_out_budgets_that_the_training_set_does_not_have():
    train, train_labels = clusters(48, num_classes=4)  # 12 images a class
    test, test_labels = clusters(20, seed=1)
    table = evaluate_features(train, train_labels, test, test_labels, budgets=(2, 12, 13), draws=2)
    assert list(table) == ["knn", "knn_200", "labels_all", "labels_2", "labels_12"]
    assert all(0 <= table[name]["mean"] <= 1 for name in table)
    assert len(table["labels_2"]["values"]) == 2


def test_table_has_the_figures_of_knn_and_probe():
    train, train_labels = clusters(240)
    test, test_labels = clusters(41, noise=2.0, seed=1)
    table = evaluate_features(train, train_labels, test, test_labels, budgets=(5,), draws=3)
    assert table["knn"]["mean"] == knn_accuracy(train, train_labels, test, test_labels, k=20)
    assert table["knn_200"]["mean"] == knn_accuracy(train, train_labels, test, test_labels, k=200)
    assert table["knn_200"] != table["knn"]
    assert table["labels_all"]["mean"] == linear_probe(train, train_labels, test, test_labels).accuracy
    for draw, value in enumerate(table["labels_5"]["values"]):
        rows = few_labels(train_labels, 5, seed=draw)
        alone = linear_probe(train[rows], train_labels[rows], test, test_labels).accuracy
        assert value == pytest.approx(alone, abs=1 / 41)  # solved together: rounding may turn one image


def test_summary_has_mean_and_sample_deviation():
    figure = summary([0.1, 0.2, 0.6])
    assert figure["mean"] == pytest.approx(0.3)
    assert figure["std"] == pytest.approx(0.07**0.5)
    assert figure["values"] == [0.1, 0.2, 0.6]
    assert summary([0.4])["std"] == 0
