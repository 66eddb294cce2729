"""Images and labels as two tensors: the one form that every source is brought to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError


@dataclass(frozen=True)
class ImageDataset:
    """A labelled image set, whole, in memory or memory-mapped.

    Attributes:
        images: uint8 [N, 3, H, W], RGB.
        labels: int64 [N], indices into ``classes``; -1 where an image has no label (STL-10's unlabelled part).
        classes: class names.
        name: what to call the set in reports.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str = "images"

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise SimCLRError(f"images must be uint8 [N, 3, H, W], not {self.images.dtype} {list(self.images.shape)}.")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise SimCLRError(
                f"labels must be int64 [{len(self.images)}], not {self.labels.dtype} {list(self.labels.shape)}."
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """The longer side of the images, in pixels."""
        return max(self.images.shape[-2:])

    def fingerprint(self) -> str:
        """A short text that is another for other images or labels; of more than 1,000 images it reads 1,000."""
        rows = torch.linspace(0, len(self) - 1, min(len(self), 1_000)).long()
        digest = hashlib.blake2b(self.labels.cpu().numpy().tobytes(), digest_size=8)
        digest.update(self.images[rows.to(self.images.device)].cpu().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> ImageDataset:
        """The images at ``indices`` (int64 [n]), in that order."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> ImageDataset:
        """The same set with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def split_indices(labels: Tensor, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split positions 0…N-1 in two, class by class, reproducibly.

    Args:
        labels: int64 [N].
        fraction: share of every class that goes to the second part, rounded to the nearest whole number.
        seed: the shuffle's seed.

    Returns:
        (first, second): ascending int64 indices.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = labels.cpu()
    in_second = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=generator)]
        in_second[shuffled[: round(fraction * len(members))]] = True
    return (~in_second).nonzero().flatten(), in_second.nonzero().flatten()


def few_labels(labels: Tensor, per_class: int, seed: int = 0) -> Tensor:
    """Pick ``per_class`` positions of every class at random, reproducibly.

    A class with fewer members gives all it has. Returns ascending int64 indices.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = labels.cpu()
    picked = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        picked.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(picked).sort().values
