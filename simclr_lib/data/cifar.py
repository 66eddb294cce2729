"""CIFAR-10, CIFAR-100 and STL-10, by way of torchvision; and downloads that end whole or not at all."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import tempfile
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10
from torchvision.datasets.utils import check_integrity, download_url, extract_archive

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.images import balanced_subset
from simclr_lib.errors import SimCLRError

SOURCES: dict[str, Any] = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}
NETWORK_TIMEOUT = 15.0  # seconds without an answer


def torchvision_images(
    name: str, split: str, root: Path, download: bool = False, limit: int | None = None
) -> ImageDataset:
    """Load CIFAR-10, CIFAR-100 or STL-10 into memory.

    Args:
        name: a key of ``SOURCES``.
        split: ``train`` or ``test``; STL-10 has ``unlabeled`` too, where every label is -1.
        root: the folder with torchvision's ``cifar-10-batches-py`` and so on, or that folder itself.
        download: fetch the set where it is missing.
        limit: load a class-balanced random subset of this size; None loads all.

    Raises:
        SimCLRError: the set is missing or damaged, or the download failed.
    """
    source = SOURCES[name]
    if root.name == source.base_folder:
        root = root.parent
    folder = root / source.base_folder
    if not folder.is_dir():
        if not download:
            raise missing(name, root)
        fetch(source.url, root, source.tgz_md5, source.base_folder, extract_archive)

    part = {"split": split} if source is STL10 else {"train": split == "train"}
    try:
        data = source(str(root), **part)
    except RuntimeError as error:
        if "corrupted" not in str(error):  # torchvision's word for a failed integrity check
            raise
        raise damaged(folder) from error
    if source is STL10:
        images, labels = torch.from_numpy(data.data), torch.from_numpy(data.labels).long()
    else:
        images, labels = torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)
    if limit is not None:
        chosen = balanced_subset(labels, limit)
        images, labels = images[chosen], labels[chosen]
    return ImageDataset(images.contiguous(), labels, list(data.classes), name)


def missing(name: str, root: Path) -> SimCLRError:
    """The error for a set that is not on disk."""
    return SimCLRError(
        f"{name} is not in {root}: point --data-dir (root) to a copy, or let `simclr train --download` "
        "(download=True) fetch it."
    )


def damaged(path: Path) -> SimCLRError:
    """The error for a file or folder that is there, but not whole."""
    return SimCLRError(
        f"{path} is incomplete or damaged: delete it, then add --download (download=True) to fetch it anew."
    )


def fetch(url: str, root: Path, md5: str, folder: str, unpack: Callable[[Path, Path], object]) -> None:
    """Download an archive into ``root`` and unpack it to ``root/folder``.

    Both go through a temporary folder, so that an interruption leaves nothing half done and nothing that
    exists is overwritten. A whole archive that is already there is not downloaded again.

    Args:
        url: the archive's address.
        root: the data folder; it is made where it is missing.
        md5: the archive's checksum.
        folder: the one folder that the archive holds; ``root/folder`` must not exist.
        unpack: ``unpack(archive, destination)``.

    Raises:
        SimCLRError: no network, a wrong checksum, or ``root`` cannot be written.
    """
    archive = root / url.rpartition("/")[2]
    with _mendable_errors(url, root):
        root.mkdir(parents=True, exist_ok=True)
        if archive.exists() and not check_integrity(archive, md5):
            raise damaged(archive)
        if not archive.exists():
            with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
                download_url(url, temporary, archive.name, md5)
                os.replace(Path(temporary, archive.name), archive)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=root) as temporary:
            unpack(archive, Path(temporary))
            os.replace(Path(temporary, folder), root / folder)


@contextlib.contextmanager
def _mendable_errors(url: str, root: Path) -> Iterator[None]:
    """Turn what a download raises into SimCLRError, and give up on a silent network soon."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)  # torchvision's own requests would wait for ever
    elsewhere = "use --dataset emblems, or point --data-dir to a copy."
    try:
        yield
    except urllib.error.HTTPError as error:
        raise SimCLRError(f"{url} cannot be downloaded ({error}): try later, {elsewhere}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise SimCLRError(f"no network: {url} cannot be downloaded ({error}); {elsewhere}") from error
    except OSError as error:
        raise SimCLRError(
            f"cannot write to {root} ({error.strerror or error}): free some space, or choose another --data-dir."
        ) from error
    except RuntimeError as error:
        if "corrupted" not in str(error):
            raise
        raise SimCLRError(f"{url} sent a file with a wrong checksum: try again, {elsewhere}") from error
    finally:
        socket.setdefaulttimeout(before)
