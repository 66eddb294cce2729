"""Run everything that needs a GPU, on a machine that ends each call after some minutes and is lent for half an hour.

On your own machine, pack the images and the Python packages that the other one lacks into a folder beside the code::

    mkdir -p gpu && cp cifar10-jpeg.tar.xz tiny-imagenet-20-classes.tar gpu/ && echo /gpu/ >> .git/info/exclude
    pip download -d gpu/whl --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 \\
        tyro docstring-parser typeguard lightly lightly-utils kornia kornia-rs

On the machine with the GPU, to which the repository and the ignored folder ``gpu`` are carried, repeat this until it
says that nothing is left::

    pip install -q --no-index --no-deps --upgrade --target /tmp/site gpu/whl/*.whl && PYTHONPATH=/tmp/site:. python \\
        -m simclr_lib.authoring.gpu leg /tmp/queue --unpack gpu/*.tar* --seconds 540 --minutes 28 --out $OUT

The first call starts the work in a session of its own, which goes on between the calls. Every call leaves
``results.tar.gz`` in ``$OUT``, with the results files and the log, and the weights of the longest runs. To go on
another time, on another machine, put that archive into the folder: jobs that it holds are not repeated, and an
unfinished sweep goes on. An unfinished training begins anew there, since its checkpoint is too large to come back. So
a training that is estimated to take longer than what is left of those minutes is left for the next time. A job that
failed is not tried again, unless its line is removed from ``queue.json``, which is in the archive.

``python -m simclr_lib.authoring.gpu plan`` prints the jobs in their order. ``work FOLDER`` runs them in the foreground,
on a machine of your own. With ``--rehearse`` all jobs are tiny, and run on a CPU within minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchvision.io import write_png

import simclr_lib
from simclr_lib.data import load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments.benchmarks import Workload, seconds_on_gpu
from simclr_lib.files import CHECKPOINT, ROWS, write_atomically
from simclr_lib.options import flag
from simclr_lib.results import Result
from simclr_lib.training.run_folder import locked

SPEED = {18: 37_000, 50: 10_000}  # images a second in training, compiled, on an H100; that of ResNet-50 is a guess
START = 55  # seconds in which a training starts, is compiled and evaluated
PATIENCE = 3  # times its estimate that a command may take
MAX_FILES, MAX_BYTES = 8, 16 * 2**20  # that come back from the machine, and the size of each
IMAGES = "cifar10-jpeg"  # folder of images in the queue's folder
STATE, LOG, ENDS, RESULTS = "queue.json", "log.txt", "ends.txt", "results.tar.gz"


@dataclass(frozen=True)
class Job:
    """A part of the queue.

    Attributes:
        name: names it in the log.
        seconds: estimate.
        commands: what anyone can type, one after the other. A gap such as ``{best}`` is filled in when its turn comes.
            What is measured goes to the folder of this name below ``runs``.
        in_parts: whether the parts that are done come back, so that it can go on on another machine.
    """

    name: str
    seconds: float
    commands: Sequence[str]
    in_parts: bool = False


@dataclass(frozen=True)
class Size:
    """The size of all jobs.

    Attributes:
        train: options of every ``simclr train``.
        sweep: options of every ``simclr sweep``.
        step, bench: options of those.
        tiny_imagenet: the images that take the place of TinyImageNet.
        budgets: labels per class.
        seeds: of the sweeps of the paper's questions.
        longest: no training takes more epochs than this.
    """

    train: str = "--compile"
    sweep: str = "--compile"
    step: str = ""
    bench: str = "--device cuda --batch-size 512"
    tiny_imagenet: str = "--dataset tinyimagenet --data-dir . --no-download"
    budgets: str = "10 50 100 500"
    seeds: str = "0 1 2"
    longest: int = 10_000


TOY = Size(
    train="--stem fast --width 4 --projection-hidden 16 --batch-size 32",
    sweep="--preset cpu",
    step="--width 4 --seconds 0.1",
    bench="--device cpu --quick --repeats 1 --batch-size 16",
    tiny_imagenet=f"--dataset imagefolder --data-dir {IMAGES}",
    budgets="2 5",
    seeds="0",
    longest=1,
)


def jobs(size: Size) -> list[Job]:
    """All jobs, in the order in which half an hour is worth most: those that later ones depend on come first."""
    images = f"--dataset imagefolder --data-dir {IMAGES}"

    def pretraining(name: str, epochs: int, options: str = "", data: str = images, network: int = 18) -> Job:
        run, length = f"runs/{name}", min(epochs, size.longest)
        seconds = (4_000 * 4 if data == size.tiny_imagenet else 47_500) * epochs / SPEED[network]
        return Job(
            name,
            seconds + START + 90,  # fine-tuning at every budget takes that long
            [
                f"simclr train {data} {options} {{best}} {size.train} --epochs {length} --run-dir {run}",
                f"simclr evaluate {run} --fine-tune --budgets {size.budgets}",
                f"python -m simclr_lib.authoring.bundle {run} weights/{name}.pt --bits 8",
            ],
        )

    def sweep(name: str, runs: int, epochs: int, options: str, folder: str = "") -> Job:
        length, out = min(epochs, size.longest), f"runs/{folder or name}"
        command = f"simclr sweep {name} {images} {options} {size.sweep} --epochs {length} --out {out}"
        return Job(folder or name, runs * (50_000 * epochs / SPEED[18] + START), [command], in_parts=True)

    def step(batch: int) -> Job:
        out = f"runs/step-{batch}/results.json"
        command = f"python -m simclr_lib.authoring.step --batch-size {batch} {size.step} --out {out}"
        return Job(f"step-{batch}", 90, [command])

    return [
        step(512),
        step(1024),
        Job("bench", seconds_on_gpu(Workload()), [f"simclr bench {size.bench} --out runs/bench/results.json"]),
        sweep("recipes", 8, 100, "--held-out 0.1 --seeds 0"),
        sweep("recipes", 3, 100, "--held-out 0.1 --seeds 1 --only {best three}", folder="recipes-again"),
        pretraining("best-200-seed-0", 200, "--seed 0"),
        pretraining("best-500", 500),
        pretraining("best-200-seed-1", 200, "--seed 1"),
        pretraining("best-200-seed-2", 200, "--seed 2"),
        pretraining("best-1000", 1000),
        sweep("crop-color", 9, 30, f"--seeds {size.seeds}"),
        sweep("temperature", 15, 30, f"--seeds {size.seeds}"),
        sweep("batch-size", 9, 30, f"--seeds {size.seeds}"),
        sweep("head", 9, 30, f"--seeds {size.seeds}"),
        pretraining("resnet50-200", 200, "--base-model 50", network=50),
        pretraining("tinyimagenet-500", 500, data=size.tiny_imagenet),
    ]


# What is known only when the recipes were compared.


def best_variants(folder: Path) -> list[str]:
    """The variants that were compared on held-out training images, the best first, by all seeds that they have."""
    values: dict[str, list[float]] = {}
    for name in ("recipes", "recipes-again"):
        file = folder / "runs" / name / "results.json"
        if name == "recipes" or file.exists():
            for row, accuracies in Result.read(file).results.items():
                values.setdefault(row.removeprefix("SimCLR, "), []).extend(accuracies["labels_all"]["values"])
    most = max(map(len, values.values()))
    compared = [name for name in values if len(values[name]) == most]
    return sorted(compared, key=lambda name: -sum(values[name]))


def best_options(folder: Path) -> str:
    """The options of ``simclr train`` that make the best recipe of the default one."""
    changed = Result.read(folder / "runs" / "recipes" / "results.json").extra["variants"][best_variants(folder)[0]]
    return " ".join(f"{flag(name)} {value}" for name, value in changed.items())


GAPS: dict[str, Callable[[Path], str]] = {
    "{best}": best_options,
    "{best three}": lambda folder: shlex.join(best_variants(folder)[:3]),
}


# The queue.


def work(queue: Sequence[Job], folder: Path, ends: float, run: Callable[[str, Path, float], int]) -> None:
    """Run the jobs that are not done yet. One that fails is noted down, and the next one has its turn.

    Args:
        queue: the jobs in their order.
        folder: the queue's folder; commands run in it.
        ends: the moment, as `time.time` gives it, at which the machine goes back. A job that would not end before is
            not started, unless it can be done in parts.
        run: runs a command in a folder for at most so many seconds, and returns its exit code.
    """
    for job in queue:
        state = read_state(folder)
        fits = job.in_parts or time.time() + job.seconds <= ends
        if job.name in state or not fits:
            continue
        start = time.time()
        note(folder, job.name, exit=None, seconds=0.0)
        code = 0
        for command in job.commands:
            try:
                code = run(resumed(filled(command, folder), folder), folder, PATIENCE * job.seconds)
            except SimCLRError as error:
                say(folder, f"{job.name}: {error}")
                code = 2
            if code:
                break
        note(folder, job.name, exit=code, seconds=time.time() - start)


def filled(command: str, folder: Path) -> str:
    """The command with its gaps filled in."""
    for gap, find in GAPS.items():
        if gap in command:
            command = command.replace(gap, find(folder))
    return command


def resumed(command: str, folder: Path) -> str:
    """The command with ``--resume`` where an earlier call was interrupted in a training or in a sweep."""
    words = shlex.split(command)
    for option, sign in (("--run-dir", CHECKPOINT), ("--out", ROWS)):
        if option in words and (folder / words[words.index(option) + 1] / sign).exists():
            return f"{command} --resume"
    return command


def read_state(folder: Path) -> dict[str, dict[str, Any]]:
    """Read how the jobs that have ended came out: name → exit code and seconds."""
    file = folder / STATE
    noted = json.loads(file.read_text()) if file.exists() else {}
    return {name: entry for name, entry in noted.items() if entry["exit"] is not None}


def note(folder: Path, name: str, **entry: object) -> None:
    """Write down that a job has begun, or how it ended."""
    content = {**read_state(folder), name: entry}
    write_atomically(folder / STATE, json.dumps(content, indent=1).encode())


def say(folder: Path, line: str) -> None:
    """Add a line to the log."""
    with open(folder / LOG, "a") as log:
        log.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def run_command(command: str, folder: Path, seconds: float) -> int:
    """Run a command of this package in the folder; what it prints goes to the log. One that hangs is ended: 124."""
    say(folder, command)
    program, *words = shlex.split(command)
    package = str(Path(simclr_lib.__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TQDM_MININTERVAL": "10", "PYTHONUNBUFFERED": "1"}
    start = [sys.executable, "-m", "simclr_lib"] if program == "simclr" else [sys.executable]
    with open(folder / LOG, "a") as log:
        try:
            return subprocess.run(
                [*start, *words], cwd=folder, env=settings, stdout=log, stderr=log, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            return 124


def report(queue: Sequence[Job], folder: Path) -> str:
    """A line for each job: its estimate, when it would end if nothing were done yet, and what became of it."""
    state, lines, total = read_state(folder), ["job                 minutes   at the end"], 0.0
    for job in queue:
        total += job.seconds
        became = "to do"
        if job.name in state:
            code, seconds = state[job.name]["exit"], state[job.name]["seconds"]
            became = f"failed with exit code {code}, see {LOG}" if code else "done"
            became += f" after {seconds / 60:.1f} minutes"
        lines.append(f"{job.name:<18}{job.seconds / 60:>9.1f}{total / 60:>13.1f}   {became}")
    return "\n".join(lines)


# A leg.


def leg(chosen: argparse.Namespace, queue: Sequence[Job]) -> None:
    """Start the work if nobody is at it, wait, and leave what there is so far."""
    folder: Path = chosen.folder
    until = time.monotonic() + chosen.seconds
    moment = folder / ENDS
    if not moment.exists():
        moment.write_text(str(time.time() + 60 * chosen.minutes))
    worker = None
    if not is_worked_on(folder):
        minutes = (float(moment.read_text()) - time.time()) / 60
        words = ["work", str(folder), f"--minutes={minutes}", *(["--rehearse"] if chosen.rehearse else [])]
        with open(folder / LOG, "a") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "simclr_lib.authoring.gpu", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    while time.monotonic() < until and (is_worked_on(folder) if worker is None else worker.poll() is None):
        time.sleep(1)
    come_back(folder, chosen.out)
    lines = (folder / LOG).read_text(errors="replace").split("\n")
    print(*(line.rpartition("\r")[-1] for line in lines[-40:]), report(queue, folder), sep="\n")  # no progress bars
    if not is_worked_on(folder):
        left = [job.name for job in queue if job.name not in read_state(folder)]
        print(f"too long for what is left of the time: {', '.join(left)}" if left else "nothing is left to do")


def is_worked_on(folder: Path) -> bool:
    """Return whether another process is at work in the queue's folder."""
    try:
        with locked(folder):
            return False
    except SimCLRError:
        return True


def come_back(folder: Path, out: Path) -> None:
    """Leave the results and the weights so far in a folder, in files that are few and small enough to come back."""
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out / RESULTS, "w:gz") as archive:
        for path in filter(Path.exists, kept_files(folder)):
            archive.add(path, path.relative_to(folder))
    for weights in sorted((folder / "weights").glob("*.pt")):
        if len(list(out.iterdir())) < MAX_FILES and weights.stat().st_size <= MAX_BYTES:
            shutil.copy(weights, out)


def kept_files(folder: Path) -> Iterator[Path]:
    """The small files of the jobs that are done, and what the unfinished sweeps have measured so far."""
    yield from (folder / STATE, folder / LOG)
    state = read_state(folder)
    for run in sorted((folder / "runs").glob("*")):
        is_done = run.name in state and not state[run.name]["exit"]
        yield from sorted(run.glob("*.json*" if is_done else ROWS))


# The command line.


def write_toy_images(folder: Path) -> None:
    """Write emblems as a folder of images, for a rehearsal."""
    for split, count in (("train", 640), ("test", 100)):
        part = load_dataset("emblems", split, limit=count)
        for number, (image, label) in enumerate(zip(part.images, part.labels.tolist(), strict=True)):
            file = folder / split / part.classes[label] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(image, str(file))


def main(words: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.gpu", description="Run what needs a GPU.")
    actions = parser.add_subparsers(dest="action", required=True)
    for action, text in {
        "plan": "print the jobs",
        "work": "run the jobs",
        "leg": "run them in another session",
    }.items():
        options = actions.add_parser(action, help=text)
        options.add_argument("--rehearse", action="store_true", help="make all jobs tiny")
        options.add_argument("folder", type=Path, nargs="?" if action == "plan" else None, help="folder of the queue")
        if action != "plan":
            options.add_argument("--minutes", type=float, default=1e6, help="time that the machine is lent for")
        if action == "leg":
            options.add_argument("--seconds", type=float, required=True, help="length of this call")
            options.add_argument("--out", type=Path, required=True, help="folder for what comes back")
            options.add_argument("--unpack", type=Path, nargs="*", default=[], help="archives of images and results")
    chosen = parser.parse_args(words)
    queue = [replace(job, seconds=300) for job in jobs(TOY)] if chosen.rehearse else jobs(Size())
    folder = chosen.folder or Path("queue")
    if chosen.action != "plan" and not folder.exists():
        folder.mkdir(parents=True)
        for archive in getattr(chosen, "unpack", ()):
            shutil.unpack_archive(archive, folder, filter="data")
        if chosen.rehearse:
            write_toy_images(folder / IMAGES)
    if chosen.action != "plan" and not (folder / IMAGES).is_dir():
        raise SimCLRError(f"there is no folder {folder / IMAGES}: unpack the images there (--unpack in the first leg).")
    if chosen.action == "plan":
        print(report(queue, folder))
    elif chosen.action == "leg":
        leg(chosen, queue)
    else:
        with locked(folder):
            work(queue, folder, time.time() + 60 * chosen.minutes, run_command)


if __name__ == "__main__":
    main()
