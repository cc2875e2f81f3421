"""Any valid configuration runs; any invalid one is refused by name before anything is compiled."""

import dataclasses
import math
import subprocess
import sys
from functools import partial

import hypothesis
import jax
import jax.numpy as jnp
import probes
import pytest
from hypothesis import strategies as st

from configs import PPO, Network, Primitive, TrainConfig
from configs.fields import declared, flag, settings
from train.rl.agent import hyperparameters
from train.rl.ppo import make_learner
from train.runs.checks import check
from train.system.errors import UserError

ENVIRONMENTS = (
    *(probes.ConstantReward, probes.RewardFromObservation, probes.DelayedReward),
    *(probes.RewardFromAction, probes.RewardFromBoth),
)
KERNELS = ("gaussian", "multiquadric", "inverse_quadric", "inverse_multiquadric", "linear")


def ends(name):
    """The ends of the range of a setting."""
    bounds = declared(TrainConfig)[name].bounds
    return max(bound.low for bound in bounds), min(bound.high for bound in bounds)


def numbers(name, *, below=math.inf):
    """Of a setting's range, whose ends are drawn often; orders of magnitude from 1e-6 on."""
    low, high = ends(name)
    low, high = low or sys.float_info.min, min(high, below)
    return st.sampled_from((low, float(high))) | st.floats(
        math.log(max(low, 1e-6)), math.log(high)
    ).map(lambda x: min(math.exp(x), float(high)))


@st.composite
def valid(draw, policies=("ndp", "prodmp", "ppo-multi", "ppo")):
    """Small configurations whose sizes fit, with numbers from all of their ranges."""
    policy = draw(st.sampled_from(policies))
    chunk, queries, rollouts = draw(st.tuples(*[st.integers(1, n) for n in (4, 3, 2)]))
    rollout, substeps = chunk * queries, draw(st.integers(1, 8))
    num_envs = draw(st.integers(1 if rollout > 1 else 2, 6))
    batch = num_envs * (rollout if policy == "ppo" else queries)
    primitive = Primitive(
        n_basis=draw(st.integers(0, 8)),
        alpha=draw(numbers("alpha", below=math.nextafter(4 * chunk * substeps, 0))),
        alpha_x=draw(numbers("alpha_x", below=chunk * substeps)),
        kernel=draw(st.sampled_from(KERNELS)),
        forcing=draw(st.sampled_from(("scaled", "unscaled", "hoffmann"))),
        substeps=substeps,
        method=draw(st.sampled_from(("matrix", "scan"))),
        goal_scale=draw(numbers("goal_scale")),
        weight_scale=draw(numbers("weight_scale")),
    )
    network = Network(
        hidden=tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))),
        initial_log_std=draw(st.floats(*ends("initial_log_std"))),
    )
    ppo = PPO(
        gamma=draw(st.floats(0, 1)),
        gae_lambda=draw(st.floats(0, 1)),
        min_advantage_std=draw(st.just(0.0) | numbers("min_advantage_std")),
        entropy_coefficient=draw(st.just(0.0) | numbers("entropy_coefficient")),
        value_coefficient=draw(st.just(0.0) | numbers("value_coefficient")),
        learning_rate=draw(numbers("learning_rate")),
        clip=draw(numbers("clip")),
        max_kl=draw(numbers("max_kl")),
        max_grad_norm=draw(numbers("max_grad_norm")),
        epochs=draw(st.integers(1, 3)),
        minibatches=draw(st.sampled_from([n for n in range(1, batch + 1) if batch % n == 0])),
    )
    return TrainConfig(
        task="probe",
        policy=policy,
        seed=draw(st.integers(0, 2**32 - 1)),
        steps=draw(st.integers(2, 5)) * num_envs * rollout + draw(st.integers(0, num_envs - 1)),
        episode_length=rollout * rollouts,
        num_envs=num_envs,
        rollout_steps=rollout,
        chunk=chunk,
        explore=draw(st.sampled_from(("actions", "trajectory"))),
        primitive=primitive,
        network=network,
        ppo=ppo,
    )


def assert_it_learns(config, environment):
    """Initialises and updates twice; the first update only gathers statistics."""
    check(config)
    env = environment()
    env.length = config.episode_length
    learner = make_learner(env, config)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiles faster
    def train(key, hyper):
        start = learner.init(key, hyper)
        return start, jax.lax.scan(lambda s, _: learner.update(s), start, length=2)[0]

    start, state = train(jax.random.key(config.seed), hyperparameters(config))
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, start)
    learned = (state.params, state.optimizer, state.obs_stats, state.reward)
    for path, leaf in jax.tree_util.tree_leaves_with_path(learned):
        assert jnp.all(jnp.isfinite(leaf)), jax.tree_util.keystr(path)
    assert state.faults.skipped_minibatches == 0
    assert state.faults.broken_episodes == 0
    assert state.optimizer.count >= config.ppo.minibatches


@pytest.mark.slow
@hypothesis.settings(max_examples=100, phases=(hypothesis.Phase.generate,))  # shrinking compiles
@hypothesis.given(valid(), st.sampled_from(ENVIRONMENTS))
def test_any_valid_configuration_learns(config, environment):
    assert_it_learns(config, environment)


def replaced(config, name, value):
    """The configuration with one setting changed, in whichever section it is."""
    for field in dataclasses.fields(config):
        section = getattr(config, field.name)
        if field.name == name:
            return dataclasses.replace(config, **{name: value})
        if dataclasses.is_dataclass(section) and hasattr(section, name):
            return dataclasses.replace(config, **{field.name: replaced(section, name, value)})
    raise AssertionError(name)


NAN, INF = math.nan, math.inf
WRONG_TYPES = {
    int: (True, "5", 5.0, NAN, None, (5,)),
    float: (True, "0.5", NAN, INF, -INF, None, (0.5,)),
    str: (3, None, ("push",)),
}
WRONG_VALUES = {
    **dict.fromkeys(
        (
            *("steps", "episode_length", "num_envs", "rollout_steps", "chunk"),
            *("reward_delay",),
            *("substeps", "epochs", "minibatches", "max_skipped", "eval_episodes"),
            *("keep_checkpoints",),
        ),
        st.integers(max_value=0),
    ),
    **dict.fromkeys(
        (
            *("alpha", "alpha_x", "goal_scale", "weight_scale", "learning_rate", "clip"),
            *("max_kl", "max_grad_norm", "checkpoint_seconds", "speed", "unit"),
        ),
        st.floats(max_value=0),
    ),
    **dict.fromkeys(
        ("entropy_coefficient", "value_coefficient", "min_advantage_std", "kp", "kd"),
        st.floats(max_value=-1e-30),
    ),
    **dict.fromkeys(
        ("gamma", "gae_lambda"), st.floats(max_value=-1e-30) | st.floats(min_value=1 + 1e-9)
    ),
    **dict.fromkeys(
        ("policy", "explore", "kernel", "forcing", "method", "impl", "controller"),
        st.sampled_from(("", "NDP", "scan ")),
    ),
    **dict.fromkeys(("eval_every", "threads", "n_basis"), st.integers(max_value=-1)),
    "seed": st.integers(max_value=-1) | st.integers(min_value=2**32),
    "initial_log_std": st.floats(max_value=-10.1) | st.floats(min_value=10.1),
    "hidden": st.sampled_from(((), (0,), (8, -1), (8, 0.5), (True,), ("8",), [8], 8, None, (1e9,))),
    "joints": st.sampled_from((("a", 1), ["a"], "a", None)),
    "task": st.nothing(),
    "observation": st.nothing(),
}
TOO_LARGE = {
    **dict.fromkeys(
        (
            *("episode_length", "reward_delay", "num_envs", "eval_episodes", "n_basis", "substeps"),
            *("epochs", "threads"),
            *("goal_scale", "weight_scale", "clip", "max_kl", "max_grad_norm", "learning_rate"),
            *("entropy_coefficient", "value_coefficient", "min_advantage_std"),
            *("speed", "unit", "kp", "kd"),
        ),
        st.sampled_from((10**7, 10**30, 10**400)),
    ),
    "hidden": st.sampled_from(((10**9,), (8, 10**30))),
}


@st.composite
def spoiled(draw):
    """A valid configuration with one bad setting, and its name."""
    config = draw(valid())
    name = draw(st.sampled_from(sorted(settings(config))))
    kind = type(settings(config)[name])
    bad = WRONG_VALUES[name] | TOO_LARGE.get(name, st.nothing())
    bad |= st.sampled_from(WRONG_TYPES.get(kind, (None,)))
    return replaced(config, name, draw(bad)), name


def assert_refused(config, name):
    with pytest.raises(UserError) as caught:
        check(config)
    sentence = str(caught.value)
    assert sentence.split()[0] == flag(name)
    assert sentence.endswith(".") and "\n" not in sentence


@hypothesis.settings(max_examples=500)
@hypothesis.given(spoiled())
def test_any_bad_setting_is_refused_by_name(example):
    assert_refused(*example)


def unfit(config):
    """Settings that are sound by themselves and do not fit the others, by name."""
    values = {
        "steps": st.sampled_from(
            (2 * config.steps_per_update - 1, 2**31 * config.steps_per_update)
        ),
        "rollout_steps": st.integers(config.episode_length + 1, 10**6),
        "minibatches": st.integers(config.num_envs * config.rollout_steps + 1, 10**9),
    }
    if config.policy != "ppo":
        values["chunk"] = st.integers(config.episode_length + 1, 10**6)
    if config.policy == "ndp":
        steps = config.chunk * config.primitive.substeps
        least = min(4 * steps, 31)
        values["alpha"] = st.floats(least, 1e300) | st.integers(least, 10**400)
        values["alpha_x"] = st.floats(min(steps, 100), 1e300, exclude_min=True)
        values["alpha_x"] |= st.floats(1e-300, 1e-7)
    return values


@st.composite
def misfit(draw):
    """A valid configuration with one setting that does not fit the others, and its name."""
    config = draw(valid())
    name, values = draw(st.sampled_from(sorted(unfit(config).items(), key=lambda item: item[0])))
    return replaced(config, name, draw(values)), name


@hypothesis.settings(max_examples=300)
@hypothesis.given(misfit())
def test_any_setting_that_does_not_fit_the_others_is_refused_by_name(example):
    assert_refused(*example)


def test_nothing_can_be_compiled_before_the_check():
    code = (
        "import sys, configs; from train.runs import checks; checks.check(configs.PRESETS['push']);"
        "sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
