import dataclasses

import pytest

import envs
from configs import (
    IMITATED,
    PPO,
    PRESETS,
    CloneConfig,
    Descent,
    DigitsConfig,
    Network,
    Pen,
    Primitive,
)
from envs import limits
from train.runs.checks import check, check_idle, check_imitation, check_sources
from train.system.errors import UserError


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_preset_passes(task):
    for policy in ("ndp", "prodmp", "ppo-multi", "ppo"):
        check(dataclasses.replace(PRESETS[task], policy=policy))


def test_a_whole_number_may_stand_for_a_number():
    check(dataclasses.replace(PRESETS["push"], primitive=Primitive(alpha=5), ppo=PPO(gamma=1)))


@pytest.mark.parametrize("task", envs.TASKS)
def test_a_presets_episode_is_its_tasks(task):
    assert PRESETS[task].episode_length == envs.make(task).episode_length


def test_a_batch_that_may_hang_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "version", lambda package: "0.10.2")
    with pytest.raises(UserError, match=r"256 environments of pick may hang .* at most 128"):
        check(dataclasses.replace(PRESETS["pick"], num_envs=256))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_envs": 0}, "--num-envs is 0; it must be greater than 0"),
        ({"steps": -1}, "--steps is -1"),
        ({"steps": 10_000}, "--steps 10000 is less than two updates of 9600"),
        ({"eval_episodes": 0}, "--eval-episodes is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"chunk": 7}, "--chunk 7 does not divide the 150-step episode of push; use one of 1, 2"),
        ({"rollout_steps": 40}, "--rollout-steps 40 does not divide the 150-step episode"),
        ({"rollout_steps": 3}, "--chunk 5 does not divide --rollout-steps 3"),
        ({"ppo": PPO(minibatches=7)}, "--minibatches 7 does not divide the batch of 1920 queries"),
        ({"ppo": PPO(learning_rate=0.0)}, "--learning-rate is 0.0"),
        ({"ppo": PPO(learning_rate=float("nan"))}, "--learning-rate is nan"),
        ({"ppo": PPO(gamma=1.5)}, "--gamma is 1.5; it must lie between 0 and 1"),
        ({"network": Network(hidden=())}, "--hidden is"),
        ({"primitive": Primitive(n_basis=-1)}, "--n-basis is -1"),
        ({"primitive": Primitive(alpha=-5.0)}, "--alpha is -5.0"),
        ({"primitive": Primitive(alpha=31.0)}, "--alpha is 31.0; it must lie between 0.5 and 30"),
        ({"chunk": 1, "primitive": Primitive(substeps=7, alpha=30.0)}, "--alpha is 30.0, with"),
        ({"primitive": Primitive(alpha_x=41.0)}, "--alpha-x is 41.0, with which 40 integration"),
        ({"primitive": Primitive(alpha_x=1e-9)}, "--alpha-x is 1e-09; it must lie between 1e-06"),
        ({"chunk": 150, "primitive": Primitive(substeps=80)}, "--chunk 150 make 12000 integration"),
        ({"num_envs": 20_000_000}, "--num-envs is 20000000; it must be at most 1,000,000"),
        (
            {"num_envs": 10**6, "episode_length": 3000, "rollout_steps": 3000},
            "--num-envs 1000000 and --rollout-steps 3000 make more than 2147483647",
        ),
        ({"steps": "1000"}, "--steps is '1000'; it must be a whole number"),
        ({"ppo": PPO(clip=True)}, "--clip is True; it must be a number"),
        (
            {"network": Network(hidden=[8])},
            r"--hidden is \[8\]; it must be a list of whole",
        ),
        ({"policy": "dnp"}, "--policy is 'dnp'; it must be one of ndp, prodmp, ppo-multi, ppo"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        check(dataclasses.replace(PRESETS["push"], **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", IMITATED)
def test_every_imitation_passes(task):
    check_imitation(IMITATED[task])


@pytest.mark.parametrize(
    ("task", "changes", "sentence"),
    [
        ("digits", {"samples": 0}, "--samples is 0; it must be greater than 0"),
        ("digits", {"held_out": 0}, "--held-out is 0; it must be greater than 0"),
        ("digits", {"held_out": 10**7}, "--held-out is 10000000; it must be at most 1,000,000"),
        ("digits", {"samples": 99}, "--batch 100 is more than the 99 digits to learn from"),
        ("digits", {"seed": 2**32}, "--seed is 4294967296"),
        ("digits", {"hidden": (0,)}, r"--hidden is \(0,\)"),
        ("digits", {"model": "mlp"}, "--model is 'mlp'; it must be one of cnn-ndp, mlp-ndp"),
        ("digits", {"data": 3}, "--data is 3; it must be a name"),
        ("digits", {"task": "didgits"}, "There is no task 'didgits'; did you mean 'digits'?"),
        ("digits", {"task": "push"}, "--task is push, whose settings are others than those given"),
        ("digits", {"pen": Pen(alpha=31.0)}, "--alpha is 31.0; it must lie between 0.5 and 30"),
        ("digits", {"pen": Pen(alpha_x=0.0)}, "--alpha-x is 0.0; it must be greater than 0"),
        ("digits", {"pen": Pen(n_basis=1001)}, "--n-basis is 1001; it must be at most 1,000"),
        ("digits", {"descent": Descent(steps=0)}, "--steps is 0; it must be greater than 0"),
        ("digits", {"descent": Descent(steps=2**31)}, "--steps is 2147483648; it must be at most"),
        ("digits", {"descent": Descent(eval_every=0)}, "--eval-every is 0; it must be greater"),
        ("digits", {"descent": Descent(learning_rate=float("nan"))}, "--learning-rate is nan; it"),
        ("digits", {"descent": Descent(learning_rate=2.0)}, "--learning-rate is 2.0; it must be"),
        ("push", {"task": "pusk"}, "There is no task 'pusk'; did you mean 'push'?"),
        ("push", {"task": "digits"}, "--task is digits, whose settings are others"),
        ("push", {"episodes": 0}, "--episodes is 0; it must be greater than 0"),
        ("push", {"chunk": 7}, "--chunk 7 does not divide the 150-step episode of push"),
        ("push", {"policy": "ppo"}, "--policy is 'ppo'; it must be one of ndp, nn"),
        ("push", {"observation": "sound"}, "--observation is 'sound'; it must be one of state"),
        ("push", {"primitive": Primitive(alpha=31.0)}, "--alpha is 31.0; it must lie between"),
        ("push", {"chunk": 1, "primitive": Primitive(substeps=1)}, "--alpha is 5.0, with which 1"),
        ("push", {"descent": Descent(batch=0)}, "--batch is 0; it must be greater than 0"),
    ],
)
def test_an_imitation_that_cannot_run_is_refused_in_one_sentence(task, changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        check_imitation(dataclasses.replace(IMITATED[task], **changes))
    assert "\n" not in str(caught.value)


def test_a_batch_of_imitated_episodes_that_may_hang_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "version", lambda package: "0.10.2")
    with pytest.raises(UserError, match=r"256 environments of pick may hang"):
        check_imitation(dataclasses.replace(IMITATED["pick"], num_envs=256))


def test_a_closed_form_does_not_diverge():
    primitive = Primitive(substeps=7, alpha=30.0)
    check(dataclasses.replace(PRESETS["push"], policy="prodmp", chunk=1, primitive=primitive))


def test_what_an_imitation_without_primitive_ignores_is_not_looked_at():
    check_imitation(DigitsConfig(model="cnn", pen=Pen(alpha=99.0)))
    check_imitation(CloneConfig(task="push", policy="nn", primitive=Primitive(alpha=99.0)))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (DigitsConfig(model="cnn"), ("n_basis", "alpha", "kernel", "forcing", "method")),
        (DigitsConfig(), ()),
        (DigitsConfig(model="cnn-dmp"), ()),
        (CloneConfig(task="push", policy="nn"), ("n_basis", "substeps", "goal_scale")),
        (CloneConfig(task="push"), ()),
    ],
)
def test_settings_that_mean_nothing_to_an_imitation_are_refused(config, names):
    for name in names:
        with pytest.raises(UserError, match=r"means nothing to --(model cnn|policy nn); leave it"):
            check_idle(config, [name])
    check_idle(config, ["chunk", "hidden", "steps", *([] if names else ["alpha", "start"])])


def test_files_to_learn_from_must_be_there(tmp_path):
    file = tmp_path / "demos.npz"
    file.touch()
    check_sources(CloneConfig(task="push", demos=str(file)))
    check_sources(DigitsConfig())
    with pytest.raises(UserError, match=r"--demos is .*, but there is no such file"):
        check_sources(CloneConfig(task="push", demos=str(tmp_path)))
    with pytest.raises(UserError, match=r"--data is .*digits.mat, but there is no such file"):
        check_sources(DigitsConfig(data=str(tmp_path / "digits.mat")))
