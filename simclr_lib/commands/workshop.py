"""``simclr workshop``: what a teacher needs before, during and after a course."""

from __future__ import annotations

from simclr_lib.describe import format_minutes
from simclr_lib.errors import counted
from simclr_lib.files import write_csv
from simclr_lib.settings import BuildConfig, BundleConfig, CheckConfig, MarkConfig
from simclr_lib.teaching.workshop import editions, marking, offline, readiness

SIGNS = {True: "✓", False: "✗", None: "!"}


def build(config: BuildConfig) -> None:
    """Run ``simclr workshop build``: writes an edition of all notebooks."""
    written = editions.build(config.folder, config.edition)
    print(f"{config.edition} edition: {counted(len(written), 'notebook')} in {config.folder}")


def bundle(config: BundleConfig) -> None:
    """Run ``simclr workshop bundle``: downloads the wheels and writes the rest of the bundle."""
    platform = config.platform or offline.this_platform()
    print(f"downloading wheels for {platform}, Python {config.python} …", flush=True)
    files = offline.make_bundle(config.folder, platform, config.python)
    size = sum(file.stat().st_size for file in files)
    print(f"bundle: {counted(len(files), 'file')}, {size / 1e6:,.0f} MB, in {config.folder}; see README.txt there")


def check(config: CheckConfig) -> None:
    """Run ``simclr workshop check``: prints what is there, what is missing, and how long the notebooks will take.

    Raises:
        SystemExit: with 1, where something is missing.
    """
    found = readiness.findings()
    for finding in found:
        print(SIGNS[finding.good], finding.text, flush=True)
    print("how long the notebooks will take here, as an estimate:")
    seconds = readiness.estimates(readiness.step_seconds())
    for name, estimate in seconds.items():
        print(f"  {name:<28} {format_minutes(estimate)}")
    missing = sum(finding.good is False for finding in found)
    if missing:
        print(f"not ready: {counted(missing, 'line')} above, marked with ✗, must be mended first.")
        raise SystemExit(1)
    print(f"ready. All notebooks together will run for about {format_minutes(sum(seconds.values()))}.")


def mark(config: MarkConfig) -> None:
    """Run ``simclr workshop mark``: marks the notebooks one by one, then sums up."""
    print("marking executes the learners' code: in processes of its own, with a time limit, and without the network.")
    marks = []
    for of_notebook in marking.mark_folder(config.folder, config.seconds):
        marks += of_notebook
        if of_notebook:
            print(marking.learner_line(of_notebook), flush=True)
    for line in ["", *marking.exercise_lines(marks)]:
        print(line)
    if config.out:
        write_csv(config.out, marking.COLUMNS, [tuple(vars(mark).values()) for mark in marks])
        print(f"table: {config.out}")
