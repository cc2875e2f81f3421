"""README and docs do what they say: every code block of them is run, in a process of its own.

A block of Python that uses names it does not define goes on from the blocks above it. Of a block of
shell, scripts are run, and `ndp` is asked whether it would take the arguments. A block of another
language fails, but for `text`, which is what training prints.
"""

import builtins
import glob
import io
import os
import re
import shlex
import shutil
import subprocess
import symtable
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from configs import IMITATED, PRESETS
from ndp_jax import save_writer
from train.commands.command import farewell
from train.commands.demos import Demos
from train.commands.parsing import parse
from train.imitation.digit_writing import make_writer
from train.rl.evaluate import sentence
from train.runs.progress import learning, pace
from train.runs.run import copy_config, save_config
from train.system import runtime

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    place: str
    language: str
    code: str


def blocks_of(file: Path) -> list[Block]:
    text = file.read_text()
    found = list(FENCE.finditer(text))
    assert text.count("```") == 2 * len(found)
    lines = [len(text[: match.start()].splitlines()) + 1 for match in found]
    name = file.relative_to(ROOT)
    return [
        Block(f"{name}:{line}", *match.groups()) for line, match in zip(lines, found, strict=True)
    ]


FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {file: blocks_of(file) for file in FILES}


def written_in(language: str):
    """Blocks that step a task are slow, and those that run scripts of examples/, which have tests
    of their own."""
    found = [block for blocks in BLOCKS.values() for block in blocks if block.language == language]
    blocks = [
        pytest.param(block, id=block.place, marks=pytest.mark.slow if is_costly(block) else ())
        for block in found
    ]
    return pytest.mark.parametrize("block", blocks)


def is_costly(block: Block) -> bool:
    steps = any(word in block.code for word in ("env.step", "train.train"))
    runs = "examples/" in block.code
    return (block.language == "python" and steps) or (block.language == "sh" and runs)


@pytest.fixture(scope="session")
def made(untrained, tmp_path_factory):
    """A folder with what the files take as made by commands that they showed before."""
    folder = tmp_path_factory.mktemp("docs")
    names = ("push-ndp-seed0", "push-ppo-seed1", "push-sweep", "digits-cnn-ndp-seed0")
    ndp, ppo, sweep, digits = (folder / "runs" / name for name in names)
    for run in (ndp, ppo, sweep, digits):
        run.mkdir(parents=True)
    save_config(ndp, PRESETS["push"], {})
    save_config(ppo, PRESETS["push"], {})
    copy_config(ndp, sweep / "best.json")
    shutil.copy(untrained / "push", ndp / "policy.msgpack")
    writer = make_writer(IMITATED["digits"])
    variables = writer.init(jax.random.key(0), jnp.zeros((40, 40)), None)
    about = {"image_size": 40, "start": "predicted"}
    save_writer(digits / "policy.msgpack", writer, variables, about=about)
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of it, as the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # which gets the folder, for modules in it
    return tmp_path


def python(*arguments: str) -> None:
    """Runs Python as a user without a display would; only compiled programs are kept."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "DISPLAY")
    }
    environment["JAX_COMPILATION_CACHE_DIR"] = str(runtime.cache_folder() / "xla")
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr


def is_whole(code: str) -> bool:
    """Whether a program defines all names that it uses."""
    used = symtable.symtable(code, "", "exec").get_symbols()
    return all(
        name.is_assigned() or name.is_imported() or hasattr(builtins, name.get_name())
        for name in used
    )


@written_in("python")
def test_python_runs_in_a_new_process(here, block):
    above = next(blocks for file, blocks in BLOCKS.items() if block in blocks)
    above = [other for other in above if other.language == "python"]
    above = above[: above.index(block)]
    code = block.code
    while not is_whole(code) and above:
        code = above.pop().code + "\n" + code
    python("-c", code)


@written_in("sh")
def test_a_shell_takes_every_line(here, block):
    for line in block.code.replace("\\\n", " ").splitlines():
        take(shlex.split(line, comments=True))


def take(words: list[str]) -> None:
    match words:
        case []:
            pass
        case ["srun", *command]:
            take(command)
        case ["ndp", *arguments]:
            understand([path for word in arguments for path in glob.glob(word) or [word]])
        case ["python", script, *arguments]:
            python(str(ROOT / script), *arguments)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["source", path]:
            assert path == ".venv/bin/activate"
        case _:
            pytest.fail(
                f"Nothing here tries {shlex.join(words)!r}; let it be tried or leave it out."
            )


def understand(arguments: list[str]) -> None:
    """Raises `UserError` for an `ndp` that would not start, and leaves what the next may need."""
    command = parse(arguments)
    command.check()
    if isinstance(command, Demos):
        command.file.parent.mkdir(exist_ok=True)
        command.file.touch()


@written_in("text")
def test_text_is_what_training_prints(here, block):
    assert {masked(line) for line in block.code.splitlines()} <= set(map(masked, printed()))


def masked(line: str) -> str:
    """Without numbers and bars."""
    return re.sub(r"\d[\d.,:]*", "#", re.sub(r"^━[━╸ ]*", "", line))


def printed() -> list[str]:
    """Lines of `ndp train`, on a terminal and elsewhere."""
    names = ("success", "returns", "kl", "clip_fraction", "broken_episodes", "skipped_minibatches")
    numbers = dict.fromkeys((*names, "success_low", "success_high", "distance", "episodes"), 0)
    bar, below = pace(1, 10**6, 1.0), learning(numbers, numbers)
    folder, said = Path("runs/push-ndp-seed0"), io.StringIO()
    (folder / "video.mp4").touch()
    farewell(folder, Console(file=said))
    return [
        *(bar, below, f"{bar}  {below}", "Evaluating 256 deterministic episodes ..."),
        *(f"Deterministic {sentence(numbers)}", *said.getvalue().splitlines()),
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_block_is_of_a_language_that_is_tried(file):
    languages = {block.place: block.language for block in BLOCKS[file]}
    assert set(languages.values()) <= {"python", "sh", "text"}, languages


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_extras_that_are_named_exist(file):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"pip install -e \"\.\[(\w+)\]\"", file.read_text())) <= set(extras)
