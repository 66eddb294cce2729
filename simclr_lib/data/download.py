"""Downloads that end whole or not at all, and the errors of data sets that are missing or damaged."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

from torchvision.datasets.utils import check_integrity, download_url

from simclr_lib.errors import SimCLRError
from simclr_lib.files import temporary_folder

NETWORK_TIMEOUT = 15.0  # seconds without an answer


def missing(name: str, root: Path) -> SimCLRError:
    """The error for a set that is not on disk."""
    return SimCLRError(
        f"{name} is not in {root}: point data_dir to a folder that holds a copy, or fetch it with download=True."
    )


def damaged(path: Path) -> SimCLRError:
    """The error for a file or folder that is there, but not whole."""
    return SimCLRError(f"{path} is incomplete or damaged: delete it, then fetch it anew with download=True.")


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
        SimCLRError: there is no network, the checksum is wrong, or ``root`` cannot be written.
    """
    archive = root / url.rpartition("/")[2]
    with _mendable_errors(url, root):
        root.mkdir(parents=True, exist_ok=True)
        if archive.exists() and not check_integrity(archive, md5):
            raise damaged(archive)
        with temporary_folder(root) as temporary:
            if not archive.exists():
                download_url(url, str(temporary), archive.name, md5)
                os.replace(temporary / archive.name, archive)
            unpack(archive, temporary)
            os.replace(temporary / folder, root / folder)


@contextlib.contextmanager
def _mendable_errors(url: str, root: Path) -> Iterator[None]:
    """Turn what a download raises into SimCLRError, and give up soon on a network that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)  # torchvision's own requests would wait for ever
    elsewhere = 'use dataset="emblems", which needs no network, or point data_dir to a copy.'
    try:
        yield
    except urllib.error.HTTPError as error:
        raise SimCLRError(f"{url} cannot be downloaded ({error}): try later, {elsewhere}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise SimCLRError(f"no network: {url} cannot be downloaded ({error}); {elsewhere}") from error
    except OSError as error:
        raise SimCLRError(
            f"cannot write to {root} ({error.strerror or error}): free some space, or choose another data_dir."
        ) from error
    except RuntimeError as error:
        if "corrupted" not in str(error):
            raise
        raise SimCLRError(f"{url} sent a file with a wrong checksum: try again, {elsewhere}") from error
    finally:
        socket.setdefaulttimeout(before)
