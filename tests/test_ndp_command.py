"""The command is found whatever else is on the path, or says what hides it."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import ndp_command
import ndp_jax

ROOT = Path(ndp_command.__file__).parent
START = "import sys; from ndp_command import main; sys.exit(main(['plot']))"
"""What the installed script does, with a command that ends at its arguments."""


@pytest.mark.parametrize("hiding", ["train.py", "envs/__init__.py", "configs.py", "ndp_jax.py"])
def test_what_hides_our_packages_is_named_in_one_sentence(tmp_path, hiding):
    file = tmp_path / "a folder" / hiding
    file.parent.mkdir(parents=True)
    file.write_text("raise RuntimeError('not ours')")
    done = started([sys.executable, "-c", START], tmp_path / "a folder")
    named = file.parent if file.name == "__init__.py" else file
    assert done.returncode == 2
    assert done.stderr.startswith(f"ndp: {named} hides our package {named.stem}, because ")
    assert done.stderr.count("\n") == 1 and "take that folder out of PYTHONPATH" in done.stderr


def test_folders_that_are_no_packages_hide_nothing(tmp_path):
    for name in ndp_command.PACKAGES:
        (tmp_path / name).mkdir()
    done = started([sys.executable, "-c", START], tmp_path)
    assert done.stderr == "ndp: Name at least one run folder to plot.\n"


def test_the_package_can_be_run_as_a_module(tmp_path):
    done = started([sys.executable, "-m", "ndp_jax", "--version"], tmp_path)
    assert done.stdout == f"ndp-jax {version('ndp-jax')}\n"


def test_the_version_is_told(capsys):
    assert ndp_command.main(["--version"]) == 0
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"ndp-jax {told}\n"
    assert ndp_jax.__version__ == told
    with pytest.raises(AttributeError, match="has no attribute '__versoin__'"):
        ndp_jax.__versoin__  # noqa: B018


def test_the_installed_script_starts_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"ndp": "ndp_command:main"}
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert sorted(shipped) == sorted(["ndp_command.py", *ndp_command.PACKAGES])


def started(command: list[str], before: Path) -> subprocess.CompletedProcess:
    """A process that finds what is in the folder `before` ours, as PYTHONPATH=. does."""
    path = os.pathsep.join([str(before), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=before.parent
    )
