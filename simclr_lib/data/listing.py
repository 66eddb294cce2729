"""The files below some folders, each counted once, whatever symbolic links lead to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from simclr_lib.errors import counted, shown
from simclr_lib.files import CHECKPOINT

OF_SYSTEMS = {  # folders that systems make
    "@eadir",  # Synology and QNAP
    "@recycle",
    "@recently-snapshot",
    "@snapshot",
    "@tmp",
    "@__thumb",
    "#recycle",
    "#snapshot",
    "~snapshot",  # NetApp
    "trashbox",  # Buffalo
    "$recycle.bin",  # Windows
    "recycler",
    "system volume information",
    "found.000",
    "thumbs",
    "thumbnails",
    "__macosx",  # macOS
    "network trash folder",
    "temporary items",
    "lost+found",  # Linux
}
OF_RUNS = (CHECKPOINT, "results.json")  # files that make a folder one of results, whose pictures are no photos

log = logging.getLogger(__name__)


def is_set_aside(name: str) -> bool:
    """Return whether a file or folder is hidden, or made by the system and not by its owner."""
    return is_hidden(name) or name.casefold() in OF_SYSTEMS


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden."""
    return name.startswith(".")


def holds_a_run(folder: Path) -> bool:
    """Return whether a folder is that of a run of this package."""
    return any((folder / name).is_file() for name in OF_RUNS)


def files_below(folders: Sequence[Path]) -> list[list[Path]]:
    """List the files below each of some folders, sorted.

    Links are followed out of the folders, to collections elsewhere. A link is left out if it leads to something that
    counts already (a part of one of the folders, or what an earlier link led to) or to a folder that holds one of
    these. So no loop is endless, no image has two classes, and none is in two parts of a data set. Hidden entries are
    left out too, the results of runs, and what is neither file nor folder: links that lead nowhere, pipes, sockets.

    Args:
        folders: N folders. A folder that is, or is part of, another one of them gets the files and the other does not.

    Returns:
        N lists of paths.
    """
    return _Listing(folders).found


class _Listing:
    """The walk through all folders: first all that is really there, and then what the links lead to."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.found: list[list[Path]] = [[] for _ in folders]
        self.links: list[tuple[int, Path]] = []  # (position in `folders`, link) that are still to be followed
        self.left_out: list[Path] = []
        self.of_systems: list[Path] = []  # folders that systems make
        self.walked: set[str] = set()  # real paths of folders whose whole content counts, and of files
        self.holders: set[str] = set()  # real paths of all folders that hold one of those

        # Where a folder and a link to it are both given, the files are those of the folder.
        order = sorted(range(len(folders)), key=lambda position: folders[position].is_symlink())
        own = {os.path.realpath(folders[position]): position for position in reversed(order)}
        for real in own:
            self._claim(real)
        for real, position in own.items():
            self._walk(position, folders[position], real)
        while self.links:
            links, self.links = sorted(self.links), []
            for position, link in links:
                self._follow(position, link)
        for paths in self.found:
            paths.sort(key=str)
        if self.left_out:
            log.warning(
                shown(
                    f"left out {counted(len(self.left_out), 'link')} to nowhere or to images that are in the set "
                    f"already, such as {self.left_out[0]}"
                )
            )
        if self.of_systems:
            what = counted(len(self.of_systems), "folder")
            log.info(shown(f"left out {what} that systems make, such as {min(self.of_systems)}"))

    def _claim(self, real: str) -> None:
        self.walked.add(real)
        self.holders.update(map(str, Path(real).parents))

    def _walk(self, position: int, folder: Path, real: str) -> None:
        """Add the files that are really below a folder, and note the links."""
        pending = [(folder, real)]
        while pending:
            folder, real = pending.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                log.warning(shown(f"{folder} cannot be read ({error.strerror}): its images are left out."))
                continue
            for entry in entries:
                if is_set_aside(entry.name):
                    if not is_hidden(entry.name) and entry.is_dir():
                        self.of_systems.append(folder / entry.name)
                    continue
                if entry.is_symlink():
                    self.links.append((position, folder / entry.name))
                elif entry.is_dir() and os.path.join(real, entry.name) not in self.walked:
                    if holds_a_run(folder / entry.name):
                        log.info(shown(f"{folder / entry.name} holds the results of a run: its pictures are left out"))
                    else:
                        pending.append((folder / entry.name, os.path.join(real, entry.name)))
                elif entry.is_file():
                    self.found[position].append(folder / entry.name)

    def _follow(self, position: int, link: Path) -> None:
        target = os.path.realpath(link)
        counted = target in self.holders or any(str(place) in self.walked for place in (target, *Path(target).parents))
        if counted or not os.path.exists(target):
            self.left_out.append(link)
        elif os.path.isdir(target):
            self._claim(target)
            self._walk(position, link, target)
        elif os.path.isfile(target):
            self.walked.add(target)
            self.found[position].append(link)
