import dataclasses
import os
import resource
from types import SimpleNamespace

import jax
import probes
import pytest
from probes import CONFIG

from configs import PRESETS, Network
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner
from train.rl.train import train
from train.system.errors import UserError

MB, PAGE = 10**6, os.sysconf("SC_PAGE_SIZE")


def wide(num_envs):
    """A configuration with so many environments."""
    return dataclasses.replace(CONFIG, num_envs=num_envs, steps=50 * num_envs)


@pytest.mark.parametrize("num_envs", [8, pytest.param(512, marks=pytest.mark.slow)])
def test_the_estimate_is_near_what_the_compiler_says(num_envs):
    config = wide(num_envs)
    env = probes.RewardFromBoth()
    learner = make_learner(env, config)
    state = jax.jit(learner.init)(jax.random.key(0), hyperparameters(config))
    found = jax.jit(learner.update).lower(state).compile().memory_analysis()
    of_state, work = memory.needed(env, config)
    assert of_state == pytest.approx(found.argument_size_in_bytes, rel=0.05)
    assert found.temp_size_in_bytes / 3 < work < 4 * found.temp_size_in_bytes


@pytest.mark.slow
@pytest.mark.parametrize("num_envs", [64, 4096])
def test_the_estimate_is_near_what_the_compiler_says_of_push(num_envs):
    preset = PRESETS["push"]
    steps = 2 * num_envs * preset.rollout_steps
    config = dataclasses.replace(preset, num_envs=num_envs, steps=steps)
    env = make_env(config)
    learner = make_learner(env, config)
    state = jax.eval_shape(learner.init, jax.random.key(0), hyperparameters(config))
    found = jax.jit(learner.update, donate_argnums=0).lower(state).compile().memory_analysis()
    of_state, work = memory.needed(env, config)
    assert of_state == pytest.approx(found.argument_size_in_bytes, rel=0.05)
    assert 0.7 < work / found.temp_size_in_bytes < 1.5
    assert of_state + work < memory.bound(config)


@pytest.mark.parametrize("task", PRESETS)
def test_runs_that_surely_fit_are_not_traced(task, monkeypatch):
    env, config = probes.RewardFromBoth(), PRESETS[task]
    monkeypatch.setattr(memory, "needed", lambda env, config: pytest.fail("was traced"))
    monkeypatch.setattr(memory, "free", lambda devices: 4000 * MB)
    memory.check_run(env, config)
    for large in ({"num_envs": 16384}, {"network": Network(hidden=(65536, 65536))}):
        with pytest.raises(pytest.fail.Exception):
            memory.check_run(env, dataclasses.replace(config, **large))


def test_a_bound_is_above_the_estimate():
    config = wide(512)
    assert sum(memory.needed(probes.RewardFromBoth(), config)) < memory.bound(config)


def test_a_run_that_is_too_large_is_refused_before_its_folder_is_made(tmp_path, monkeypatch):
    env, config = probes.RewardFromBoth(), wide(512)
    free = int(0.5 * sum(memory.needed(env, config)))
    monkeypatch.setattr(memory, "free", lambda devices: free)
    with pytest.raises(UserError, match=r"--num-envs 512: .*; --num-envs \d+ would fit") as told:
        train(env, config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fits = int(str(told.value).split()[-3])
    assert fits % config.ppo.minibatches == 0 and 100 < fits < 256
    memory.check_run(env, wide(fits))
    with pytest.raises(UserError, match="go to a machine that has more"):
        memory.check_run(env, config, resumed=True)


def test_too_many_episodes_of_evaluation_are_refused(monkeypatch):
    env, config = probes.RewardFromBoth(), dataclasses.replace(wide(8), eval_episodes=10**6)
    monkeypatch.setattr(memory, "free", lambda devices: 2 * MB)
    monkeypatch.setattr(memory, "pose", lambda state: state.obs)
    with pytest.raises(UserError, match=r"--eval-episodes 1000000: .*; --eval-episodes \d+ would"):
        memory.check_run(env, config)


def test_what_fits_is_the_most_that_does():
    def needed(count):
        return 100 + 10 * count

    memory.check(needed, 70, option="--episodes", room=1000)
    with pytest.raises(UserError, match="--episodes 71: .*; --episodes 70 would fit"):
        memory.check(needed, 71, option="--episodes", room=1000)
    with pytest.raises(UserError, match="; --episodes 64 would fit"):
        memory.check(needed, 90, option="--episodes", room=1000, unit=16)
    with pytest.raises(UserError, match="; free some, or go to a machine"):
        memory.check(needed, 90, option="--episodes", room=100)


def test_everything_that_plays_asks(monkeypatch):
    env = probes.RewardFromBoth()
    monkeypatch.setattr(memory, "free", lambda devices: 10**5)
    monkeypatch.setattr(memory, "pose", lambda state: state.obs)
    for refused, option in (
        (lambda: memory.check_play(env, num_envs=8, episodes=10**6), "--episodes"),
        (lambda: memory.check_play(env, num_envs=10**6, episodes=8), "--num-envs"),
        (lambda: memory.check_steps(env, num_envs=10**6), "--num-envs"),
        (lambda: memory.check_members(env, CONFIG, 10**6), "--members"),
        (
            lambda: memory.check_recording(env, num_envs=8, episodes=1000, images=True),
            "--episodes",
        ),
    ):
        with pytest.raises(UserError, match=f"Memory does not suffice for {option} 10*: about "):
            refused()


def test_accelerators_tell_what_they_have_left():
    devices = [
        SimpleNamespace(memory_stats=lambda used=used: {"bytes_limit": 100, "bytes_in_use": used})
        for used in (30, 80)
    ]
    assert memory.free(devices) == 70 + 20


def test_this_machine_gives_no_more_than_it_has():
    assert 0 < memory.of_machine() <= PAGE * os.sysconf("SC_PHYS_PAGES")


def container(root, *, groups, files):
    """A file system with this process's control groups and their files."""
    for name, content in ({"proc/self/cgroup": groups} | files).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_a_containers_limit_counts_in_version_2(tmp_path):
    top, inner = "sys/fs/cgroup/", "sys/fs/cgroup/pod/inner/"
    container(
        tmp_path,
        groups="0::/pod/inner\n",
        files={
            f"{inner}memory.max": "3000\n",
            f"{inner}memory.current": "1000\n",
            f"{inner}memory.stat": "anon 700\ninactive_file 300\n",
            "sys/fs/cgroup/pod/memory.max": "max\n",
            "sys/fs/cgroup/pod/memory.current": "1000\n",
            "sys/fs/cgroup/pod/memory.stat": "inactive_file 300\n",
            f"{top}memory.max": "5000\n",
            f"{top}memory.current": "4000\n",
            f"{top}memory.stat": "inactive_file 0\n",
        },
    )
    assert memory.of_groups(tmp_path) == [2300, 1000]


def test_a_containers_limit_counts_in_version_1(tmp_path):
    """The process sees its group's name on the host, and its files at the top."""
    folder = "sys/fs/cgroup/memory/"
    container(
        tmp_path,
        groups="5:cpu,cpuacct:/docker/1234\n4:memory:/docker/1234\n1:name=systemd:/\n",
        files={
            f"{folder}memory.limit_in_bytes": "3000\n",
            f"{folder}memory.usage_in_bytes": "2500\n",
            f"{folder}memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
        },
    )
    assert memory.of_groups(tmp_path) == [600]


def test_without_control_groups_nothing_limits(tmp_path):
    assert memory.of_groups(tmp_path) == []


def test_the_least_that_machine_process_and_container_have_left_is_free(tmp_path, monkeypatch):
    def free(*, limit, group="max"):
        files = {
            "proc/meminfo": "MemTotal:  9000 kB\nMemFree:  100 kB\nMemAvailable:  5000 kB\n",
            "proc/self/statm": "7 3 2 1 0 2 0\n",
            "sys/fs/cgroup/memory.max": f"{group}\n",
            "sys/fs/cgroup/memory.current": "1000\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 0\n",
        }
        container(tmp_path, groups="0::/\n", files=files)
        monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
        return memory.free([])

    monkeypatch.setattr(memory, "Path", lambda name: tmp_path / name.lstrip("/"))
    assert free(limit=resource.RLIM_INFINITY) == 5000 * 1024
    assert free(limit=resource.RLIM_INFINITY, group=4 * MB) == 4 * MB - 1000
    assert free(limit=3 * MB, group=4 * MB) == 3 * MB - 7 * PAGE
    assert free(limit=6 * PAGE) == 0
