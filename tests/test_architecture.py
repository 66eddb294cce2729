"""The house stands: arrows point down, importing is light, dependencies agree, ruff is content."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from simclr_lib.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "simclr_lib"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {  # a room may import from floors below its own
    "choices": -1,  # names and numbers alone
    "errors": 0,
    "files": 1,
    "seeding": 1,
    "device": 1,
    "distributed": 1,
    "data": 2,
    "augment": 2,
    "models": 2,
    "losses": 2,
    "optim": 2,
    "loop": 3,
    "objectives": 4,
    "config": 5,
    "results": 4,
    "recipes": 6,
    "options": 6,
    "settings": 7,
    "describe": 7,
    "evaluation": 6,
    "training": 7,  # may use evaluation to monitor, never the other way
    "experiments": 8,
    "teaching": 9,
    "authoring": 10,
    "commands": 10,
    "cli": 11,
    "__main__": 12,
}
GROUND_FLOOR = {"data", "augment", "models", "losses", "optim"}
HEAVY = ("umap", "numba", "sklearn", "matplotlib", "scipy", "tyro", "IPython", "ipywidgets", "traitlets", "anywidget")


def room(path):
    """The room that a module of the package belongs to: the first name below simclr_lib."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def pyproject():
    """The content of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported_rooms(path):
    """The rooms of simclr_lib that a module imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from simclr_lib import loop` names the room last, `from simclr_lib.loop import fit` first.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("simclr_lib.")}
    return rooms - {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    if path == PACKAGE / "__init__.py":
        return
    assert room(path) in FLOORS, f"{room(path)} is a new room: give it a floor"
    for other in imported_rooms(path):
        assert FLOORS[other] < FLOORS[room(path)], f"{path.name} imports {other} from its own floor or above"


def test_rooms_on_the_ground_floor_do_not_import_each_other():
    for path in MODULES:
        if room(path) in GROUND_FLOOR:
            assert not imported_rooms(path) & GROUND_FLOOR, path


def test_evaluation_never_imports_training():
    for path in (PACKAGE / "evaluation").rglob("*.py"):
        assert "training" not in imported_rooms(path), path


@pytest.mark.slow
@pytest.mark.parametrize("modules", ["simclr_lib, simclr_lib.config", "simclr_lib.training, simclr_lib.evaluation"])
def test_importing_the_training_path_loads_nothing_heavy(modules):
    program = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & set(HEAVY)


def test_the_command_line_does_not_wait_for_pictures():
    program = "import sys, simclr_lib.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & (set(HEAVY) - {"tyro"})


# --- sizes and places

LONGEST_FUNCTION = 60  # lines


def long_functions(path):
    """The names of a module's functions that have too many lines to be read at a glance."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {node.name for node in functions if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_function_can_be_read_at_a_glance(path):
    assert not long_functions(path)


FRAGMENTS = ("What ", "Which ", "Who ", "How ", "Of ", "Where ", "Whether ")


def docstrings(path):
    """The docstrings of a module, of its classes and functions, and of the attributes that have one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_docstring_opens_with_a_noun_or_a_verb(path):
    """ "What becomes of …" and the like leave the reader to find out what the thing is. A sweep may be a question."""
    opening = [text.split("\n")[0] for text in docstrings(path) if text.startswith(FRAGMENTS)]
    assert all(line.endswith("?") for line in opening)


def test_commands_only_set_check_call_print_and_write():
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (PACKAGE / "commands").glob("*.py"))
    assert lines <= 1_058  # half of what the first seven of them once took


def test_no_notebook_imports_a_command():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert "simclr_lib.commands" not in "".join(cell["source"]), path.name


def test_programs_that_need_the_repository_are_not_installed():
    installed = set(pyproject()["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT) for path in MODULES if room(path) != "authoring"}
    assert installed - {"simclr_lib.notebooks"} == {".".join(folder.parts) for folder in folders}


def test_the_notebooks_and_all_that_they_read_are_installed():
    settings = pyproject()["tool"]["setuptools"]
    assert settings["package-dir"]["simclr_lib.notebooks"] == "notebooks"
    patterns = settings["package-data"]["simclr_lib.notebooks"]
    installed = {path for pattern in patterns for path in (ROOT / "notebooks").glob(pattern)}
    assert {*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks" / "results").glob("*.json")} <= installed


# --- dependencies


DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "IPython": "ipython",
    "yaml": "pyyaml",
    "jupyter_client": "jupyter-client",
    "pillow_heif": "pillow-heif",
}
OPTIONAL = {
    "datasets",
    "kornia",
    "lightly",
    "onnx",
    "onnxscript",
    "safetensors",
    "sphinx",
    "tensorboard",
    "timm",
    "pillow_heif",
}  # imported where they are wanted, with an error that names them


def foreign_packages(nodes):
    """The packages of others that these parts of a program import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"simclr_lib"}


def distributions(names):
    """What pip installs to have these packages."""
    return {DISTRIBUTIONS.get(name, name) for name in names}


def declared(requirements):
    """The names of requirements, without their versions."""
    return {package_and_version(r)[0] for r in requirements}


def test_what_is_imported_directly_is_declared():
    required, tests = declared(pyproject()["project"]["dependencies"]), declared(extra("test"))
    for path in MODULES:
        foreign = foreign_packages(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        missing = distributions(foreign - OPTIONAL) - required
        assert missing <= (tests if room(path) == "authoring" else set()), path


def test_what_is_optional_comes_with_an_extra():
    extras = pyproject()["project"]["optional-dependencies"]
    assert distributions(OPTIONAL) <= set().union(*(declared(extra(name)) for name in extras))


@pytest.mark.parametrize("path", sorted((ROOT / "tests").glob("*.py")), ids=lambda path: path.name)
def test_what_the_tests_import_is_declared(path):
    at_the_top = foreign_packages(ast.parse(path.read_text(encoding="utf-8")).body)  # below it, pytest.importorskip
    available = declared(pyproject()["project"]["dependencies"] + extra("test"))
    assert distributions(at_the_top) - {"rows", "tiny"} <= available  # tests/rows.py and tests/tiny.py


def package_and_version(requirement):
    """("torch", ">=2.6") of "torch>=2.6"."""
    name, version = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()
    return name.lower().replace("_", "-"), version


def test_environment_and_pyproject_list_the_same_packages():
    project = pyproject()["project"]
    required = dict(package_and_version(r) for r in project["dependencies"] + extra("test"))
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    listed = dict(package_and_version(r) for r in environment["dependencies"] if r != "pip")
    assert listed.pop("python") == project["requires-python"]
    on_conda_forge = {"torch": "pytorch", "playwright": "playwright-python"}
    assert listed == {on_conda_forge.get(name, name): version for name, version in required.items()}


def extra(name):
    """The requirements of an extra, with those of the extras that it names."""
    requirements = []
    for requirement in pyproject()["project"]["optional-dependencies"][name]:
        named = re.fullmatch(r"simclr-lib\[(.*)\]", requirement)
        requirements += [r for part in named[1].split(",") for r in extra(part)] if named else [requirement]
    return requirements


def test_the_tests_need_all_that_the_notebooks_need():
    assert set(extra("lab")) < set(extra("test"))


def test_jupyterlab_is_only_for_those_who_want_it():
    required = {package_and_version(r)[0] for r in pyproject()["project"]["dependencies"]}
    assert not required & {"jupyterlab", "notebook", "ipykernel"}


def test_the_version_stands_in_one_place():
    project = pyproject()
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "simclr_lib.__version__"}


def test_type_checkers_of_other_projects_read_the_type_hints():
    assert (PACKAGE / "py.typed").exists()
    assert "py.typed" in pyproject()["tool"]["setuptools"]["package-data"]["simclr_lib"]


# --- what other people's programs read


FORMS = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_tests_run_with_every_python_that_the_package_names_and_with_the_oldest_torch():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    project = pyproject()["project"]
    classifiers = " ".join(project["classifiers"])
    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", classifiers)
    oldest = dict(package_and_version(r) for r in project["dependencies"])
    versions = [f"{name}=={oldest[name].removeprefix('>=')}.*" for name in ("torch", "torchvision")]
    assert matrix["include"][0]["torch"].split() == versions


INSTRUCTIONS = [
    *(ROOT / ".github").rglob("*.yml"),
    *(ROOT / "notebooks").rglob("*.md"),
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / ".ci" / "run",
    ROOT / ".devcontainer" / "devcontainer.json",
]


@pytest.mark.parametrize("path", INSTRUCTIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_extras_programs_and_commands_in_instructions_exist(path):
    text = path.read_text(encoding="utf-8")
    for names in re.findall(r"\.\[([\w,]+)\]'", text):
        assert set(names.split(",")) <= set(pyproject()["project"]["optional-dependencies"]), names
    for program in re.findall(r"python -m (simclr_lib[\w.]*)", text):
        place = ROOT / program.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), program
    for command in re.findall(r"(?:^|run: |&& |bin/|`)simclr ([a-z]+)", text, flags=re.MULTILINE):
        assert command in {name.partition(" ")[0] for name in COMMANDS}, command


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_every_job_of_a_workflow_can_run(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert True in workflow  # YAML reads the key "on" so
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])


def test_the_guide_for_contributors_names_every_room():
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in guide for name in FLOORS if name != "__main__")


def test_authors_are_the_same_everywhere():
    (author,) = pyproject()["project"]["authors"]
    assert [author] == yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["authors"]


# --- checkers


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", ".")],
    ids=lambda command: " ".join(command),
)
def test_checker_is_content(command):  # mypy, which takes longer, is run by .ci/run
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
