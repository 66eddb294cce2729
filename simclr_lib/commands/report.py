"""``simclr report``: a page about any run, to open in a browser and to send on."""

from __future__ import annotations

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.errors import counted
from simclr_lib.experiments.comparison import evenly
from simclr_lib.recipes import FILMED
from simclr_lib.results import Result
from simclr_lib.settings import ReportConfig


def report(config: ReportConfig) -> None:
    """Run ``simclr report``: writes report.html and, beside it, a picture and a film."""
    from simclr_lib.teaching.run_report import Trained, report_of_run  # imported here, because it brings matplotlib

    run = open_run(config)
    parts = run.parts(config.limit or run.settings.limit)
    train, tested = parts["train"], parts.get("test", parts["train"])
    if not run.settings.contrastive:
        train, tested = train.labelled, tested.labelled
    results = run.run_dir / "results.json"
    print(f"projecting the features of {counted(min(len(tested), FILMED), 'image')} …")
    trained = Trained(
        run.model,
        run.stored,
        run.settings,
        run.run_dir,
        train,
        evenly(tested, FILMED),
        Result.read(results) if results.exists() else None,
    )
    *beside, page = report_of_run(trained).write(run.out, config.address)
    for file in beside:
        print(f"{'film' if file.suffix == '.gif' else 'preview'}: {file}")
    print(f"report: {page}, to open in a browser and to send on")
