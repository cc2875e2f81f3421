"""Machines that lack something: every command works without it or says so in one sentence."""

import io
import os
import subprocess
import sys
import types
from pathlib import Path

import jax
import pytest

from configs import PRESETS, DigitsConfig
from train.cli import main
from train.runs import run
from train.system import runtime
from train.system.errors import UserError

COMPUTING = [
    ["train", "push"],
    ["train", "--resume", "push run"],
    ["sweep", "push", "--seeds", "2"],
    ["imitate", "digits"],
    ["imitate", "push", "--seeds", "2"],
    ["imitate", "--resume", "digits run"],
    ["demos", "push"],
    ["evaluate", "push run"],
    ["evaluate", "digits run"],
    ["export", "push run"],
    ["render", "push run"],
    ["render", "push"],
    ["bench", "push"],
]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder to work in, with runs that nothing but their settings is known of."""
    monkeypatch.chdir(tmp_path)
    for name, config in (("push run", PRESETS["push"]), ("digits run", DigitsConfig())):
        (tmp_path / name).mkdir()
        run.save_config(tmp_path / name, config, {})


@pytest.mark.parametrize("arguments", COMPUTING, ids=" ".join)
def test_without_the_device_commands_say_so_before_they_make_anything(
    runs, monkeypatch, capsys, arguments
):
    def devices(*_):
        raise RuntimeError("Unable to initialize backend 'foo': not in the list (set JAX_PL...)")

    before = sorted(Path().rglob("*"))
    monkeypatch.setenv("JAX_PLATFORMS", "foo")
    monkeypatch.setattr(jax, "devices", devices)
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "ndp: JAX_PLATFORMS is foo, and JAX finds no such device here (Unable to initialize "
        "backend 'foo': not in the list); set JAX_PLATFORMS=cpu, or unset it to take the best "
        "device there is.\n"
    )
    assert sorted(Path().rglob("*")) == before


def process(*arguments, **settings):
    """`ndp` where the environment has these settings, too."""
    script = "import sys; from ndp_command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *arguments]
    environment = os.environ | settings
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("platform", ["foo", "cuda"])
def test_what_jax_says_of_a_device_that_is_not_there_is_understood(runs, platform):
    if platform == "cuda" and jax.default_backend() == "gpu":
        pytest.skip("it is there")
    done = process("export", "push run", JAX_PLATFORMS=platform)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ndp: JAX_PLATFORMS is {platform}, and JAX finds no such device")
    assert done.stderr.count("\n") == 1


def test_other_errors_are_not_taken_for_a_lack_of_devices():
    for error in (RuntimeError("something else"), AssertionError()):
        with pytest.raises(type(error)), runtime.device_explained():
            raise error


def test_tasks_are_listed_in_ascii_where_nothing_can_be_drawn(runs):
    done = process("tasks", MUJOCO_GL="foo", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, "")
    assert "faucet" in done.stdout


def test_help_ends_on_a_terminal_of_one_column():
    assert process("--help", COLUMNS="1").returncode == 0


def test_any_character_can_be_printed(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["--version"]) == 0
    print("läuft", flush=True)
    assert written.getvalue().endswith(b"l\\xe4uft\n")


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """A user whom the system does not know."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(runtime.Path, "home", home)
    monkeypatch.setattr(runtime.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"ndp-jax-{os.getuid()}"


def test_without_a_home_the_cache_is_the_users_own(homeless):
    assert runtime.cache_folder() == runtime.cache_folder() == homeless
    assert homeless.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_written_is_as_none(homeless, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.Path, "home", lambda: tmp_path / "home" / "gone")
    assert runtime.cache_folder() == tmp_path / "home" / "gone" / ".cache" / "ndp-jax"
    monkeypatch.setattr(runtime.os, "access", lambda place, mode: False)
    assert runtime.cache_folder() == homeless


def test_a_cache_of_somebody_else_is_refused(homeless, monkeypatch):
    somebody = types.SimpleNamespace(st_uid=os.getuid() + 1)
    homeless.mkdir()
    monkeypatch.setattr(runtime.Path, "lstat", lambda _: somebody)
    with pytest.raises(UserError, match="belongs to another user; set XDG_CACHE_HOME"):
        runtime.cache_folder()
