import subprocess
import sys

import pytest

import envs


def test_every_task_can_be_made():
    for task in envs.TASKS:
        assert envs.make(task, episode_length=7).episode_length == 7


@pytest.mark.parametrize(("wrong", "right"), [("pusch", "push"), ("Push", "push"), ("", "push")])
def test_an_unknown_task_is_refused_with_the_nearest_name(wrong, right):
    with pytest.raises(ValueError, match=f"did you mean '{right}'"):
        envs.make(wrong)


def test_an_unknown_override_is_refused():
    with pytest.raises(TypeError, match="colour"):
        envs.make("push", colour="red")


def test_the_package_alone_loads_no_simulator():
    code = "import envs, sys; sys.exit('mujoco' in sys.modules or 'brax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
