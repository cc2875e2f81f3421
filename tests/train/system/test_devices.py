"""Eight simulated devices learn what one learns."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import pytest
import spreading
from probes import CONFIG

from train.cli import main
from train.system import devices
from train.system.errors import UserError
from train.system.hardware import check_devices


def compare(what, *, updates, **environment):
    flags = "--xla_force_host_platform_device_count=8"
    finished = subprocess.run(
        [sys.executable, spreading.__file__, what, str(updates)],
        env=os.environ | {"XLA_FLAGS": flags} | environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def check_split(found):
    """Each device has its share of the environments, compiles once and steps without the others."""
    assert found["devices"] == 8
    assert found["environments per device"] == [2]
    assert found["compiled"] == [1, 1]
    assert found["waiting in loops"] == []


def test_a_probe_on_eight_devices_is_the_probe_on_one():
    found = compare("probe", updates=5)
    check_split(found)
    assert max(found["parameters"]) < 1e-5
    assert max(found["observation"] + found["reward"]) < 1e-5
    assert found["gradient"] < 1e-6


@pytest.mark.slow
def test_push_on_eight_devices_is_push_on_one():
    """In float32, as trained, for the two updates before contact's chaos shows.

    Devices add in another order, and physics multiplies that rounding: with the preset's 64
    environments and 320 gradient steps per update by about 1e4 per update, so that parameters
    differ by 1e-2 after the second one, in float64 only after the fifth (1e-12, 1e-8, 3e-5 and 8e-3
    after the second to fifth). Below it is gentler: 16 environments and 8 gradient steps.
    """
    found = compare("push", updates=2)
    check_split(found)
    assert max(found["parameters"]) < 1e-5
    assert max(found["observation"]) < 1e-5
    assert found["gradient"] < 1e-5


@pytest.mark.slow
def test_five_updates_of_push_agree_in_float64():
    found = compare("push", updates=5, JAX_ENABLE_X64="1")
    assert max(found["parameters"] + found["observation"] + found["reward"]) < 1e-5
    assert found["gradient"] < 1e-10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--devices 0", "--devices is 0; it must be at least 1."),
        ("--devices 3", "--num-envs 64 cannot be spread evenly over 3 devices; use a multiple"),
        (
            "--devices 8",
            "--minibatches 32 makes minibatches of 60 queries, which cannot be spread evenly over "
            "8 devices; use one of 1, 2, 3, 4, 5, 6, 8",
        ),
        (
            "--devices 4",
            f"--devices 4, but this machine has {jax.device_count()} ({jax.default_backend()});",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused(capsys, tmp_path, monkeypatch, arguments, sentence):
    assert main(["train", "push", "--out", str(tmp_path / "run"), *arguments.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only the CPU is simulated")
def test_more_cpu_devices_are_simulated():
    with pytest.raises(UserError, match="XLA_FLAGS=--xla_force_host_platform_device_count=99 sim"):
        devices.choose(99)


@pytest.mark.parametrize("count", [2, 4])
def test_what_can_be_spread_is_not_refused(count):
    check_devices(dataclasses.replace(CONFIG, num_envs=8), count)


def test_one_device_needs_no_mesh():
    assert devices.choose(1) is None
    tree = {"a": 1}
    assert devices.spread(tree, None) is tree
    assert devices.replicate(tree, None) is tree
    assert devices.gather(tree, None) is tree
