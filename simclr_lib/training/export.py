"""A run's encoder for other programs: torchvision, timm, bare PyTorch, safetensors and ONNX, with facts beside it."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import simclr_lib
from simclr_lib.choices import OWN, TIMM, ExportFormat
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError, shown, type_name, unknown_name
from simclr_lib.files import write_atomically
from simclr_lib.models import feature_dim, timm_call
from simclr_lib.training.pretrained import StoredRun, read_run

SUFFIXES: dict[ExportFormat, str] = {
    "torchvision": ".torchvision.pt",
    "timm": ".timm.pt",
    "torch": ".pt2",
    "safetensors": ".safetensors",
    "onnx": ".onnx",
}
INSTALL = "pip install 'simclr-lib[export]'"
STEMS = {  # stem → the lines that give torchvision's and timm's ResNets the same first layers
    "cifar": [
        "encoder.conv1 = torch.nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)",
        "encoder.maxpool = torch.nn.Identity()",
    ],
    "fast": [
        "encoder.conv1 = torch.nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)",
        "encoder.maxpool = torch.nn.Identity()",
    ],
    "imagenet": [],
}


class Exported(NamedTuple):
    """The files of an export.

    Attributes:
        file: the weights or the graph.
        about: JSON, of the same name with ".json" behind it: what the encoder takes and returns, and the lines of
            Python that load it.
    """

    file: Path
    about: Path


def export_encoder(run: Path, to: ExportFormat, file: Path | None = None, encoder: nn.Module | None = None) -> Exported:
    """Write a run's encoder for another library, and facts: in a JSON file beside it, and within it as its metadata.

    In a .pt or .pt2 file, which are zip archives, they are archive/extra/about.json.

    Args:
        run: the folder of a run, with SimCLR or with labels, or its checkpoint.pt.
        to: "torchvision" or "timm": a state dict in a .pt file that the library's own network loads. "safetensors": the
            weights by their names. "onnx": a graph from "images", float [N, 3, H, W] in 0…1, to "features", float
            [N, D], for any N. "torch": the same as a program that torch.export.load reads, for which PyTorch alone is
            enough.
        file: the file to write; None is encoder.torchvision.pt, encoder.timm.pt, encoder.pt2, encoder.safetensors or
            encoder.onnx in the run's folder.
        encoder: for a run with an encoder of your own, a module of its class, as for `load_pretrained`.

    Returns:
        (file, JSON file).

    Raises:
        SimCLRError: there is no such run, the library has no such network, a package is missing, or the file cannot be
            written or would replace one that is no export.
    """
    if to not in SUFFIXES:
        raise unknown_name("format", to, SUFFIXES)
    file = file or (run if run.is_dir() else run.parent) / f"encoder{SUFFIXES[to]}"
    page = Path(f"{file}.json")
    _check_free(file, page)
    stored = read_run(run)
    network, config = stored.encoder(torch.device("cpu"), encoder), stored.config
    _check_kind(config, to)
    about = _about(stored, feature_dim(network, stored.image_size), to, file.name)
    write_atomically(file, _WRITERS[to](network, about))
    write_atomically(page, (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    return Exported(file, page)


def _about(stored: StoredRun, dim: int, to: ExportFormat, name: str) -> dict[str, Any]:
    """Describe what an encoder with features of length ``dim`` takes and returns, and how a file of it is loaded."""
    config = stored.config
    return {
        "format": to,
        "encoder": config.network,
        "stem": config.stem,
        "width": config.width if isinstance(config.base_model, int) else None,
        "input": {
            "size": stored.image_size,
            "channels": "RGB",
            "layout": "NCHW",
            "range": [0, 1],
            "normalisation": "none",
        },
        "resize": {
            "shorter_side": stored.image_size,
            "interpolation": "bilinear",
            "antialias": True,
            "crop": "centre" if config.fit == "crop" else "none; black borders make the image square",
        },
        "reading": {**dataclasses.asdict(config.reading()), "transparent": "over white"},
        "feature_dim": dim,
        "classes": [shown(name) for name in stored.facts.get("classes", [])],
        "package": f"simclr-lib {simclr_lib.__version__}",
        "how_to_load": _how_to_load(config, stored.image_size, to, name),
    }


def _check_free(file: Path, page: Path) -> None:
    """Raise `SimCLRError` if the file or the JSON beside it exists, unless an earlier export wrote them."""
    try:
        earlier = set(json.loads(page.read_text(encoding="utf-8"))) >= {"format", "how_to_load"}
    except (OSError, ValueError, TypeError):  # there is none, or it is something else
        earlier = False
    taken = next((path for path in (file, page) if os.path.lexists(path)), None)
    if taken and (file.is_dir() or not earlier):
        raise SimCLRError(f"{taken} is there already and is no export: choose another name, or delete it first.")


def _check_kind(config: TrainConfig, to: ExportFormat) -> None:
    """Raise `SimCLRError` unless the library has this network."""
    is_resnet = isinstance(config.base_model, int)
    if to == "torchvision" and not is_resnet:
        raise SimCLRError(
            f"torchvision has no {config.network} to load: write it for timm, torch, safetensors or onnx."
        )
    if to == "timm" and config.has_own_encoder:
        raise SimCLRError(f"timm has no {config.network} to load: write it for torch, safetensors or onnx.")
    if to in ("torchvision", "timm") and is_resnet and config.width != 64:
        raise SimCLRError(
            f"{to}'s ResNets have the width 64, and this one has {config.width}: "
            "write it for torch, safetensors or onnx."
        )


# How to load it.


def _how_to_load(config: TrainConfig, size: int, to: ExportFormat, name: str) -> list[str]:
    """The lines of Python that make ``encoder`` from the file, or call its graph."""
    if to == "onnx":
        return [
            "import numpy, onnxruntime",
            f"session = onnxruntime.InferenceSession({name!r})",
            f"images = numpy.zeros((1, 3, {size}, {size}), numpy.float32)  # RGB in 0…1",
            '(features,) = session.run(["features"], {"images": images})',
        ]
    if to == "torch":
        return ["import torch", f"encoder = torch.export.load({name!r}).module()"]
    made = _lines_that_make(config, to)
    if to == "safetensors":
        return [
            *made,
            "from safetensors.torch import load_file",
            f"encoder.load_state_dict(load_file({name!r}))",
            "encoder.eval()",
        ]
    return [*made, f"encoder.load_state_dict(torch.load({name!r}, weights_only=True))", "encoder.eval()"]


def _lines_that_make(config: TrainConfig, to: ExportFormat) -> list[str]:
    """The lines of Python that make the encoder with random weights."""
    if config.has_own_encoder:
        module, _, name = str(config.base_model).removeprefix(OWN).rpartition(".")
        return [f"from {module} import {name}", f"encoder = {name}()  # with the arguments that it was trained with"]
    if not isinstance(config.base_model, int):
        assert config.view_size
        call = timm_call(config.base_model.removeprefix(TIMM), config.view_size)
        return ["import timm, torch", f"encoder = timm.{call}"]
    assert config.stem
    if to == "safetensors":
        return [
            f"from simclr_lib.models import {config.network}",
            f"encoder = {config.network}({config.stem!r}, width={config.width})",
        ]
    if to == "timm":
        made = f"encoder = timm.create_model({config.network!r}, num_classes=0)"
        return ["import timm, torch", made, *STEMS[config.stem]]
    return [
        "import torch, torchvision",
        f"encoder = torchvision.models.{config.network}()",
        "encoder.fc = torch.nn.Identity()",
        *STEMS[config.stem],
    ]


# The files' contents.


def _state_dict(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().contiguous().clone() for name, value in encoder.state_dict().items()}


def _pt(encoder: nn.Module, about: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(_state_dict(encoder), buffer)
    with zipfile.ZipFile(buffer, "a") as archive:  # torch.load leaves alone what it does not look for
        archive.writestr("archive/extra/about.json", json.dumps(about))
    return buffer.getvalue()


def _safetensors(encoder: nn.Module, about: dict[str, Any]) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise SimCLRError(f"this needs the safetensors package: {INSTALL}, or pip install safetensors.") from error
    return save(_state_dict(encoder), {**_texts(about), "format": "pt"})  # as other readers expect


def _program(encoder: nn.Module, about: dict[str, Any]) -> bytes:
    size, buffer = about["input"]["size"], io.BytesIO()
    network = copy.deepcopy(encoder).to(memory_format=torch.contiguous_format)
    try:
        program = torch.export.export(
            network, (torch.zeros(2, 3, size, size),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        torch.export.save(program, buffer, extra_files={"about.json": json.dumps(about)})
    except Exception as error:  # a network that cannot be traced makes any part of the exporter stumble
        raise _untraceable(error, "a program") from error
    return buffer.getvalue()


def _untraceable(error: Exception, form: str) -> SimCLRError:
    reason = " ".join(str(error).split())
    return SimCLRError(
        f"this encoder cannot be written as {form} ({type_name(error)}: {reason:.100}): write it for safetensors."
    )


def _onnx(encoder: nn.Module, about: dict[str, Any]) -> bytes:
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise SimCLRError(f"this needs the onnx and onnxscript packages: {INSTALL}.") from error
    size = about["input"]["size"]
    images = torch.zeros(2, 3, size, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.onnx, about itself
            program = torch.onnx.export(
                copy.deepcopy(encoder).to(memory_format=torch.contiguous_format),
                (images,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["images"],
                output_names=["features"],
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
        onnx.helper.set_model_props(model, _texts(about))
        return model.SerializeToString()
    except Exception as error:  # a network that cannot be traced makes any part of the exporter stumble
        raise _untraceable(error, "ONNX") from error


def _texts(about: dict[str, Any]) -> dict[str, str]:
    """The facts as texts, for the metadata of a file."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}


_WRITERS: dict[ExportFormat, Callable[[nn.Module, dict[str, Any]], bytes]] = {
    "torchvision": _pt,
    "timm": _pt,
    "torch": _program,
    "safetensors": _safetensors,
    "onnx": _onnx,
}
