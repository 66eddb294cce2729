"""Images to learn from: every source ends as one ``ImageDataset``."""

from simclr_lib.choices import DATASETS
from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.layout import find_images
from simclr_lib.data.reading import Reading
from simclr_lib.data.sources import load_dataset, load_parts, load_splits
from simclr_lib.data.subsets import few_labels, split_indices

__all__ = [
    "DATASETS",
    "ImageDataset",
    "Reading",
    "few_labels",
    "find_images",
    "load_dataset",
    "load_parts",
    "load_splits",
    "split_indices",
]
