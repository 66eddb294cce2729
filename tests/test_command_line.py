"""The command line reads what is meant, answers at once, and explains every mistake in one line."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simclr_lib import __version__
from simclr_lib.cli import COMMANDS, Command, main, with_flags
from simclr_lib.config import TrainConfig
from simclr_lib.describe import describe, format_minutes
from simclr_lib.errors import SimCLRError
from simclr_lib.options import GROUPS, options_of
from simclr_lib.recipes import DEMO, PRESETS
from simclr_lib.teaching.course import NOTEBOOKS

PLACES = {"evaluate": ["runs/a"], "embed": ["runs/a"], "sweep": ["temperature"]}  # words that a command needs
OPTIONS = [(name, option) for name, command in COMMANDS.items() for option in command.options()]
SHARED = {option.name for option in COMMANDS["train"].options()}  # `plan` inherits the settings of `train`
NUMBERS = [
    (name, option.flag)
    for name, option in OPTIONS
    if option.kind in (int, float) and not option.choices and not (name == "plan" and option.name in SHARED)
]


@pytest.fixture
def settings(monkeypatch):
    """The settings that commands were started with; the commands do nothing, and every path is there."""
    started = []
    monkeypatch.setattr("simclr_lib.settings.checkpoint_file", lambda path: path / "checkpoint.pt")
    monkeypatch.setattr("simclr_lib.files.require_folder", lambda folder: None)
    monkeypatch.setattr("simclr_lib.files.content_of", lambda file: b"")
    monkeypatch.setattr("simclr_lib.config.check_run", lambda folder, resume: None)
    monkeypatch.setattr(Command, "run", lambda command, settings: started.append(settings))
    return started


def fails(capsys, *words: str) -> str:
    """Give the command line a mistake; returns the line that it printed."""
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("simclr: error: ")


def run_python(*arguments: str, **options) -> subprocess.CompletedProcess:
    """Run Python in a new process with text in and out."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)


# --- help


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=str)
def test_the_overview_names_every_command(capsys, words):
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert "--version" in shown
    assert "--print-completion" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_option_in_80_columns(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option.flag in shown for option in COMMANDS[name].options() if not option.positional)
    _usage, *lines = shown.splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["train", "plan"])
def test_help_groups_the_options_of_training(capsys, name):
    main([name, "--help"])
    shown = capsys.readouterr().out
    places = [shown.index(f"{group} options") for group in GROUPS]
    assert places == sorted(places)


def test_every_setting_of_training_is_in_one_group():
    names = [name for names in GROUPS.values() for name in names]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(TrainConfig))


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda value: getattr(value, "flag", value))
def test_every_help_text_is_a_sentence(name, option):
    assert option.help[0].isupper()
    assert option.help.endswith(".")


def test_help_shows_the_choices_and_the_defaults(capsys):
    main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--optimizer {adam,sgd,lars}" in shown
    assert "--dataset {emblems,cifar10,cifar100,stl10,tinyimagenet,imagefolder,hf:NAME}" in shown
    assert "(default: 0.01 2.0)" in shown


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"simclr {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_can_complete_commands_and_options(capsys, shell):
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert "evaluate" in script
    assert "--projection-hidden" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [("simclr wor", "workshop"), ("simclr workshop ch", "check"), ("simclr workshop mark --se", "--seconds")],
)
def test_the_second_word_of_a_command_is_completed(capsys, tmp_path, words, completed):
    assert main(["--print-completion", "bash"]) == 0
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out)
    count = len(words.split()) - 1
    press = f"source completion.bash; COMP_WORDS=({words}); COMP_CWORD={count}; _tyro_simclr; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(["bash", "-c", press], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == completed


def test_an_unknown_shell_is_named(capsys):
    assert fails(capsys, "--print-completion", "bsh").startswith("unknown shell 'bsh': did you mean 'bash'?")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"], ["train", "--lr", "abc"], ["trian"]])
def test_help_and_mistakes_do_not_wait_for_torch(words):
    program = f"import sys; from simclr_lib.cli import main; main({words}); print(*sys.modules, file=sys.stderr)"
    loaded = run_python("-c", program, check=True).stderr.splitlines()[-1].split()
    assert "simclr_lib.cli" in loaded
    assert not {"torch", "torchvision", "numpy", "PIL", "typeguard"} & set(loaded)


def test_python_m_is_the_same_command_line():
    shown = run_python("-m", "simclr_lib")
    assert shown.returncode == 0
    assert "demo" in shown.stdout
    wrong = run_python("-m", "simclr_lib", "demmo")
    assert wrong.returncode == 2
    assert wrong.stderr == ("simclr: error: unknown command 'demmo': did you mean 'demo'? `simclr --help` lists all.\n")


# --- what is meant


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--no-contrastive", "contrastive", False),
        ("--contrastive False", "contrastive", False),
        ("--contrastive=false", "contrastive", False),
        ("--no-contrastive --contrastive", "contrastive", True),
        ("--resume=True --run-dir runs/a", "resume", True),
        ("--resume True --run-dir runs/a", "resume", True),
        ("--batch_size 8", "batch_size", 8),
        ("--batch_size=8", "batch_size", 8),
        ("--lr 1e-3", "lr", 1e-3),
        ("--lr 1", "lr", 1.0),
        ("--blur-sigma 0.1 2", "blur_sigma", (0.1, 2.0)),
        ("--bands 3 2 1", "bands", (3, 2, 1)),
        ("--levels -100 4095", "levels", (-100.0, 4095.0)),
        ("--fit pad", "fit", "pad"),
        ("--stem None", "stem", None),
        ("--stem fast", "stem", "fast"),
        ("--base-model 50", "base_model", 50),
        ("--dataset imagefolder --data-dir=a=b", "data_dir", Path("a=b")),
        ("--dataset imagefolder --data-dir a=b", "data_dir", Path("a=b")),
    ],
)
def test_a_setting_can_be_spelled_in_the_usual_ways(settings, words, name, value):
    assert main(["train", *words.split()]) == 0
    assert getattr(settings[0], name) == value
    assert type(getattr(settings[0], name)) is type(value)


def test_without_options_the_settings_are_the_defaults(settings):
    assert main(["train"]) == 0
    assert settings == [TrainConfig()]


@pytest.mark.parametrize("words", [["runs/a", "--budgets", "10", "20"], ["--budgets", "10", "20", "--", "runs/a"]])
def test_an_argument_may_stand_before_or_after_the_options(settings, words):
    assert main(["evaluate", *words]) == 0
    assert (settings[0].checkpoint, settings[0].budgets) == (Path("runs/a"), (10, 20))


@pytest.mark.parametrize("words", [["--run-dir=~/x"], ["--run-dir", "~/x"]])
def test_the_home_folder_is_filled_in(settings, monkeypatch, tmp_path, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert main(["train", *words]) == 0
    assert settings[0].run_dir == tmp_path / "x"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_recipe(settings, preset):
    assert main(["train", "--preset", preset]) == 0
    assert settings == [PRESETS[preset]]


def test_options_override_a_preset(settings, capsys):
    assert main(["train", "--epochs", "3", "--preset=demo", "--no-download"]) == 0
    assert settings == [dataclasses.replace(DEMO, epochs=3, download=False)]
    assert fails(capsys, "train", "--preset", "cifar").startswith("unknown value of --preset 'cifar': did you mean")


def test_a_plan_takes_presets_too(settings):
    assert main(["plan", "--preset", "cpu", "--processes", "1", "2"]) == 0
    assert (settings[0].width, settings[0].processes) == (32, (1, 2))


# --- mistakes


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train --lrr 3", "unknown option '--lrr': did you mean '--lr'?"),
        ("train --epoch 5", "unknown option '--epoch': did you mean '--epochs'?"),
        ("train --no-resum", "unknown option '--no-resum': did you mean '--no-resume'?"),
        ("train --no-lr", "unknown option '--no-lr': did you mean '--lr'?"),
        ("train --zzzzzzzz", "unknown option '--zzzzzzzz': see simclr train --help."),
        ("train -x", "unknown option '-x': see simclr train --help."),
        ("train --optimizer lasr", "unknown value of --optimizer 'lasr': did you mean 'lars'?"),
        ("train --dataset emblem", "unknown value of --dataset 'emblem': did you mean 'emblems'?"),
        ("train --base-model 19", "unknown value of --base-model '19'"),
        ("train --epochs abc", "--epochs takes a whole number, not 'abc'."),
        ("train --epochs 1.5", "--epochs takes a whole number, not '1.5'."),
        ("train --lr abc", "--lr takes a number, not 'abc'."),
        ("train --lr", "--lr needs a value."),
        ("train --lr --seed 1", "--lr needs a value."),
        ("train --blur-sigma 0.1", "--blur-sigma needs 2 values."),
        ("train --bands 3 2", "--bands needs 3 values."),
        ("train --epochs 5 6", "unexpected word '6': see simclr train --help."),
        ("train --resume yes", "unexpected word 'yes': see simclr train --help."),
        ("train --optimizer adam --lr -1", "--lr must be above 0"),
        ("train --temperature 0", "--temperature must be above 0"),
        ("evaluate", "simclr evaluate needs CHECKPOINT: "),
        ("evaluate a b", "unexpected word 'b': see simclr evaluate --help."),
        ("evaluate a --budgets", "--budgets needs numbers of labels"),
        ("evaluate a --budgets 10 x", "--budgets takes a whole number, not 'x'."),
        ("evaluate a --budgets 0", "--budgets must be at least 1, not 0."),
        ("sweep", "simclr sweep needs NAME: "),
        ("plan --no-contrastive", "plan is for pretraining"),
        ("plan --processes 0", "--processes must be between 1 and 1,000,000, not 0."),
        ("bench --batch-size 1", "--batch-size must be at least 2, not 1."),
        ("demo --seeds -1", "--seeds must be between 0 and 4,294,967,295, not -1."),
        ("--device cpu", "unknown command '--device'"),
    ],
)
def test_a_mistake_gets_one_line(capsys, settings, words, line):
    assert fails(capsys, *words.split()).startswith(line)
    assert not settings


MISTAKES = [
    *(f"{command} nowhere" for command in ("evaluate", "embed", "predict", "report", "export")),
    *("train --resume", "train --images nowhere", "train --device tpu", "train --dataset emblems --init nowhere"),
    *("train --color-strength 3", "train --view-size 2", "train --temperature inf", "demo --device tpu"),
    *("sweep nowhere", "sweep temperature --device tpu", "bench --device tpu", "workshop chek", "xyz", "--vresion"),
    *("sweep temperature --resume", "sweep labels --dataset cifar10", "train --dataset imagefolder"),
    *("train --image-size 2", "train --projection-layers 100", "train --images . --labels nowhere.csv"),
    *(
        f"predict {words}"
        for words in ("RUN --bands 0 1 2", "RUN --levels 2 1", "RUN --max-pixels 0", "RUN --images x")
    ),
    *("predict RUN --dataset imagefolder --data-dir x", "predict RUN --labels x.csv", "workshop mark nowhere"),
    *("embed RUN --seed -1", "workshop build FILE/x", "workshop bundle FILE/x"),
    *(
        f"{command} --out ."
        for command in ("predict RUN", "report RUN", "export RUN", "bench", "plan", "workshop mark .")
    ),
    *(f"{command} --out FILE/x" for command in ("sweep temperature", "demo")),
    *(
        "train --run-dir RUN",
        "train --run-dir EMPTY --resume",
        "demo --out DEMO",
        "demo --images 80",
        "workshop mark RUN",
    ),
    *(f"{command} --out FILE/x/y" for command in ("bench", "plan", "workshop mark nowhere")),
]


def test_a_mistake_is_answered_before_torch_is_imported(tmp_path):
    """PyTorch takes seconds to import. A path, a name or a number that is wrong can be seen without it."""
    for file in ("FILE", "RUN/checkpoint.pt", "DEMO/results.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text('{"what": "a finished demo"}')
    program = (
        "import sys; from simclr_lib.cli import main\n"
        f"for words in {MISTAKES}: assert main(words.split()) == 2 and 'torch' not in sys.modules, words"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(MISTAKES)
    assert {path.name for path in tmp_path.rglob("*")} == {"FILE", "RUN", "checkpoint.pt", "DEMO", "results.json"}


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("workshop chek", "workshop check"),
        ("workshp bundel folder", "workshop bundle"),
        ("sweep crop-colour", "crop-color"),
        ("train --dataset cifr10", "cifar10"),
        ("--vresion", "--version"),
        ("evalute", "evaluate"),
        ("train --hlp", "--help"),
    ],
)
def test_a_near_miss_is_suggested_in_a_short_line(capsys, words, near):
    line = fails(capsys, *words.split())
    assert f"did you mean {near!r}?" in line
    assert len(line) < 100


@pytest.mark.parametrize("words", ["workshop", "workshop xyz"])
def test_a_group_of_commands_names_its_own(capsys, words):
    assert fails(capsys, *words.split()).endswith(": choose one of check, build, bundle, mark.")


@pytest.mark.parametrize("option", ["--run-dir", "--data-dir", "--device"])
def test_an_empty_name_is_refused(capsys, option):
    assert fails(capsys, "train", option, "") == f"{option} needs a value."


@pytest.mark.slow
@pytest.mark.parametrize("value", ["-1", "0", str(2**70), "1e308", "nan", "inf", "", "abc"])
@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_no_number_ends_in_a_traceback(capsys, settings, name, option, value):
    others = {"--blur-sigma": ["1"], "--levels": ["1"], "--bands": ["1", "1"]}.get(option, [])
    words = [name, *PLACES.get(name, []), option, value, *others]
    code = main(words)
    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == ((0, 0) if settings else (2, 1))


@pytest.mark.parametrize("value", [-1, 0, 2**70, math.nan, math.inf])
@pytest.mark.parametrize(
    "field", [("evaluate", "limit"), ("demo", "images"), ("demo", "epochs"), ("sweep", "epochs"), ("bench", "repeats")]
)
def test_settings_out_of_range_are_refused(field, value):
    command, name = field
    places = {"evaluate": {"checkpoint": Path("runs/a")}, "sweep": {"name": "temperature"}}.get(command, {})
    with pytest.raises(SimCLRError, match=f"{name} must be (at least 1|between 1 and 2,147,483,647), not {value}"):
        COMMANDS[command].settings(**places, **{name: value}).check()


def test_a_folder_of_photographs_is_not_taken_for_cifar10(capsys, settings, tmp_path):
    for number in range(10):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.JPG").touch()
    words = ["train", "--data-dir", str(tmp_path)]
    assert f"write --images {tmp_path} to train on them" in fails(capsys, *words)
    assert main([*words, "--dataset", "cifar10"]) == 0
    assert main([*words, "--preset", "photos"]) == 0
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert main(words) == 0


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("batch_size must be at least 1", "--batch-size must be at least 1"),
        ("use batch_size 110 or less", "use --batch-size 110 or less"),
        ("use batch_size=110.", "use --batch-size=110."),
        ("a lower batch_size.", "a lower --batch-size."),
        ("choose `limit` or `run_dir`", "choose `--limit` or `--run-dir`"),
        ("limit=3 leaves nothing", "--limit=3 leaves nothing"),
        ("start with levels=(0, 4095).", "start with --levels 0 4095."),
        ("lr must be above 0", "--lr must be above 0"),
        ("the limit is reached", "the limit is reached"),
        ("use --batch-size 110", "use --batch-size 110"),
        ("my_batch_size and batch_sizes", "my_batch_size and batch_sizes"),
        ("runs/batch_size/x and data/run_dir.txt", "runs/batch_size/x and data/run_dir.txt"),
        ("chunk_size must be at least 1", "chunk_size must be at least 1"),
    ],
)
def test_errors_name_options_where_the_library_names_settings(message, shown):
    assert with_flags(message, ["batch_size", "run_dir", "limit", "lr", "levels"]) == shown


# --- notebooks


def test_notebooks_are_copied_to_work_on_them(capsys, tmp_path):
    folder = tmp_path / "course"
    assert main(["notebooks", str(folder)]) == 0
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    assert sorted(path.name for path in folder.iterdir()) == names
    assert all((folder / name).read_bytes() == (NOTEBOOKS / name).read_bytes() for name in names)
    shown = capsys.readouterr().out
    assert f"notebooks: {len(names)} copied to {folder}" in shown
    assert str(folder / names[0]) in shown.splitlines()[-1]


def test_notebooks_that_a_learner_changed_stay_as_they_are(capsys, tmp_path):
    main(["notebooks", str(tmp_path)])
    changed, lost, *_ = sorted(tmp_path.iterdir())
    changed.write_text("my answers")
    lost.unlink()
    capsys.readouterr()
    assert main(["notebooks", str(tmp_path)]) == 0
    assert changed.read_text() == "my answers"
    assert lost.exists()
    shown = capsys.readouterr().out
    assert "notebooks: 1 copied" in shown
    assert f"not overwritten, because they differ from the originals: {changed.name}." in shown


def test_notebooks_need_a_folder_that_can_be_made(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot write" in fails(capsys, "notebooks", str(tmp_path / "file"))
    assert fails(capsys, "notebooks").startswith("simclr notebooks needs FOLDER: ")


# --- output


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii", "latin-1", "utf-8"])
def test_output_fits_every_code_page(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    shown = run_python("-m", "simclr_lib", "train", "--help", env=environment, encoding=encoding)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--temperature NUMBER" in shown.stdout
    program = (
        "from simclr_lib import cli;"
        r"cli.Command.run = lambda *_: print('τ 0.5, 20 × 3, 9.1 ± 0.2 in \udcff');"
        "raise SystemExit(cli.main(['bench']))"
    )
    table = run_python("-c", program, env=environment, encoding=encoding)
    assert (table.returncode, table.stderr) == (0, "")
    assert table.stdout.endswith("in ?\n")
    assert "0.5, 20" in table.stdout


def test_output_fits_the_posix_locale():
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown = run_python("-m", "simclr_lib", "sweep", "--help", env=environment)
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_gets_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "simclr_lib", "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (2, "simclr: error: output: No space left on device.\n")


@pytest.mark.skipif(os.name == "nt", reason="the shell is POSIX's")
@pytest.mark.parametrize(("ending", "code"), [("| true", 141), (">&-", 0)])
def test_nobody_who_reads_gets_no_traceback(ending, code):
    command = f'"{sys.executable}" -m simclr_lib train --help {ending}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")


# --- in words


def test_a_description_holds_every_setting_in_twelve_lines():
    config = dataclasses.replace(
        TrainConfig(),
        **{"optimizer": "lars", "lr": 2.0, "stem": "cifar", "warmup_epochs": 10.0, "blur_prob": 0.0, "image_size": 32},
        **{"view_size": 32, "monitor_every": 20, "run_dir": Path("runs/cifar10-resnet18-simclr-20260101-120000")},
    )
    lines = describe(config).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line[0] != " "] == list(GROUPS)
    words = " ".join(" ".join(lines).split())
    assert "optimizer lars, lr 2, weight-decay 0.0001, warmup-epochs 10" in words
    assert "no resume" in words
    for option in options_of(TrainConfig):
        assert (option.flag[2:] in words) == (getattr(config, option.name) is not None)


def test_a_description_leaves_out_what_the_run_does_not_use():
    words = describe(TrainConfig())
    for unused, shown in (
        (["validation"], describe(TrainConfig(), watched=False)),
        (["temperature", "projection-dim", "global-negatives", "validation"], describe(TrainConfig(contrastive=False))),
        (["width"], describe(TrainConfig(base_model="timm:convnext_tiny"))),
    ):
        assert all(name in words and name not in shown for name in unused)
        assert all(name in shown for name in ("batch-size", "crop-min", "seed"))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (20, "less than a minute"),
        (70, "a minute"),
        (12 * 60, "12 minutes"),
        (3.4 * 3600, "3.4 hours"),
        (60 * 3600, "2.5 days"),
    ],
)
def test_durations_are_given_in_words(seconds, shown):
    assert format_minutes(seconds) == shown
