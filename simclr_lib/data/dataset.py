"""Images and labels as two tensors: the one form that every source is brought to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from simclr_lib.data.labels import check_labels, kind
from simclr_lib.data.reading import Reading
from simclr_lib.errors import SimCLRError, shown, type_name


@dataclass(frozen=True)
class ImageDataset:
    """A whole set of images with labels, in memory or memory-mapped.

    Images of files may be stored larger than a network sees them, so that training can cut sharp crops from them.

    Attributes:
        images: uint8 [N, 3, H, W], RGB, as they are stored: random crops are cut from these.
        labels: int64 [N], indices into ``classes``; -1 where an image has no label (STL-10's unlabelled part).
        classes: class names; none where no image has a label.
        name: the name of the set in reports.
        files: the image's file, relative to the set's folder, where it was read from one.
        shown_size: side at which a network sees whole images, in pixels; None is that of the stored images.
        reading: how the images were read, where they are from files of one's own.

    Raises:
        SimCLRError: images or labels are not such tensors, or a label is of no class.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str = "images"
    files: tuple[str, ...] | None = None
    shown_size: int | None = None
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.images, Tensor):
            found = type_name(self.images)
            raise SimCLRError(f"images must be a tensor, not {found}: convert it with torch.as_tensor.")
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise SimCLRError(f"images must be uint8 [N, 3, H, W], not {kind(self.images)}.")
        check_labels(self.labels, "labels", len(self.images), len(self.classes), unlabelled=True)
        if self.files is not None and len(self.files) != len(self.images):
            raise SimCLRError(f"files must name {len(self.images)} images, not {len(self.files)}.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Side at which a network sees whole images, in pixels: the longer one, if they are not square."""
        return self.shown_size or max(self.images.shape[-2:])

    def whole(self, rows: slice | Tensor) -> Tensor:
        """Return some of the images as a network sees them: whole, and at `image_size`.

        Take a few at a time, because what is memory-mapped is loaded here.

        Args:
            rows: a slice, or int64 [n].

        Returns:
            uint8 [n, 3, H, W], resized where they are stored larger (antialiased bilinear).
        """
        images, side = self.images[rows], self.shown_size
        if side is None or images.shape[-2:] == (side, side):
            return images
        return resize(images, [side, side], antialias=True)

    def fingerprint(self) -> str:
        """A hash of the labels and of at most 1,000 evenly spaced images, as text."""
        rows = torch.linspace(0, len(self) - 1, min(len(self), 1_000)).long()
        digest = hashlib.blake2b(self.labels.cpu().numpy().tobytes(), digest_size=8)
        digest.update(self.images[rows.to(self.images.device)].cpu().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, indices: Tensor | Sequence[int]) -> ImageDataset:
        """The images at ``indices`` (int64 [n]), in that order."""
        indices = torch.as_tensor(indices)
        files = None if self.files is None else tuple(self.files[i] for i in indices.tolist())
        return replace(self, images=self.images[indices], labels=self.labels[indices], files=files)

    @property
    def names(self) -> list[str]:
        """A name for each image, as valid text: its file, or its number where it is not from a file."""
        return [shown(name) for name in self.files or map(str, range(len(self)))]

    @property
    def label_names(self) -> list[str]:
        """The class of each image, as valid text; empty where it has none."""
        return [shown(self.classes[label]) if label >= 0 else "" for label in self.labels.tolist()]

    @property
    def labelled(self) -> ImageDataset:
        """The images that have a label."""
        return self if bool((self.labels >= 0).all()) else self.subset((self.labels >= 0).nonzero().flatten())

    def to(self, device: torch.device | str) -> ImageDataset:
        """Return this data set with its tensors on ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def empty_images(n: int, side: int) -> Tensor:
    """Memory for images, uint8 [n, 3, side, side], not yet filled.

    Raises:
        SimCLRError: they do not fit into the memory.
    """
    try:
        return torch.empty(n, 3, side, side, dtype=torch.uint8)
    except (RuntimeError, TypeError) as error:  # no memory; a size that no memory could have
        raise SimCLRError(
            f"{n:,} images of {side} pixels need {n * 3 * side**2 / 1e9:,.1f} GB, more memory than there is: "
            "load fewer (limit) or smaller (image_size) images."
        ) from error
