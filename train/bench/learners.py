"""Those who learn a task by PPO, ours and others', with the same network, batch and passes over it.

All tell after every update how many of the last episodes, as many as there are environments, ended
in success while exploring.
"""

import dataclasses
import importlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import State, Wrapper

from configs import TrainConfig
from envs.base import MjxEnv
from train.bench.sizes import NAMES
from train.rl import memory
from train.rl.agent import hyperparameters, make_env
from train.rl.ppo import make_learner
from train.system.errors import UserError

Watch = Callable[[float], None]
"""Takes the share of successes; NaN before any episode has ended. Raises `Enough` to stop."""

Learn = Callable[[TrainConfig, Watch], None]

POLICIES = ("ndp", "ppo")
"""Ours: with a primitive, and as others', which are asked in every step."""

REWARD_SCALING = 2e-5
"""For brax, which does not scale rewards itself: one over the deviation of push's returns."""


class Enough(Exception):
    """Stops a learner."""


def learn(config: TrainConfig, watch: Watch) -> None:
    """Ours."""
    env = make_env(config)
    memory.check_run(env, config)
    learner = make_learner(env, config)
    state = jax.jit(learner.init)(jax.random.key(config.seed), hyperparameters(config))
    update = jax.jit(learner.update, donate_argnums=0)
    for done in range(1, config.updates + 1):
        state, numbers = update(state)
        ended = done * config.rollout_steps >= env.episode_length
        watch(float(numbers["success"]) if ended else math.nan)


class Last(Wrapper):
    """Success in an episode's last step only, so that brax's sum over the steps is the outcome."""

    env: MjxEnv

    def step(self, state: State, action: jax.Array) -> State:
        state = self.env.step(state, action)
        physics: Any = state.pipeline_state
        ends = physics.time > (self.env.episode_length - 0.5) * self.env.dt
        success = jnp.where(ends, state.metrics["success"], 0.0)
        return state.replace(  # pyright: ignore[reportAttributeAccessIssue] (flax adds it)
            metrics=state.metrics | {"success": success}
        )


def learn_with_brax(config: TrainConfig, watch: Watch) -> None:
    """The one of brax on our environment; the rate stays, and 100 are its last episodes."""
    from brax.training.agents.ppo import networks, train
    from flax import linen

    # brax 0.14.2 calls a function that jax 0.10 removed.
    if not hasattr(jax, "device_put_replicated"):
        jax.device_put_replicated = lambda tree, devices: jax.tree.map(  # pyright: ignore
            lambda leaf: jnp.stack([leaf] * len(devices)), tree
        )
    ppo, success = config.ppo, math.nan
    cuts = ppo.minibatches // math.gcd(ppo.minibatches, config.num_envs)  # so that whole parts of
    if config.rollout_steps % cuts:  # rollouts make a minibatch
        raise UserError(f"left out: {ppo.minibatches} minibatches of {config.num_envs} rollouts")

    def progress(steps: int, metrics: dict[str, float]) -> None:
        nonlocal success
        if "training/sps" in metrics:
            jax.effects_barrier()
            watch(success)
        else:
            success = metrics.get("episode/success", math.nan)

    make_networks = partial(
        networks.make_ppo_networks,
        policy_hidden_layer_sizes=config.network.hidden,
        value_hidden_layer_sizes=config.network.hidden,
        activation=linen.tanh,
        **{"distribution_type": "normal", "noise_std_type": "log"},
        init_noise_std=math.exp(config.network.initial_log_std),
    )
    train.train(
        Last(make_env(config)),
        num_timesteps=config.updates * config.steps_per_update,
        episode_length=config.episode_length,
        unroll_length=config.rollout_steps // cuts,
        batch_size=config.num_envs * cuts // ppo.minibatches,
        num_minibatches=ppo.minibatches,
        num_updates_per_batch=ppo.epochs,
        **{"discounting": ppo.gamma, "gae_lambda": ppo.gae_lambda, "clipping_epsilon": ppo.clip},
        **{"learning_rate": ppo.learning_rate, "max_grad_norm": ppo.max_grad_norm},
        **{"entropy_cost": ppo.entropy_coefficient, "vf_loss_coefficient": ppo.value_coefficient},
        **{"normalize_observations": True, "reward_scaling": REWARD_SCALING},
        **{"num_envs": config.num_envs, "max_devices_per_host": 1, "num_resets_per_eval": 1},
        **{"num_evals": config.updates + 1, "run_evals": False, "log_training_metrics": True},
        **{"network_factory": make_networks, "progress_fn": progress, "seed": config.seed},
    )


def learn_with_sb3(config: TrainConfig, watch: Watch) -> None:
    """stable-baselines3's, on a CPU, with our gymnasium adapter and C physics."""
    stable_baselines3: Any = importlib.import_module("stable_baselines3")
    callbacks: Any = importlib.import_module("stable_baselines3.common.callbacks")
    vectors: Any = importlib.import_module("stable_baselines3.common.vec_env")

    from envs.gym import GymVectorEnv
    from envs.sb3 import Lanes

    class Told(callbacks.BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:
                ended = self.model.ep_success_buffer
                watch(sum(ended) / len(ended) if ended else math.nan)

    make_env(dataclasses.replace(config, impl="c"))  # says so where it cannot be had
    options: dict[str, Any] = {"autoreset_mode": "SameStep", "impl": "c"}
    options |= {"episode_length": config.episode_length, "reward_delay": config.reward_delay}
    many = GymVectorEnv(config.task, config.num_envs, **options)
    ppo, widths = config.ppo, list(config.network.hidden)
    networks = {"pi": widths, "vf": widths}
    learner = stable_baselines3.PPO(
        "MlpPolicy",
        vectors.VecNormalize(vectors.VecMonitor(Lanes(many)), gamma=ppo.gamma),
        n_steps=config.rollout_steps,
        batch_size=config.steps_per_update // ppo.minibatches,
        n_epochs=ppo.epochs,
        learning_rate=lambda remaining: ppo.learning_rate * remaining,
        policy_kwargs={"net_arch": networks, "log_std_init": config.network.initial_log_std},
        **{"gamma": ppo.gamma, "gae_lambda": ppo.gae_lambda, "clip_range": ppo.clip},
        **{"ent_coef": ppo.entropy_coefficient, "vf_coef": ppo.value_coefficient},
        **{"max_grad_norm": ppo.max_grad_norm, "stats_window_size": config.num_envs},
        **{"seed": config.seed, "device": "cpu"},
    )
    learner.learn(config.updates * config.steps_per_update, callback=Told())


PEERS: dict[str, Learn] = {"brax": learn_with_brax, "stable-baselines3": learn_with_sb3}
"""By their packages."""


def contestants(
    config: TrainConfig, impls: Iterable[str]
) -> Iterator[tuple[str, str, Learn, TrainConfig]]:
    """Names, packages that they take, and with what they learn."""
    for policy, impl in itertools.product(POLICIES, impls):
        chosen = dataclasses.replace(config, policy=policy, impl=impl)
        yield f"{policy} {NAMES[impl]}", "", learn, chosen
    for package, peer in PEERS.items():
        yield package, package, peer, dataclasses.replace(config, policy="ppo", impl="jax")
