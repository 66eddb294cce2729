"""The command line: ``simclr demo | notebooks | train | evaluate | embed | search | predict | export | report | …``.

Nothing here imports torch before a command runs, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import itertools
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

import simclr_lib
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError, nearest, unknown_name
from simclr_lib.options import Option, flag, mistake, options_of, parser_of, preset_option, tidy, values_of
from simclr_lib.recipes import PRESETS
from simclr_lib.settings import (
    BenchConfig,
    BuildConfig,
    BundleConfig,
    CheckConfig,
    DemoConfig,
    EmbedConfig,
    EvaluateConfig,
    ExportConfig,
    MarkConfig,
    NotebooksConfig,
    PlanConfig,
    PredictConfig,
    ReportConfig,
    SearchConfig,
    SweepConfig,
)


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        settings: the dataclass whose fields are its options.
        function: place of the function that runs it, "module:name" below ``simclr_lib.commands``.
        summary: one sentence for the overview.
        presets: recipes that ``--preset`` offers.
    """

    settings: type
    function: str
    summary: str
    presets: Mapping[str, TrainConfig] = field(default_factory=dict)

    def options(self, preset: str | None = None) -> list[Option]:
        """Its options, with the defaults of a preset if one is named."""
        options = options_of(self.settings, self.presets.get(preset or ""))
        return [preset_option(self.presets), *options] if self.presets else options

    def run(self, settings: Any) -> None:
        """Import the command's function, and torch with it, and call the function."""
        module, name = self.function.split(":")
        getattr(importlib.import_module(f"simclr_lib.commands.{module}"), name)(settings)


COMMANDS = {
    "demo": Command(DemoConfig, "demo:demo", "Run all of SimCLR offline in minutes and write a report. Start here."),
    "notebooks": Command(
        NotebooksConfig, "notebooks:notebooks", "Copy the notebooks of the course to a folder, to work on them."
    ),
    "train": Command(
        TrainConfig, "train:train", "Pretrain with SimCLR and train the output head, or train with labels.", PRESETS
    ),
    "evaluate": Command(
        EvaluateConfig, "evaluate:evaluate", "Compare a checkpoint's features: kNN, linear probe, few labels."
    ),
    "embed": Command(EmbedConfig, "embed:embed", "Write the features of images as tables, and draw a map of them."),
    "search": Command(SearchConfig, "search:search", "Find the images of a folder that are most similar to a photo."),
    "predict": Command(
        PredictConfig, "predict:predict", "Write a class and its probability for each image of a folder."
    ),
    "export": Command(ExportConfig, "export:export", "Write the encoder for torchvision, timm, safetensors or ONNX."),
    "report": Command(ReportConfig, "report:report", "Write a page about a run: views, learning curves, features."),
    "sweep": Command(SweepConfig, "sweep:sweep", "Repeat a measured comparison, such as crop × colour."),
    "plan": Command(
        PlanConfig, "plan:plan", "Estimate the time and memory of pretraining, here or on several processes.", PRESETS
    ),
    "bench": Command(BenchConfig, "bench:bench", "Measure this machine's throughput beside other libraries'."),
    "workshop check": Command(CheckConfig, "workshop:check", "Say whether this machine is ready for the course."),
    "workshop build": Command(
        BuildConfig, "workshop:build", "Write the notebooks for students, with solutions, or for the instructor."
    ),
    "workshop bundle": Command(
        BundleConfig, "workshop:bundle", "Fill a folder with all that the course needs where there is no network."
    ),
    "workshop mark": Command(MarkConfig, "workshop:mark", "Mark returned notebooks. This executes the learners' code."),
}
OVERVIEW = """SimCLR trains image encoders without labels. These commands run and measure it.

simclr COMMAND --help              list the options of a command
simclr --version                   print the version
simclr --print-completion SHELL    print a script with which bash, zsh or fish
                                   completes commands and options"""
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # endings of their names
OVERALL = ("--help", "--version", "--print-completion")  # options without a command
DEMANDING = ("batch_size", "limit", "images", "width", "projection_hidden")  # settings that memory grows with
SHELLS = ("bash", "zsh", "fish")
UNREAD = 141  # exit code where nobody reads the output any more: what a shell reports of a program that SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0; 2 for what the user can mend; 130 after Ctrl-C; 141 when nobody reads the output any more.
    """
    words = joined(sys.argv[1:] if arguments is None else arguments)
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal's code page may lack τ or ±
    logger = logging.getLogger("simclr_lib")
    if not any(isinstance(handler, Notes) for handler in logger.handlers):
        logger.addHandler(Notes())
        logger.setLevel(logging.INFO)
    try:
        try:
            run(words)
        except SystemExit as stop:  # tyro ends so when it has printed the help
            if stop.code:
                raise
        sys.stdout.flush()
        return 0
    except SimCLRError as error:
        options = COMMANDS[words[0]].options() if words[0] in COMMANDS else []
        complain(with_flags(str(error), [option.name for option in options if not option.positional]))
    except BrokenPipeError:
        return UNREAD
    except OSError as error:
        complain(f"{error.filename or 'output'}: {error.strerror or error}.")
    except (MemoryError, RuntimeError) as error:
        lacks_memory = "out of memory" in str(error) or "can't allocate memory" in str(error)
        if not lacks_memory and not isinstance(error, MemoryError):
            raise
        complain(out_of_memory(words))
    except KeyboardInterrupt as error:
        print(f"simclr: {str(error) or 'stopped'}", file=sys.stderr)
        return 130
    finally:
        discard_unwritten()
    return 2


def joined(words: Sequence[str]) -> list[str]:
    """The words, where the two words of a command such as ``workshop check`` are one."""
    name = " ".join(words[:2])
    return [name, *words[2:]] if name in COMMANDS else list(words)


def run(words: Sequence[str]) -> None:
    """Do what the words of the command line say."""
    if not words or words[0] in ("-h", "--help"):
        tyro.cli(overview(), args=["--help"], prog="simclr", description=OVERVIEW)
    elif words[0] == "--version":
        print(f"simclr {simclr_lib.__version__}")
    elif words[0] == "--print-completion":
        shell = words[1] if len(words) > 1 else ""
        if shell not in SHELLS:
            raise unknown_name("shell", shell, SHELLS)
        tyro.cli(completed(), args=["--tyro-print-completion", shell], prog="simclr")
    elif words[0] in COMMANDS:
        settings = parse(words[0], words[1:])
        settings.check()
        if isinstance(settings, TrainConfig):
            settings.check_start()
        COMMANDS[words[0]].run(settings)
    else:
        raise unknown_command(words)


def unknown_command(words: Sequence[str]) -> SimCLRError:
    """Return the error for words that begin with no command: the nearest one, or all of them."""
    inner = [command.removeprefix("workshop ") for command in COMMANDS if command.startswith("workshop ")]
    near = nearest(words[0], [*COMMANDS, *OVERALL, "workshop"])
    if near is None:
        return unknown_name("command", words[0], COMMANDS)
    if near.split()[0] != "workshop":
        return SimCLRError(f"unknown command {words[0]!r}: did you mean {near!r}? `simclr --help` lists all.")
    if len(words) == 1:
        return SimCLRError(f"simclr workshop needs a command: choose one of {', '.join(inner)}.")
    second = nearest(words[1], inner)
    hint = f"did you mean 'workshop {second}'?" if second else f"choose one of {', '.join(inner)}."
    return SimCLRError(f"unknown command {' '.join(words[:2])!r}: {hint}")


def overview() -> Any:
    """Return the type that tyro reads for ``simclr --help``: every command, without its options."""
    commands = [
        Annotated[parser_of(name, ()), tyro.conf.subcommand(name, description=command.summary)]
        for name, command in COMMANDS.items()
    ]
    return Union[tuple(commands)]  # noqa: UP007


def completed() -> Any:
    """Return the type whose words a shell completes: in it, the commands of ``simclr workshop`` are those of one."""
    groups: dict[str, list[Any]] = {"": [], "workshop": []}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        kind = parser_of(last, command.options())
        groups[group].append(Annotated[kind, tyro.conf.subcommand(last, description=command.summary)])
    inner: Any = Annotated[Union[tuple(groups["workshop"])], tyro.conf.OmitSubcommandPrefixes]  # noqa: UP007
    workshop: Any = dataclasses.make_dataclass("workshop", [("command", inner)], namespace={"__doc__": ""})
    commands = [*groups[""], Annotated[workshop, tyro.conf.subcommand("workshop")]]
    return Union[tuple(commands)]  # noqa: UP007


def parse(name: str, words: Sequence[str]) -> Any:
    """The settings of a command that the words stand for.

    Raises:
        SimCLRError: the words cannot be read.
        SystemExit: they ask for help, which is printed.
    """
    command = COMMANDS[name]
    words = tidy(words, command.options())
    preset = dict(itertools.pairwise(words)).get("--preset")
    options = command.options(preset)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where tyro explains a mistake in several lines
            parsed: object = tyro.cli(
                parser_of(name, options), args=words, prog=f"simclr {name}", description=command.summary
            )
    except SystemExit as stop:
        if stop.code:
            raise mistake(f"simclr {name}", words, options) from None
        raise
    values = values_of(parsed)
    if command.presets:
        del values["preset"]
    settings: Any = command.settings(**values)
    if (
        isinstance(settings, TrainConfig)
        and settings.data_dir
        and not {"--dataset", "--preset", "--images"} & set(words)
    ):
        check_data_dir(settings.data_dir)
    return settings


def check_data_dir(folder: Path) -> None:
    """Raise an error if somebody seems to want to train on a folder's images, but has not said so."""
    if (folder / "cifar-10-batches-py").exists():
        return
    names = itertools.islice(folder.rglob("*"), 2_000)  # enough to tell, and quick in any folder
    if sum(name.suffix.lower() in IMAGES for name in names) >= 10:
        raise SimCLRError(
            f"{folder} holds images, but the data set is cifar10: write --images {folder} to train on them, "
            "or add --dataset cifar10 to have CIFAR-10 in that folder."
        )


# Errors and output.


def with_flags(message: str, names: Iterable[str]) -> str:
    """A library's message with the names of settings replaced by options: ``batch_size`` by ``--batch-size``.

    A name with an underscore is replaced wherever it is a word of its own. A name that may be an English word, such
    as ``limit``, is replaced only before "=", before " must be" and in backticks. ``resume=True`` becomes
    ``--resume``, ``dataset="emblems"`` becomes ``--dataset emblems``, and ``levels=(0, 4095)`` becomes
    ``--levels 0 4095``.
    """
    plain = "|".join(names)
    compound = "|".join(name for name in names if "_" in name)
    name = rf"(?:{compound or '(?!)'})(?![\w/\\-]|\.\w)|(?:{plain or '(?!)'})(?==| must be|`)"
    pattern = rf"""(?<![\w./\\-])(?P<name>{name})(?:=True\b|="(?P<value>[^"]*)"|=\((?P<values>[^)]*)\))?"""

    def option(found: re.Match[str]) -> str:
        values = (found["values"] or "").replace(",", "")
        return " ".join(filter(None, [flag(found["name"]), found["value"], values]))

    return re.sub(pattern, option, message)


class Notes(logging.Handler):
    """Prints what the library reports, such as what it found in a folder of images; warnings go to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one report, to where the outputs lead at this moment."""
        print(record.getMessage(), file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout)


def out_of_memory(words: Sequence[str]) -> str:
    """The message for a command that found too little memory: it names those of its options that decide about it."""
    options = COMMANDS[words[0]].options() if words and words[0] in COMMANDS else []
    numbers = {option.name for option in options if option.kind is int}  # the images of ``simclr train`` are a folder
    *others, last = [flag(name) for name in DEMANDING if name in numbers] or [""]
    smaller = " or ".join(filter(None, [", ".join(others), last]))
    return "out of memory: " + (f"use a smaller {smaller}." if smaller else "use a machine that has more.")


def complain(message: str) -> None:
    """Print an error in one line."""
    print(f"simclr: error: {' '.join(message.splitlines())}", file=sys.stderr)


def discard_unwritten() -> None:
    """Forget what standard output does not take any more, so that Python does not complain about it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
