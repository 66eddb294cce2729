"""The linear probe: the accuracy of a linear output head on frozen features (arXiv 2002.05709, section 2.3 and B.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import MAX_SEED
from simclr_lib.data import split_indices
from simclr_lib.errors import SimCLRError, require_range, unknown_name
from simclr_lib.evaluation.checks import check_features, check_labels
from simclr_lib.loop import LoopConfig, fit
from simclr_lib.models import OutputHead

L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # for standardised features, from strong to weak
SMALL = 2_000  # with fewer labels than this, one validation split is too noisy: five are taken


@dataclass(frozen=True)
class ProbeResult:
    """The result of a linear probe.

    Attributes:
        accuracy: share of test images that are classified correctly, 0…1.
        head: the trained output head, for features as they come from the encoder.
        l2: the chosen L2 strength (L-BFGS only).
        validation: validation accuracy of each L2 strength tried.
    """

    accuracy: float
    head: OutputHead
    l2: float | None = None
    validation: dict[float, float] | None = None


def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    method: Literal["lbfgs", "sgd"] = "lbfgs",
    l2: float | None = None,
    seed: int = 0,
    num_classes: int | None = None,
) -> ProbeResult:
    """Train a linear output head on frozen features and test it once.

    "lbfgs" solves multinomial logistic regression to convergence, with the L2 strength that does best on validation
    splits of the training features. "sgd" is the protocol of the paper (B.6) without its crops and flips, because the
    features are frozen: Nesterov momentum 0.9, learning rate 0.1 · B / 256, 90 epochs, B = 256, no weight decay. Both
    standardise the features with the mean and the deviation of the training set. The test features are used once, for
    the accuracy.

    Args:
        train_features: float [N, D].
        train_labels: int64 [N], 0 … C − 1; classes may be missing.
        test_features: float [M, D].
        test_labels: int64 [M], 0 … C − 1.
        method: "lbfgs" or "sgd".
        l2: strength of the penalty l2 / 2 · ‖W‖²; None chooses it on validation splits.
        seed: random seed of the validation splits (lbfgs) or of the batches (sgd).
        num_classes: C; None takes it from the labels of both parts.

    Raises:
        SimCLRError: features or labels have another shape or type, features are not finite, labels are not in
            0 … C − 1, the method is unknown, or ``l2`` or ``seed`` is out of its range.
    """
    _check_parts(train_features, train_labels, test_features, test_labels, num_classes)
    require_range("seed", seed, 0, MAX_SEED)
    if l2 is not None and not 0 <= l2 < float("inf"):
        raise SimCLRError(f"l2 must be a number of at least 0, not {l2}.")
    device = train_features.device
    train_features, test_features = train_features.float(), test_features.to(device).float()
    train_labels, test_labels = train_labels.to(device), test_labels.to(device)
    if num_classes is None:
        num_classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    mean, std = _mean_and_std(train_features)
    standardised = (train_features - mean) / std
    validation = start = None
    if method == "lbfgs":
        coordinates, span = _within_their_span(standardised)
        if l2 is None:
            validation, solutions = _validate_l2(coordinates, train_labels, num_classes, seed)
            l2 = max(validation, key=lambda strength: (validation[strength], strength))
            start = solutions[l2]
        weight, bias = _logistic_regression(coordinates, train_labels, num_classes, l2, start)
        weight = weight @ span.T
    elif method == "sgd":
        weight, bias = _sgd(standardised, train_labels, num_classes, seed)
    else:
        raise unknown_name("probe method", method, ("lbfgs", "sgd"))

    head = _standardising_head(weight, bias, mean, std)
    predicted = head(test_features).argmax(dim=1)
    return ProbeResult((predicted == test_labels).float().mean().item(), head, l2, validation)


def _check_parts(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, num_classes: int | None
) -> None:
    """Raise `SimCLRError` unless features and labels of both parts fit together."""
    check_features(train_features, "train_features")
    check_features(test_features, "test_features", width=train_features.shape[1])
    check_labels(train_labels, "train_labels", len(train_features), num_classes)
    check_labels(test_labels, "test_labels", len(test_features), num_classes)


def _mean_and_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each feature, [D] each; a constant feature keeps its scale."""
    std = features.std(dim=0, correction=0)
    return features.mean(dim=0), torch.where(std > 1e-6, std, 1.0)


def _standardising_head(weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> OutputHead:
    """Make a head for raw features [N, D] of weight [C, D] and bias [C] for standardised ones."""
    head = OutputHead(weight.shape[1], weight.shape[0]).to(weight.device)
    with torch.no_grad():
        head.weight.copy_(weight / std)
        head.bias.copy_(bias - (weight / std) @ mean)
    return head


def _within_their_span(features: Tensor) -> tuple[Tensor, Tensor]:
    """Compute coordinates [N, K] of features [N, D] along orthonormal directions [D, K], K = min(N, D).

    An L2 penalty keeps the weights of a linear head within the span of its training features. So with N < D the
    coordinates give the same head as the features do, and give it faster.
    """
    if len(features) >= features.shape[1]:
        return features, torch.eye(features.shape[1]).to(features)
    directions = torch.linalg.qr(features.T).Q
    return features @ directions, directions


def _validate_l2(
    features: Tensor, labels: Tensor, num_classes: int, seed: int
) -> tuple[dict[float, float], dict[float, tuple[Tensor, Tensor]]]:
    """Try the strengths in `L2_GRID` on validation splits, from strong to weak, until the head overfits.

    Returns:
        ({strength: mean validation accuracy}, {strength: (weight, bias) on the first split}). The second is a good
        start for the solution on all features.
    """
    num_splits = 1 if len(features) >= SMALL else 5
    splits = [split_indices(labels, 0.2, seed=seed * num_splits + i) for i in range(num_splits)]
    starts: list[tuple[Tensor, Tensor] | None] = [None] * num_splits
    validation: dict[float, float] = {}
    solutions: dict[float, tuple[Tensor, Tensor]] = {}
    for l2 in L2_GRID:
        correct = []
        for i, (train, held_out) in enumerate(splits):
            # Each solution is a good start for the next, weaker penalty.
            starts[i] = weight, bias = _logistic_regression(features[train], labels[train], num_classes, l2, starts[i])
            predicted = (features[held_out] @ weight.T + bias).argmax(dim=1)
            correct += (predicted == labels[held_out]).tolist()
        # With fewer than three labels a class there is nothing to hold out: the strongest penalty wins.
        validation[l2] = sum(correct) / max(1, len(correct))
        solutions[l2] = starts[0]  # type: ignore[assignment]
        if validation[l2] < max(validation.values()) - 0.02:
            break  # weaker penalties overfit even more, and take the longest to solve
    return validation, solutions


def _logistic_regression(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    l2: float,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise mean cross-entropy + l2 / 2 · ‖W‖², and return (weight [C, D], bias [C])."""
    if start is None:
        start = (features.new_zeros(num_classes, features.shape[1]), features.new_zeros(num_classes))
    weight, bias = (p.clone().requires_grad_() for p in start)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    return weight.detach(), bias.detach()


def _sgd(features: Tensor, labels: Tensor, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Train by the protocol of the paper, and return (weight [C, D], bias [C])."""
    head = OutputHead(features.shape[1], num_classes).to(features.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    batch_size = min(256, len(features))
    config = LoopConfig(
        epochs=90,
        batch_size=batch_size,
        optimizer="sgd",
        lr=0.1 * batch_size / 256,
        seed=seed,
        precision="fp32",
    )

    def batch_loss(indices: Tensor, _: torch.Generator) -> Tensor:
        indices = indices.to(features.device)
        return F.cross_entropy(head(features[indices]), labels[indices])

    fit(head, batch_loss, len(features), config, description="output head")
    return head.weight.detach(), head.bias.detach()
