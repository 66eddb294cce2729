"""An offline bundle: everything that a course needs in one folder, for places without a network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simclr_lib.choices import Platform
from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically
from simclr_lib.teaching.course import PACKAGE
from simclr_lib.teaching.workshop.editions import build


@dataclass(frozen=True)
class System:
    """The needs of a bundle for one system.

    Attributes:
        name: the system in words.
        tags: names that its wheels have; pip takes a wheel that has one of them.
        only_there: packages that others need on this system only. pip decides by the system that it runs on whether
            they are needed, so they are added.
        python: the command that starts Python.
        programs: the folder of a virtual environment's programs, with the separator.
        verify: how to compare a copy with the checksums.
    """

    name: str
    tags: Sequence[str]
    only_there: Sequence[str]
    python: str
    programs: str
    verify: str


SUMS = "SHA256SUMS"
README = """\
This folder holds the whole course on SimCLR. It needs no network.

It is for Python {python} on {system}. Open a terminal in this folder and give these two commands:

    {start} -m venv course
    {programs}pip install --no-index --find-links wheels "simclr-lib[lab]"

Then see whether everything is ready, and begin:

    {programs}simclr workshop check
    {programs}jupyter lab notebooks/00_start_here.ipynb

To see whether the copy is complete:

    {verify}
"""
SYSTEMS: dict[Platform, System] = {
    "linux": System(
        name="Linux (x86-64)",
        tags=[*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)), "manylinux2014_x86_64"],
        only_there=["pexpect"],
        python="python3",
        programs="course/bin/",
        verify=f"sha256sum --check {SUMS}",
    ),
    "windows": System(
        name="Windows (x86-64)",
        tags=["win_amd64"],
        only_there=["colorama", "pywinpty"],
        python="py",
        programs="course\\Scripts\\",
        verify=f"certutil -hashfile FILE SHA256     (and compare with the line of that file in {SUMS})",
    ),
    "macos": System(
        name="a Mac with Apple silicon",
        tags=["macosx_14_0_arm64"],
        only_there=["appnope", "pexpect"],
        python="python3",
        programs="course/bin/",
        verify=f"shasum -a 256 --check {SUMS}",
    ),
}

Pip = Callable[[Sequence[str]], None]


def run_pip(words: Sequence[str]) -> None:
    """Run pip with these words.

    Raises:
        SimCLRError: pip failed. The message is the last line of what it printed.
    """
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        reason = last.removeprefix("ERROR: ").rstrip(".")
        raise SimCLRError(
            f"pip {words[0]} failed: {reason}. Check the network, and pip's settings for the packages' index."
        )


def make_bundle(folder: Path, platform: Platform, python: str, pip: Pip = run_pip) -> list[Path]:
    """Fill a folder with wheels, the student edition, instructions and checksums.

    The pretrained weights are inside this package's wheel.

    Args:
        folder: a new or empty folder, or one that an earlier call has filled.
        platform: the system that the wheels are for.
        python: its version of Python, such as "3.12".
        pip: runs pip with some words; tests give their own.

    Returns:
        The files of the bundle, in the order of the checksums.

    Raises:
        SimCLRError: there is no clone to make this package's wheel from, or pip failed.
    """
    if not (PACKAGE.parent / "pyproject.toml").exists():
        raise SimCLRError(
            "a bundle is made in a clone of the repository, from which this package's wheel is built: "
            "install the clone with pip install -e '.[lab]' and repeat the command."
        )
    system = SYSTEMS[platform]
    with tempfile.TemporaryDirectory() as own:
        pip(["wheel", "--no-deps", "--wheel-dir", own, str(PACKAGE.parent)])
        (wheel,) = Path(own).glob("simclr_lib-*.whl")
        tags = [word for tag in system.tags for word in ("--platform", tag)]
        target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *tags]
        pip(["download", "--dest", str(folder / "wheels"), *target, f"{wheel}[lab]", *system.only_there])
    build(folder / "notebooks", "student")
    readme = README.format(
        python=python, system=system.name, start=system.python, programs=system.programs, verify=system.verify
    )
    write_atomically(folder / "README.txt", readme.encode())
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    write_atomically(folder / SUMS, checksums(folder, files).encode())
    return files


def checksums(folder: Path, files: Iterable[Path]) -> str:
    """Lines as ``sha256sum --check`` reads them."""
    lines = []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(2**20):  # a wheel of PyTorch need not fit into memory
                digest.update(block)
        lines.append(f"{digest.hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines)


def this_platform() -> Platform:
    """The system that this program runs on, as `make_bundle` names it."""
    return {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")  # type: ignore[return-value]
