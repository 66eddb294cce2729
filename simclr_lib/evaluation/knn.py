"""Classification by the k nearest neighbours of frozen features (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features, check_labels


def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int = 1024,
) -> Tensor:
    """Predict the label that gets most of the votes, see `knn_votes`.

    Args:
        bank, bank_labels, queries, k, temperature, chunk_size: as in `knn_votes`.

    Returns:
        int64 [M]: predicted labels, on the device of the bank.

    Raises:
        SimCLRError: as in `knn_votes`.
    """
    return knn_votes(bank, bank_labels, queries, k, temperature, chunk_size).argmax(dim=1)


def knn_votes(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int = 1024,
    own: Tensor | None = None,
) -> Tensor:
    """Let the k most similar features of the bank vote, each with weight exp(cosine similarity / temperature).

    Args:
        bank: float [N, D], features with known labels.
        bank_labels: int64 [N], 0 or more.
        queries: float [M, D].
        k: number of neighbours; at most N are used.
        temperature: the lower it is, the more the nearest neighbours count.
        chunk_size: number of queries that are compared at one time; it does not change the result.
        own: int64 [M], the row of the bank that is the query itself and has no vote, or −1.

    Returns:
        float32 [M, C]: each label's share of the votes of a query, 0…1, on the device of the bank. C is the largest
        label + 1.

    Raises:
        SimCLRError: features or labels have another shape or type, features are not finite, labels are negative, or a
            setting is out of its range.
    """
    check_features(bank, "bank", at_least=1 if own is None else 2)
    check_labels(bank_labels, "bank_labels", len(bank))
    check_features(queries, "queries", width=bank.shape[1], at_least=0)
    if k < 1 or chunk_size < 1 or not temperature > 0:
        raise SimCLRError(
            "kNN needs k and chunk_size of at least 1 and a temperature above 0, "
            f"not k={k}, chunk_size={chunk_size}, temperature={temperature}."
        )
    bank = F.normalize(bank.float(), dim=1)
    bank_labels, queries = bank_labels.to(bank.device), F.normalize(queries.to(bank.device).float(), dim=1)
    num_classes = int(bank_labels.max()) + 1
    own = torch.full((len(queries),), -1) if own is None else own
    shares = [torch.zeros(0, num_classes, device=bank.device)]
    for chunk, itself in zip(queries.split(chunk_size), own.to(bank.device).split(chunk_size), strict=True):
        similarity = chunk @ bank.T  # [m, N]
        known = (itself >= 0).nonzero().flatten()
        similarity[known, itself[known]] = -torch.inf
        similarity, neighbor = similarity.topk(min(k, len(bank)), dim=1)  # [m, k]
        # The weights are relative to that of the nearest neighbour: exp(1 / temperature) may overflow.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(chunk), num_classes).scatter_add_(1, bank_labels[neighbor], weight)
        shares.append(votes / votes.sum(dim=1, keepdim=True))
    return torch.cat(shares)


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.1,
) -> float:
    """Compute the share of queries whose label `knn_predict` finds, 0…1.

    Args:
        bank, bank_labels, queries, k, temperature: as in `knn_predict`.
        query_labels: int64 [M], M ≥ 1, 0 or more.

    Raises:
        SimCLRError: as in `knn_predict`; also for ``query_labels``, and without any query.
    """
    check_features(queries, "queries")
    check_labels(query_labels, "query_labels", len(queries))
    predicted = knn_predict(bank, bank_labels, queries, k, temperature)
    return (predicted == query_labels.to(predicted.device)).float().mean().item()
