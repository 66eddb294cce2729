"""``simclr export``: a run's encoder for other libraries."""

from __future__ import annotations

from simclr_lib.settings import ExportConfig
from simclr_lib.training.export import export_encoder


def export(config: ExportConfig) -> None:
    """Run ``simclr export``: writes the encoder, and JSON beside it that says what it takes and how to load it."""
    config.check()
    file, about = export_encoder(config.checkpoint, config.to, config.out)
    print(f"encoder: {file}\nwhat it takes, and how to load it: {about}")
