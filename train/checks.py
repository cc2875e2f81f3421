"""Refuses a configuration that cannot run, before anything is compiled."""

from configs import TrainConfig
from envs.limits import check_batch
from train.agent import RobotEnv, chunk_of
from train.errors import UserError

POSITIVE = {
    "": ("steps", "num_envs", "rollout_steps", "chunk", "eval_episodes"),
    "primitive": ("n_basis", "substeps", "alpha", "alpha_x", "goal_scale", "weight_scale"),
    "ppo": ("learning_rate", "clip", "max_kl", "max_grad_norm", "epochs", "minibatches"),
}
UNIT_INTERVAL = ("gamma", "gae_lambda")


def flag(name: str) -> str:
    """The command line's spelling of a field."""
    return "--" + name.replace("_", "-")


def check(config: TrainConfig, env: RobotEnv) -> None:
    """Raises `UserError` for the first setting that cannot work."""
    for section, names in POSITIVE.items():
        owner = getattr(config, section) if section else config
        for name in names:
            value = getattr(owner, name)
            if not value > 0:
                raise UserError(f"{flag(name)} is {value}; it must be greater than 0.")
    for name in UNIT_INTERVAL:
        value = getattr(config.ppo, name)
        if not 0 <= value <= 1:
            raise UserError(f"{flag(name)} is {value}; it must lie between 0 and 1.")
    if not config.network.hidden or min(config.network.hidden) < 1:
        raise UserError(f"--hidden is {config.network.hidden}; give one or more positive widths.")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"--seed is {config.seed}; it must lie between 0 and 4294967295.")
    try:
        check_batch(config.task, config.num_envs)
    except ValueError as problem:
        raise UserError(str(problem)) from None

    chunk, rollout, episode = chunk_of(config), config.rollout_steps, env.episode_length
    if episode % chunk:
        raise UserError(
            f"--chunk {chunk} does not divide the {episode}-step episode of {config.task}; "
            f"use one of {divisors(episode, up_to=30)}."
        )
    if episode % rollout:
        raise UserError(
            f"--rollout-steps {rollout} does not divide the {episode}-step episode of "
            f"{config.task}; use one of {divisors(episode, up_to=episode)}."
        )
    if rollout % chunk:
        raise UserError(
            f"--chunk {chunk} does not divide --rollout-steps {rollout}; "
            f"use one of {divisors(rollout, up_to=30)}."
        )
    batch = rollout // chunk * config.num_envs
    if batch % config.ppo.minibatches:
        raise UserError(
            f"--minibatches {config.ppo.minibatches} does not divide the batch of {batch} queries "
            f"({rollout // chunk} per rollout x {config.num_envs} environments); "
            f"use one of {divisors(batch, up_to=64)}."
        )
    update = rollout * config.num_envs
    if config.steps < 2 * update:
        raise UserError(
            f"--steps {config.steps} is less than two updates of {update} environment steps "
            "(the first gathers observation statistics); raise it or lower --num-envs."
        )


def divisors(number: int, *, up_to: int) -> str:
    """The divisors of a number, for a sentence."""
    return ", ".join(str(n) for n in range(1, up_to + 1) if number % n == 0)
