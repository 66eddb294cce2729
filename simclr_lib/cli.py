"""The command line: ``simclr demo | train | evaluate | embed | sweep | plan | bench``."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import types
import typing
from collections.abc import Sequence

import tyro

from simclr_lib.commands.bench import bench
from simclr_lib.commands.demo import demo
from simclr_lib.commands.evaluate import embed, evaluate
from simclr_lib.commands.plan import plan
from simclr_lib.commands.settings import BenchConfig, DemoConfig, EmbedConfig, EvaluateConfig, PlanConfig, SweepConfig
from simclr_lib.commands.sweep import sweep
from simclr_lib.commands.train import train
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError, unknown_name

COMMANDS = {
    "demo": (DemoConfig, demo, "All of SimCLR offline in minutes, with a report: start here."),
    "train": (TrainConfig, train, "Pretrain with SimCLR and train the output head; or train with labels."),
    "evaluate": (EvaluateConfig, evaluate, "Table of a checkpoint: kNN, linear probe, few labels."),
    "embed": (EmbedConfig, embed, "Picture of a checkpoint's features in two dimensions."),
    "sweep": (SweepConfig, sweep, "Re-run a measured comparison, such as crop × colour."),
    "plan": (PlanConfig, plan, "Time and memory that a pretraining run would take, here or on several processes."),
    "bench": (BenchConfig, bench, "This machine's throughput, beside other libraries'."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(usage())
            return 0
        name, *options = arguments
        if name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        config_type, run, description = COMMANDS[name]
        options = spell_out_booleans(options, config_type)
        check_options(options, config_type)
        run(tyro.cli(config_type, args=options, prog=f"simclr {name}", description=description))  # type: ignore[operator]
        return 0
    except SimCLRError as error:
        print(f"simclr: error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"simclr: error: {error.filename or 'file'}: {error.strerror or error}.", file=sys.stderr)
    except (MemoryError, RuntimeError) as error:
        out_of_memory = "out of memory" in str(error) or "can't allocate memory" in str(error)
        if not out_of_memory and not isinstance(error, MemoryError):
            raise
        print("simclr: error: out of memory: use a smaller --batch-size or --limit.", file=sys.stderr)
    except KeyboardInterrupt as error:
        print(f"simclr: {str(error) or 'stopped'}", file=sys.stderr)
        return 130
    return 2


def usage() -> str:
    """The overview that ``simclr --help`` prints."""
    lines = ["usage: simclr COMMAND [options]   (simclr COMMAND --help lists a command's options)", ""]
    lines += [f"  {name:<10} {description}" for name, (_, _, description) in COMMANDS.items()]
    return "\n".join(lines)


def spell_out_booleans(options: Sequence[str], config_type: type) -> list[str]:
    """Let ``--flag True`` and ``--flag=False`` stand for ``--flag`` and ``--no-flag``."""
    hints = typing.get_type_hints(config_type)
    flags = {
        f"--{field.name.replace('_', '-')}"
        for field in dataclasses.fields(config_type)
        if hints[field.name] in (bool, types.NoneType)
    }
    spelled: list[str] = []
    words = [part for option in options for part in (option.split("=", 1) if option.startswith("--") else [option])]
    i = 0
    while i < len(words):
        word = words[i].replace("_", "-") if words[i].startswith("--") else words[i]
        following = words[i + 1].lower() if i + 1 < len(words) else ""
        if word in flags and following in ("true", "false"):
            spelled.append(word if following == "true" else f"--no-{word[2:]}")
            i += 2
        else:
            spelled.append(word)
            i += 1
    return spelled


def check_options(options: Sequence[str], config_type: type) -> None:
    """Raise a one-line error for an option that does not exist, or whose value cannot be meant."""
    hints = typing.get_type_hints(config_type)
    known = {f"--{field.name.replace('_', '-')}": hints[field.name] for field in dataclasses.fields(config_type)}
    known |= {f"--no-{name[2:]}": hint for name, hint in known.items() if hint is bool}
    for option, value in itertools.zip_longest(options, options[1:], fillvalue=""):
        if not option.startswith("--") or option == "--help":
            continue
        if option not in known:
            raise unknown_name("option", option, known)
        kinds = typing.get_args(known[option]) if is_union(known[option]) else (known[option],)
        if value == "None" and types.NoneType in kinds:
            continue
        choices = [str(choice) for kind in kinds for choice in literal_values(kind)]
        if choices and value not in choices:
            raise unknown_name(f"value of {option}", value, choices)
        for kind, name in ((int, "a whole number"), (float, "a number")):
            if kind in kinds and not _is(kind, value):
                raise SimCLRError(f"{option} takes {name}, not {value!r}.")


def is_union(hint: object) -> bool:
    """Whether a type is ``A | B``."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def literal_values(hint: object) -> tuple[object, ...]:
    """The values of a ``Literal``; none for other types."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _is(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True
