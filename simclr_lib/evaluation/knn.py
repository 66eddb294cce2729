"""k nearest neighbours on frozen features (Wu et al. 2018, section 3.4): no training, nothing to tune."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError


def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int = 1024,
) -> Tensor:
    """Vote of the k most similar features, each with weight exp(cosine similarity / temperature).

    Args:
        bank: float [N, D], features with known labels.
        bank_labels: int64 [N].
        queries: float [M, D].
        k: number of neighbours; at most N are used.
        temperature: of the votes.
        chunk_size: queries at a time; does not change the result.

    Returns:
        int64 [M]: predicted labels, on the bank's device.
    """
    if len(bank) == 0 or bank.shape[1:] != queries.shape[1:]:
        raise SimCLRError(
            f"the bank must be [N, D] with N ≥ 1 and the queries' D, not {list(bank.shape)} "
            f"for queries {list(queries.shape)}."
        )
    if k < 1 or not temperature > 0:
        raise SimCLRError(f"kNN needs k of at least 1 and a temperature above 0, not k={k}, temperature={temperature}.")
    bank = F.normalize(bank.float(), dim=1)
    bank_labels, queries = bank_labels.to(bank.device), F.normalize(queries.to(bank.device).float(), dim=1)
    num_classes = int(bank_labels.max()) + 1
    predictions = []
    for chunk in queries.split(chunk_size):
        similarity, neighbor = (chunk @ bank.T).topk(min(k, len(bank)), dim=1)  # [m, k]
        # Weights relative to the nearest neighbour: exp(1 / temperature) would overflow for small ones.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weight.new_zeros(len(chunk), num_classes)
        votes.scatter_add_(1, bank_labels[neighbor], weight)
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    temperature: float = 0.1,
) -> float:
    """Share of queries whose label `knn_predict` finds, 0…1."""
    predicted = knn_predict(bank, bank_labels, queries, k, temperature)
    return (predicted == query_labels.to(predicted.device)).float().mean().item()
