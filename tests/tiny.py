"""The smallest run that still has every part of SimCLR, for tests whose claim is not about what a network learns."""

from __future__ import annotations

from dataclasses import fields

from simclr_lib import TrainConfig

TINY = TrainConfig(
    dataset="emblems",
    limit=120,
    stem="fast",
    width=4,
    projection_hidden=16,
    projection_dim=8,
    batch_size=16,
    epochs=2,
    validation=0.1,
    monitor_every=1,
    precision="fp32",
    device="cpu",
)


def options(config: TrainConfig) -> list[str]:
    """The words that give these settings to `simclr train`: one option for each that is not at its default."""
    chosen = {field.name: getattr(config, field.name) for field in fields(config)}
    default = TrainConfig()
    return [
        word
        for name, value in chosen.items()
        if value != getattr(default, name)
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
