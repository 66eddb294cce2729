"""The names that settings choose from. No torch is needed to know them, so the command line can show them at once."""

from __future__ import annotations

from typing import Literal

DATASETS = ("emblems", "cifar10", "cifar100", "stl10", "tinyimagenet", "imagefolder")

OptimizerName = Literal["adam", "sgd", "lars"]
Precision = Literal["auto", "bf16", "fp32"]
ProjectionMethod = Literal["umap", "pca", "tsne"]
Stem = Literal["cifar", "fast", "imagenet"]
