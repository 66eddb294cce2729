"""The measurements of every comparison: kNN and linear probe, with all labels and with few."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from simclr_lib.data import few_labels
from simclr_lib.data.labels import check_labels
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features
from simclr_lib.evaluation.classifier import balanced_accuracy
from simclr_lib.evaluation.knn import knn_predict
from simclr_lib.evaluation.linear import fit_heads
from simclr_lib.results import Accuracy, summary

UNEQUAL = 2  # largest / smallest class of the test part from which on balanced accuracies are given, too


def evaluate_features(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    budgets: Sequence[int] = (10, 50, 100),
    draws: int = 3,
    seed: int = 0,
) -> dict[str, Accuracy]:
    """Measure kNN (k = 20 and 200) and the L-BFGS probe with all labels, and the probe with few labels for each class.

    Args:
        train_features: float [N, D].
        train_labels: int64 [N], 0 … C − 1.
        test_features: float [M, D].
        test_labels: int64 [M], 0 … C − 1.
        budgets: numbers of labels for each class; a budget that the smallest class does not have is left out.
        draws: number of random choices of the labelled images at each budget.
        seed: random seed of those choices.

    Returns:
        {"knn": …, "knn_200": …, "labels_all": …, "labels_10": …, …}: accuracies, 0…1, as `summary` gives them. Where
        the largest class of the test part is at least twice as large as the smallest, "knn_balanced" and so on are
        the balanced accuracies, see `balanced_accuracy`.

    Raises:
        SimCLRError: features or labels have another shape or type, features are not finite, labels are negative, or a
            budget or ``draws`` is below 1.
    """
    check_features(train_features, "train_features")
    check_features(test_features, "test_features", width=train_features.shape[1])
    check_labels(train_labels, "train_labels", len(train_features))
    check_labels(test_labels, "test_labels", len(test_features))
    if min(draws, *budgets) < 1:
        raise SimCLRError(f"budgets and draws must be at least 1, not budgets={tuple(budgets)}, draws={draws}.")
    num_classes = max(int(train_labels.max()), int(test_labels.max())) + 1

    def nearest(k: int) -> Tensor:
        return knn_predict(train_features, train_labels, test_features, k)

    def probes(features: Tensor, labels: Tensor) -> list[Tensor]:  # [P, N, D], [P, N]
        heads = fit_heads(features, labels, num_classes, seed=seed)
        return [head(test_features.to(head.weight)).argmax(dim=1) for head, *_ in heads]

    everything = probes(train_features[None], train_labels[None])
    predicted = {"knn": [nearest(20)], "knn_200": [nearest(200)], "labels_all": everything}
    smallest_class = int(train_labels.bincount(minlength=num_classes).min())
    for budget in budgets:
        if budget <= smallest_class:
            rows = torch.stack([few_labels(train_labels, budget, seed=seed * draws + draw) for draw in range(draws)])
            predicted[f"labels_{budget}"] = probes(train_features[rows], train_labels[rows])
    return _measured(predicted, test_labels)


def _measured(predicted: Mapping[str, Sequence[Tensor]], labels: Tensor) -> dict[str, Accuracy]:
    """Measure the accuracies of each column's predictions, int64 [M], and the balanced ones where classes differ."""

    def accuracy(answer: Tensor) -> float:
        return (answer.to(labels.device) == labels).float().mean().item()

    table = {column: summary([accuracy(answer) for answer in answers]) for column, answers in predicted.items()}
    counts = labels.bincount()
    if counts.max() >= UNEQUAL * counts[counts > 0].min():
        for column, answers in predicted.items():
            table[f"{column}_balanced"] = summary([balanced_accuracy(answer, labels) for answer in answers])
    return table


def labels_needed(accuracy: Mapping[float, float], target: float) -> float | None:
    """Find the labels per class that reach an accuracy, on straight lines over the logarithm of the labels.

    Args:
        accuracy: labels per class → accuracy, at least one.
        target: the accuracy to reach.

    Returns:
        The smallest such number: the smallest budget if that is enough already, None if no budget is.

    Raises:
        SimCLRError: there are no budgets, or one is not above 0, or an accuracy or the target is not finite.
    """
    if not accuracy or not all(0 < budget < math.inf for budget in accuracy):
        raise SimCLRError(f"labels_needed needs budgets above 0, not {sorted(accuracy)}.")
    if not all(map(math.isfinite, (*accuracy.values(), target))):
        raise SimCLRError(
            f"labels_needed needs finite accuracies and a finite target, not {list(accuracy.values())} and {target}."
        )
    points = sorted(accuracy.items())
    if points[0][1] >= target:
        return points[0][0]
    for (few, low), (many, high) in pairwise(points):
        if high >= target:
            share = (target - low) / (high - low)
            return math.exp((1 - share) * math.log(few) + share * math.log(many))
    return None
