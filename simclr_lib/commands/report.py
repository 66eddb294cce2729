"""``simclr report``: a page about any run, to open in a browser and to send on."""

from __future__ import annotations

import json

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.commands.settings import ReportConfig
from simclr_lib.experiments.comparison import FILMED, evenly
from simclr_lib.files import write_atomically
from simclr_lib.results import Result


def report(config: ReportConfig) -> None:
    """Run ``simclr report``: writes report.html."""
    from simclr_lib.teaching.run_report import Trained, report_of_run  # imported here, because it brings matplotlib

    run = open_run(config)
    parts = run.parts(config.limit)
    train, tested = parts["train"], parts.get("test", parts["train"])
    if not run.settings.contrastive:
        train, tested = train.labelled, tested.labelled
    results, about = run.run_dir / "results.json", run.run_dir / "config.json"
    print(f"projecting the features of {min(len(tested), FILMED):,} images …")
    page = report_of_run(
        Trained(
            run.model,
            run.settings,
            run.run_dir,
            train,
            evenly(tested, FILMED),
            Result.read(results) if results.exists() else None,
            json.loads(about.read_text(encoding="utf-8")) if about.exists() else {},
        )
    )
    write_atomically(run.out, page.encode())
    print(f"report: {run.out}, to open in a browser")
