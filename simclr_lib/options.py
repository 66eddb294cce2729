"""Options of the command line: made from the fields of a command's settings, read by tyro.

A field becomes an option and its docstring the help text. tyro parses, prints the help and completes words in a shell.
It explains a mistake in a box of several lines, though, and this package promises one line, which `mistake` writes.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from simclr_lib.choices import DATASETS, FORMS
from simclr_lib.config import ONLY_WITHOUT_LABELS, TrainConfig
from simclr_lib.errors import SimCLRError, is_number, nearest, unknown_name

# The named groups in which `simclr train --help` and `simclr plan --help` show the settings of training.
GROUPS = {
    "data": (
        *("contrastive", "images", "labels", "dataset", "data_dir"),
        *("download", "limit", "image_size", "store_size", "fit", "bands", "levels", "max_pixels", "validation"),
    ),
    "network": ("base_model", "width", "stem", "init", "projection_hidden", "projection_dim", "projection_layers"),
    "views": (
        *("view_size", "crop_min", "crop_max", "flip_prob", "color_strength", "color_prob"),
        *("gray_prob", "blur_prob", "blur_sigma"),
    ),
    "optimiser": (
        *("temperature", "epochs", "batch_size", "micro_batch", "loss_chunk", "global_negatives"),
        *("optimizer", "lr", "weight_decay", "warmup_epochs"),
    ),
    "run": ("run_dir", "resume", "seed", "monitor_every", "checkpoint_seconds", "log", "tensorboard"),
    "machine": ("device", "precision", "compile", "timeout"),
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
NAMES = {"dataset": DATASETS}  # fields of text that choose among names


def unused_settings(config: TrainConfig, watched: bool) -> set[str]:
    """Names of settings that a run does not use.

    Args:
        config: the run's settings.
        watched: whether there are labels to measure the kNN accuracy with while the run pretrains.
    """
    unused = set() if config.contrastive else set(ONLY_WITHOUT_LABELS)
    if not watched:
        unused.add("validation")
    if not isinstance(config.base_model, int):
        unused.add("width")  # of ResNets
    return unused


@dataclass(frozen=True)
class Option:
    """An option, or a positional argument, of a command.

    Attributes:
        name: name of the field that it sets, such as ``batch_size``.
        hint: type of the field.
        default: value that the field has where the option is not given.
        help: full sentences for ``--help``.
        positional: whether it is given by its place rather than by its name.
        group: title of the group in which ``--help`` shows it; None is that of the command itself.
    """

    name: str
    hint: Any
    default: object
    help: str
    positional: bool = False
    group: str | None = None

    @property
    def flag(self) -> str:
        """The option's name on the command line, such as ``--batch-size``."""
        return flag(self.name)

    @functools.cached_property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have: one and perhaps NoneType, or choices and text."""
        union = typing.get_origin(self.hint) in (typing.Union, types.UnionType)
        return typing.get_args(self.hint) if union else (self.hint,)

    @functools.cached_property
    def parts(self) -> tuple[Any, ...] | None:
        """The types of the values of a tuple; None if the option has a single value."""
        kind = next(kind for kind in self.kinds if kind is not types.NoneType)
        return typing.get_args(kind) if typing.get_origin(kind) is tuple else None

    @functools.cached_property
    def kind(self) -> Any:
        """The type of a single value: bool, int, float, str, Path or a Literal."""
        return self.parts[0] if self.parts else next(kind for kind in self.kinds if kind is not types.NoneType)

    @functools.cached_property
    def count(self) -> int | Literal["*"]:
        """The number of words that the option takes: 0 for a boolean, "*" for any number."""
        if self.kind is bool:
            return 0
        if self.parts is None:
            return 1
        return "*" if Ellipsis in self.parts else len(self.parts)

    @functools.cached_property
    def choices(self) -> dict[str, object]:
        """Word on the command line → value, for an option that has a choice of values."""
        values = typing.get_args(self.kind) if typing.get_origin(self.kind) is Literal else NAMES.get(self.name, ())
        return {str(value): value for value in values}

    @property
    def form(self) -> str:
        """The form of the words that an option takes beside its choices, such as "timm:NAME"; "" for none."""
        return FORMS.get(self.name, "")

    def read(self, words: Sequence[str]) -> Any:
        """The value that the words stand for.

        Raises:
            SimCLRError: they stand for none.
        """
        if list(words) == ["None"] and types.NoneType in self.kinds:
            return None
        values = tuple(self._read_one(word) for word in words)
        return values if self.parts else values[0]

    def _read_one(self, word: str) -> object:
        label = self.name.upper() if self.positional else self.flag
        if self.choices:
            beginning, colon, name = word.partition(":")
            if colon and name and self.form.startswith(f"{beginning}:"):
                return word
            if word not in self.choices:
                raise unknown_name(f"value of {label}", word, [*self.choices, *filter(None, [self.form])])
            return self.choices[word]
        if not word and self.kind in (str, Path):
            raise SimCLRError(f"{label} needs a value.")
        if self.kind is Path:
            return expanded(Path(word), label)
        try:
            return self.kind(word)
        except ValueError:
            name = "a whole number" if self.kind is int else "a number"
            raise SimCLRError(f"{label} takes {name}, not {word!r}.") from None

    @property
    def annotation(self) -> Any:
        """The option as tyro reads it from a dataclass's field."""
        described = tyro.conf.arg(help=self.help, help_behavior_hint=self._remark)
        if self.kind is bool:
            return Annotated[bool, described]
        spec = PrimitiveConstructorSpec[Any](
            nargs=self.count,
            metavar=self._metavar,
            instance_from_str=self.read,
            is_instance=lambda value: True,
            str_from_instance=lambda value: [str(value)],
            choices=self._listed,
        )
        # The spec says all; only the completion of file names goes by the type. (tyro is slow to read `Path | None`.)
        kind: Any = Optional[Path] if self.kind is Path else object  # noqa: UP045
        annotation: Any = Annotated[kind, described, spec]
        return Annotated[annotation, tyro.conf.Positional] if self.positional else annotation

    @property
    def _listed(self) -> tuple[str, ...] | None:
        """All words that the option takes; None where they cannot be listed."""
        if not self.choices or self.form:
            return None
        return *self.choices, *(["None"] if types.NoneType in self.kinds else [])

    @property
    def _remark(self) -> str:
        if self.positional:
            return "(required)"
        if self.default is None:
            return "(optional)"  # the help text says what happens without it
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return f"(default: {' '.join(map(str, values))})"

    @property
    def _metavar(self) -> str:
        if self.choices:
            return "{" + ",".join([*self.choices, *filter(None, [self.form])]) + "}"
        if self.positional:
            return self.name.upper()
        name = {int: "INT", float: "NUMBER", Path: "PATH"}.get(self.kind, "NAME")
        return f"{name} ..." if self.count == "*" else " ".join([name] * int(self.count))


def flag(name: str) -> str:
    """The option of a field: ``--batch-size`` of ``batch_size``."""
    return f"--{name.replace('_', '-')}"


def expanded(path: Path, label: str) -> Path:
    """The path with ``~`` replaced by the home folder: a shell leaves ``--run-dir=~/x`` as it is."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise SimCLRError(f"{label}: there is no home folder for {str(path)!r}: write the whole path.") from None


def options_of(settings: type, defaults: object | None = None) -> list[Option]:
    """The options of a command, in the order of the fields of its settings.

    Args:
        settings: the dataclass whose fields become options; those of training are shown in their groups.
        defaults: an object with the values to show and to use as defaults, instead of those of the fields.
    """
    hints = typing.get_type_hints(settings, include_extras=True)
    helps = help_texts(settings)
    options = []
    for field in dataclasses.fields(settings):
        hint, marks = hints[field.name], []
        if typing.get_origin(hint) is Annotated:
            hint, *marks = typing.get_args(hint)
        default = None if field.default is dataclasses.MISSING else field.default
        options.append(
            Option(
                name=field.name,
                hint=hint,
                default=getattr(defaults, field.name, default),
                help=helps.get(field.name, ""),
                positional=tyro.conf.Positional in marks,
                group=GROUP_OF.get(field.name) if issubclass(settings, TrainConfig) else None,
            )
        )
    return sorted(options, key=lambda option: not option.positional)


def preset_option(presets: Mapping[str, object]) -> Option:
    """``--preset``, which takes one of these names."""
    text = "Start from the settings of a recipe. Other options override single settings of it."
    return Option("preset", Literal[tuple(presets)] | None, None, text)


@functools.cache
def help_texts(settings: type) -> dict[str, str]:
    """Field → the docstring below it, of a dataclass and those that it inherits from."""
    texts = {}
    for cls in reversed(settings.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        for field, text in itertools.pairwise(typing.cast(ast.ClassDef, definition).body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[typing.cast(ast.Name, field.target).id] = " ".join(str(text.value.value).split())
    return texts


def parser_of(name: str, options: Sequence[Option]) -> type:
    """A dataclass for tyro with the options as fields; a group of options is a field with a dataclass of its own."""
    fields = [_field(option) for option in options if option.group is None]
    for title in GROUPS:
        members = [_field(option) for option in options if option.group == title]
        if members:
            group = _dataclass(title, members)
            # Without a help text of its own, tyro would look for one in Python's source code, which takes long.
            annotation: Any = Annotated[group, tyro.conf.OmitArgPrefixes, tyro.conf.arg(help="")]
            fields.append((title, annotation, dataclasses.field(default_factory=group)))
    return _dataclass(name, fields)


def _field(option: Option) -> tuple[str, Any, Any]:
    default = dataclasses.MISSING if option.positional else option.default
    return option.name, option.annotation, dataclasses.field(default=default)


def _dataclass(name: str, fields: Sequence[tuple[str, Any, Any]]) -> type:
    # tyro would show the docstring that `make_dataclass` writes.
    return dataclasses.make_dataclass(name, fields, namespace={"__doc__": ""})


def values_of(parsed: object) -> dict[str, object]:
    """Field → value, of what tyro made of a `parser_of`."""
    values: dict[str, object] = {}
    for name, value in vars(parsed).items():
        values |= vars(value) if dataclasses.is_dataclass(value) else {name: value}
    return values


# The words of a command line.


def tidy(words: Sequence[str], options: Sequence[Option]) -> list[str]:
    """Return the words in one spelling: ``--batch_size=8`` as ``--batch-size 8``, ``--flag False`` as ``--no-flag``."""
    switches = {option.flag for option in options if option.kind is bool}
    tidied: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        parts = [name.replace("_", "-"), *([value] if equals else [])] if word.startswith("--") else [word]
        for part in parts:
            if tidied and tidied[-1] in switches and part.lower() in ("true", "false"):
                if part.lower() == "false":
                    tidied[-1] = f"--no-{tidied[-1][2:]}"
            else:
                tidied.append(part)
    return tidied


def by_option(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with the words behind it; first an empty name with the words that stand before all options."""
    option, values = "", list[str]()
    for word in words:
        if word.startswith("-") and len(word) > 1 and not is_number(word):
            yield option, values
            option, values = word, []
        else:
            values.append(word)
    yield option, values


def mistake(program: str, words: Sequence[str], options: Sequence[Option]) -> SimCLRError:
    """Return the error for words that tyro refused, in one line."""
    known = {option.flag: option for option in options if not option.positional}
    switches = {name for name, option in known.items() if option.kind is bool}
    switches |= {f"--no-{name[2:]}" for name in switches}
    placed: list[str] = []  # words that belong to no option
    for name, values in by_option(words):
        if name in known and name not in switches:
            option = known[name]
            count = len(values) if option.count == "*" else option.count
            if not values or len(values) < count:
                return SimCLRError(f"{name} needs {'a value' if count < 2 else f'{count} values'}.")
            try:
                option.read(values[:count])
            except SimCLRError as error:
                return error
            placed += values[count:]
        elif name in switches or not name:
            placed += values
        else:
            near = nearest(name, [*known, *switches, "--help"])
            return SimCLRError(
                f"unknown option {name!r}: " + (f"did you mean {near!r}?" if near else f"see {program} --help.")
            )
    places = [option for option in options if option.positional]
    if len(placed) < len(places):
        missing = places[len(placed)]
        return SimCLRError(f"{program} needs {missing.name.upper()}: {missing.help}")
    unexpected = placed[len(places)] if len(placed) > len(places) else words[-1]
    return SimCLRError(f"unexpected word {unexpected!r}: see {program} --help.")
