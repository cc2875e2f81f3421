import dataclasses

import pytest

import envs
from configs import PPO, PRESETS, Network, Primitive
from envs import limits
from train.checks import check
from train.errors import UserError


@pytest.mark.parametrize("task", envs.TASKS)
def test_every_preset_passes(task):
    for policy in ("ndp", "ppo-multi", "ppo"):
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
        ({"primitive": Primitive(n_basis=0)}, "--n-basis is 0"),
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
        ({"policy": "dnp"}, "--policy is 'dnp'; it must be one of ndp, ppo-multi, ppo"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        check(dataclasses.replace(PRESETS["push"], **changes))
    assert "\n" not in str(caught.value)
