"""The table that every comparison here uses: kNN and linear probe, with all labels and with few."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from simclr_lib.data import few_labels
from simclr_lib.evaluation.knn import knn_accuracy
from simclr_lib.evaluation.linear import linear_probe
from simclr_lib.results import Accuracy, summary


def evaluate_features(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    budgets: Sequence[int] = (10, 50, 100),
    draws: int = 3,
    seed: int = 0,
) -> dict[str, Accuracy]:
    """kNN (k = 20 and 200) and L-BFGS probe with all labels, and the probe with few labels a class.

    Args:
        train_features: float [N, D].
        train_labels: int64 [N].
        test_features: float [M, D].
        test_labels: int64 [M].
        budgets: labels per class; those that the training set does not have are left out.
        draws: random choices of the labelled images at each budget.
        seed: of those choices.

    Returns:
        {"knn": …, "knn_200": …, "labels_all": …, "labels_10": …, …}: accuracies, 0…1, as `summary` gives them.
    """
    num_classes = int(max(train_labels.max(), test_labels.max())) + 1

    def nearest(k: int) -> float:
        return knn_accuracy(train_features, train_labels, test_features, test_labels, k)

    def probe(rows: Tensor | slice) -> float:
        return linear_probe(
            train_features[rows],
            train_labels[rows],
            test_features,
            test_labels,
            seed=seed,
            num_classes=num_classes,
        ).accuracy

    table = {
        "knn": summary([nearest(20)]),
        "knn_200": summary([nearest(200)]),
        "labels_all": summary([probe(slice(None))]),
    }
    smallest_class = int(train_labels.bincount(minlength=num_classes).min())
    for budget in budgets:
        if budget <= smallest_class:
            rows = [few_labels(train_labels, budget, seed=seed * draws + draw) for draw in range(draws)]
            table[f"labels_{budget}"] = summary([probe(r) for r in rows])
    return table


def labels_needed(accuracy: Mapping[float, float], target: float) -> float | None:
    """Labels per class at which an accuracy is reached, on straight lines over the logarithm of the labels.

    Args:
        accuracy: labels per class → accuracy, at least one.
        target: the accuracy to reach.

    Returns:
        The first such number, the smallest budget if that is enough already, None if no budget is.
    """
    points = sorted(accuracy.items())
    if points[0][1] >= target:
        return points[0][0]
    for (few, low), (many, high) in pairwise(points):
        if high >= target:
            share = (target - low) / (high - low)
            return math.exp((1 - share) * math.log(few) + share * math.log(many))
    return None
