"""The linear probe: the accuracy of a linear output head on frozen features (arXiv 2002.05709, section 2.3 and B.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import MAX_SEED
from simclr_lib.data.labels import check_labels
from simclr_lib.device import one_core
from simclr_lib.errors import SimCLRError, require_range, unknown_name
from simclr_lib.evaluation.checks import check_features
from simclr_lib.evaluation.logistic import logistic_heads
from simclr_lib.loop import LoopConfig, fit
from simclr_lib.models import OutputHead


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
    validation = None
    if method == "lbfgs":
        [(head, l2, validation)] = fit_heads(train_features[None], train_labels[None], num_classes, l2, seed)
    elif method == "sgd":
        standardised, mean, std = _standardised(train_features)
        head = _standardising_head(*_sgd(standardised, train_labels, num_classes, seed), mean, std)
    else:
        raise unknown_name("probe method", method, ("lbfgs", "sgd"))
    predicted = head(test_features).argmax(dim=1)
    return ProbeResult((predicted == test_labels).float().mean().item(), head, l2, validation)


def fit_heads(
    features: Tensor, labels: Tensor, num_classes: int, l2: float | None = None, seed: int = 0
) -> list[tuple[OutputHead, float, dict[float, float] | None]]:
    """Train the "lbfgs" heads of `linear_probe` on P data sets of the same size at once.

    Args:
        features: float [P, N, D], as they come from the encoder.
        labels: int64 [P, N], 0 … C − 1.
        num_classes: C.
        l2: strength of the penalty; None chooses it for each data set.
        seed: random seed of the validation splits.

    Returns:
        For each data set (head, l2, validation), see `ProbeResult`.
    """
    standardised, mean, std = _standardised(features.float())
    heads = logistic_heads(standardised, labels, num_classes, l2, seed)
    made = [_standardising_head(*fitted) for fitted in zip(heads.weight, heads.bias, mean, std, strict=True)]
    return list(zip(made, heads.l2, heads.validation, strict=True))


def _check_parts(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, num_classes: int | None
) -> None:
    """Raise `SimCLRError` unless features and labels of both parts fit together."""
    check_features(train_features, "train_features")
    check_features(test_features, "test_features", width=train_features.shape[1])
    check_labels(train_labels, "train_labels", len(train_features), num_classes)
    check_labels(test_labels, "test_labels", len(test_features), num_classes)


def _standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standardise features [..., N, D]; return them, means and deviations [..., D]. A constant keeps its scale."""
    mean, std = features.mean(dim=-2), features.std(dim=-2, correction=0)
    std = torch.where(std > 1e-6, std, 1.0)
    return (features - mean.unsqueeze(-2)) / std.unsqueeze(-2), mean, std


def _standardising_head(weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> OutputHead:
    """Make a head for raw features [N, D] of weight [C, D] and bias [C] for standardised ones."""
    head = OutputHead(weight.shape[1], weight.shape[0]).to(weight.device)
    with torch.no_grad():
        head.weight.copy_(weight / std)
        head.bias.copy_(bias - (weight / std) @ mean)
    return head


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

    with one_core():  # in steps as small as these, threads wait for each other most of the time on a busy machine
        fit(head, batch_loss, len(features), config, description="output head")
    return head.weight.detach(), head.bias.detach()
