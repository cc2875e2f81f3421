"""What `ndp imitate TASK` learns: the actions of demonstrations, chunk by chunk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt8
from rich.console import Console

from configs import CloneConfig
from envs.base import MjxEnv
from envs.camera import NoRenderer
from ndp_jax import normalize
from ndp_jax.networks import CNN
from ndp_jax.normalize import RunningStats
from ndp_jax.policies import ActorCritic, PolicyOutput
from train.imitation import closed_loop, demonstrations
from train.imitation.demonstrations import Demonstrations
from train.imitation.learner import Loss, Material, Problem
from train.rl import film, memory, pictures
from train.rl.agent import Inputs, make_env, make_head, make_inference_fn
from train.rl.evaluate import Outcome, held_out_key, sentence, summarize
from train.rl.export import write
from train.system.errors import UserError

HELD_OUT = 0.1
"""Of the demonstrations, for the error while training."""

LARGEST = 1024
"""Held-out examples at once."""

PICTURE_CHANNELS = (16, 32, 32)

SURVEYED = 1024
"""Pictures, at most, that the mean one is made of."""


class Examples(struct.PyTreeNode):
    """What a policy may be asked, and what it is to answer.

    Attributes:
      inputs: at a query, leaves (M, ...); pictures in 256 levels.
      action: of the T steps from there, (M, T, A).
    """

    inputs: Inputs
    action: Float[Array, "M T A"]


def make_clone(env: MjxEnv, config: CloneConfig) -> ActorCritic:
    """The policy of a configuration. Its critic and its noise stay as they were made."""
    encoder = CNN(channels=PICTURE_CHANNELS) if config.observation == "image" else None
    return ActorCritic(head=make_head(env, config), encoder=encoder, hidden=config.hidden)


def queries(config: CloneConfig, episodes: int) -> int:
    """How many examples so many demonstrations are: every step that T steps follow."""
    return episodes * (config.episode_length - config.chunk + 1)


def split(config: CloneConfig) -> tuple[int, int]:
    """How many demonstrations are learned from, and how many are held out."""
    held_out = max(1, round(HELD_OUT * config.episodes))
    return config.episodes - held_out, held_out


def load(config: CloneConfig) -> Demonstrations:
    """The demonstrations of a configuration.

    Raises:
      UserError: the file cannot be used, or has too few episodes or of another length.
    """
    if not config.demos:
        return demonstrations.scripted(config)
    images = config.observation == "image"
    found = demonstrations.load(Path(config.demos), task=config.task, images=images)
    count, length = found.action.shape[:2]
    if count < config.episodes:
        raise UserError(
            f"{config.demos} holds {count} demonstrations; lower --episodes {config.episodes} or "
            "record more."
        )
    if length != config.episode_length:
        raise UserError(
            f"The demonstrations in {config.demos} have {length} steps; give --episode-length "
            f"{length}."
        )
    return found


def examples(config: CloneConfig, shown: Demonstrations, episodes: slice) -> Examples:
    """Every step of some demonstrations from which on there are T."""
    chunk, last = config.chunk, config.episode_length - config.chunk + 1
    observation = shown.observation if shown.images is None else shown.images
    chunks = np.stack([shown.action[episodes, i : i + last] for i in range(chunk)], axis=2)

    def flat(array: np.ndarray) -> Array:
        steps = array[episodes, :last]
        return jnp.asarray(steps.reshape(-1, *steps.shape[2:]))

    return Examples(
        inputs=Inputs(
            observation=flat(observation),
            position=flat(shown.position),
            velocity=flat(shown.velocity),
        ),
        action=jnp.asarray(chunks.reshape(-1, *chunks.shape[2:])),
    )


def init(env: MjxEnv, config: CloneConfig, key: PRNGKeyArray, shown: Inputs) -> PyTree:
    """The variables of a policy: its parameters and, fixed, the statistics of the observations."""
    if config.observation == "state":
        statistics = normalize.init(shown.observation.shape[1:])
        statistics = normalize.update(statistics, shown.observation)
    else:
        statistics = picture_statistics(shown.observation)
    first = jax.tree.map(lambda leaf: leaf[:1].astype(float), shown)
    variables = make_clone(env, config).init(key, first.observation, first.position, first.velocity)
    return {"params": variables["params"], "statistics": statistics}


def picture_statistics(images: UInt8[Array, "M *shape"]) -> RunningStats:
    """The mean picture, and one variance for all pixels: what never moves says nothing, loudly.

    Not centred, the scene that all pictures share drowns what differs, and a clone of faucet learns
    nothing but the mean action.
    """
    some = images[:: -(-len(images) // SURVEYED)].astype(float) / 255
    stats = normalize.update(normalize.init(images.shape[1:]), some)
    variance = jnp.broadcast_to(jnp.mean(stats.variance), stats.variance.shape)
    return stats.replace(variance=variance)  # pyright: ignore[reportAttributeAccessIssue]


def make_answer(env: MjxEnv, config: CloneConfig) -> closed_loop.Answer:
    """The policy as a function of its variables and raw inputs, pictures from 0 to 1."""
    policy = make_clone(env, config)

    def answer(variables: PyTree, inputs: Inputs) -> PolicyOutput:
        params = {"params": variables["params"]}
        return make_inference_fn(policy, params, variables["statistics"])(inputs)

    return answer


def make_loss(env: MjxEnv, config: CloneConfig) -> Loss:
    """Mean squared error of the T actions, in action units."""
    answer = make_answer(env, config)

    def loss(variables: PyTree, batch: Examples, key: PRNGKeyArray) -> Float[Array, ""]:
        del key
        inputs = batch.inputs
        if config.observation == "image":
            seen = inputs.observation.astype(float) / 255
            inputs = inputs.replace(observation=seen)  # pyright: ignore[reportAttributeAccessIssue]
        return jnp.mean(jnp.square(answer(variables, inputs).mean - batch.action))

    return loss


def make_player(env: MjxEnv, config: CloneConfig) -> closed_loop.Play:
    """Whole episodes with the policy."""
    return closed_loop.make_player(
        env,
        make_answer(env, config),
        num_envs=config.num_envs,
        chunk=config.chunk,
        camera=config.observation == "image",
    )


def blank(env: MjxEnv, config: CloneConfig) -> Inputs:
    """Inputs of the right shape, (1, ...), that nobody has seen."""
    state = jax.eval_shape(env.reset, jax.random.key(0))
    position = jnp.zeros((1, *jax.eval_shape(env.robot_state, state)[0].shape))
    if config.observation == "image":
        seen = jnp.zeros((1, pictures.SIZE, pictures.SIZE, 3), jnp.uint8)
    else:
        seen = jnp.zeros((1, env.observation_size))
    return Inputs(observation=seen, position=position, velocity=position)


def problem(config: CloneConfig) -> Problem:
    """What `train.imitation.train` needs to know of a robot task."""
    env = make_env(config)
    learned, held_out = split(config)
    inputs = blank(env, config)

    def load_material() -> Material:
        check_episodes(env, config, config.eval_episodes)
        shown = load(config)
        seen = examples(config, shown, slice(0, learned))
        others = examples(config, shown, slice(learned, learned + held_out))
        loss = jax.jit(make_loss(env, config))
        parts = -(-len(others.action) // LARGEST)

        def error(variables: PyTree) -> float:
            some = [jax.tree.map(lambda leaf, i=i: leaf[i::parts], others) for i in range(parts)]
            losses = [loss(variables, part, jax.random.key(0)) for part in some]
            return float(np.average(losses, weights=[len(part.action) for part in some]))

        play = make_player(env, config)

        def finish(
            variables: PyTree, folder: Path, console: Console, seed: int
        ) -> tuple[dict[str, Any], str]:
            console.print(f"Evaluating {config.eval_episodes} episodes ...")
            outcome = play(variables, held_out_key(seed), episodes=config.eval_episodes)
            try:
                first = film.first_few(outcome)
                filmed(env, config, variables, outcome, folder / "video.mp4", episodes=first)
            except NoRenderer as problem:
                console.print(f"No video: {problem}", soft_wrap=True)
            summary = summarize(outcome)
            return summary, f"Deterministic {sentence(summary)}"

        count, source = len(shown.action), f" in {config.demos}" if config.demos else ""
        return Material(
            examples=seen,
            about=f"{learned} of {count} demonstrations{source}; {held_out} are held out",
            error=error,
            finish=finish,
        )

    return Problem(
        size=queries(config, learned),
        init=lambda key, shown: init(env, config, key, shown.inputs),
        blank=Examples(inputs=inputs, action=jnp.zeros((1, config.chunk, env.action_size))),
        loss=make_loss(env, config),
        load=load_material,
    )


def check_episodes(env: MjxEnv, config: CloneConfig, episodes: int) -> None:
    """Raises `UserError` where memory does not suffice to play so many."""
    option = "--eval-episodes" if episodes == config.eval_episodes else "--episodes"
    memory.check_play(env, num_envs=config.num_envs, episodes=episodes, option=option)


def played(
    env: MjxEnv, config: CloneConfig, variables: PyTree, seed: int, episodes: int
) -> Outcome:
    """Held-out episodes with the policy."""
    check_episodes(env, config, episodes)
    return make_player(env, config)(variables, held_out_key(seed), episodes=episodes)


def filmed(
    env: MjxEnv,
    config: CloneConfig,
    variables: PyTree,
    outcome: Outcome,
    path: Path,
    *,
    episodes: Sequence[int],
    near: bool = False,
    at: Sequence[int] | None = None,
) -> None:
    """Films episodes, with the plans of a policy that sees states."""
    plan = None
    if outcome.inputs is not None:
        policy, params = make_clone(env, config), {"params": variables["params"]}
        plan = film.plans(policy, params, variables["statistics"], outcome, env.action_scale)
    film.film(env, outcome, path, episodes=episodes, plan=plan, near=near, at=at)


def judge(config: CloneConfig, variables: PyTree) -> dict[str, Any]:
    """The evaluation of a policy on held-out resets."""
    env = make_env(config)
    return summarize(played(env, config, variables, config.seed, config.eval_episodes))


def render(
    config: CloneConfig,
    variables: PyTree,
    folder: Path,
    path: Path | None,
    *,
    episodes: Sequence[int],
    near: bool,
    at: Sequence[int] | None,
    seed: int | None,
) -> Path:
    """Films held-out episodes."""
    env, path = make_env(config), path or folder / "video.mp4"
    seed = config.seed if seed is None else seed
    outcome = played(env, config, variables, seed, max(episodes) + 1)
    if near and outcome.inputs is None:
        raise UserError("--near shows plans, which are not drawn for --observation image.")
    filmed(env, config, variables, outcome, path, episodes=episodes, near=near, at=at)
    return path


def export(config: CloneConfig, variables: PyTree, folder: Path, path: Path) -> Path:
    """Writes a policy to a file that `ndp_jax.load_policy` reads."""
    env = make_env(config)
    params = {"params": variables["params"]}
    return write(path, folder, env, make_clone(env, config), params, variables["statistics"])
