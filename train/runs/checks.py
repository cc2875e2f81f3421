"""Refuses a configuration that cannot run, before anything heavy is imported."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable
from pathlib import Path

import envs
from configs import (
    CLONED,
    HEADS,
    IMITATED,
    CloneConfig,
    Config,
    DigitsConfig,
    ImitateConfig,
    TrainConfig,
)
from configs.fields import declared, flag, settings
from configs.registry import Registry
from envs.limits import check_batch
from train.system.errors import UserError
from train.system.hardware import divisors

LARGEST_INT = 2**31 - 1
LARGEST_INTEGRATION = 10_000
"""Steps of one primitive; the matrix that integrates it grows with them."""
MOST_BASIS_OF_A_STROKE = 299
"""Beside a start and a goal."""
TYPES = {
    int: "a whole number",
    float: "a number",
    str: "a name",
    tuple[int, ...]: "a list of whole numbers",
    tuple[str, ...]: "a list of names",
}


def check_any(config: Config) -> None:
    """Raises `UserError` for the first setting that cannot work."""
    if isinstance(config, TrainConfig):
        check(config)
    else:
        check_imitation(config)


def check(config: TrainConfig) -> None:
    """Raises `UserError` for the first setting of a training that cannot work."""
    check_types(config)
    check_policy(config, HEADS)
    check_values(config)
    check_divisions(config)
    check_primitive(config)
    check_environments(config)


def check_imitation(config: ImitateConfig) -> None:
    """Raises `UserError` for the first setting of an imitation that cannot work.

    Files that it names are not looked for; see `check_sources`.
    """
    check_types(config)
    check_known(config.task, IMITATED)
    if type(config) is not type(IMITATED[config.task]):
        raise UserError(f"--task is {config.task}, whose settings are others than those given.")
    if isinstance(config, CloneConfig):
        check_policy(config, CLONED)
    check_values(config)
    if isinstance(config, DigitsConfig):
        check_digits(config)
    else:
        check_clone(config)


def check_digits(config: DigitsConfig) -> None:
    """That a minibatch fits into the digits, and the pen's primitive to the strokes."""
    if config.descent.batch > config.samples:
        raise UserError(
            f"--batch {config.descent.batch} is more than the {config.samples} digits to learn "
            "from; lower it or raise --samples."
        )
    if config.model != "cnn" and config.pen.n_basis > MOST_BASIS_OF_A_STROKE:
        raise UserError(
            f"--n-basis is {config.pen.n_basis}; the 301 samples of a stroke determine at most "
            f"{MOST_BASIS_OF_A_STROKE}."
        )


def check_clone(config: CloneConfig) -> None:
    """That episodes can be held out and chunks fit in, and that the primitive can be integrated."""
    if config.episodes < 2:
        raise UserError(
            f"--episodes is {config.episodes}; give at least 2, one of which is held out."
        )
    check_chunk(config, config.chunk)
    check_primitive(config)
    check_environments(config)


def check_sources(config: ImitateConfig) -> None:
    """Raises `UserError` where there is no file that a configuration wants to learn from."""
    for name in ("data", "demos"):
        path = settings(config).get(name)
        if path and not Path(str(path)).is_file():
            raise UserError(f"{flag(name)} is {path}, but there is no such file.")


def check_known(task: str, known: Registry, *, or_else: str = "") -> None:
    """Raises `UserError` for a task that is not known, with the one that was probably meant."""
    if task not in known:
        guess = f"There is no {or_else}task '{task}'; did you mean '{nearest(task, known)}'?"
        raise UserError(known.refusal(task) if known.is_theirs(task) else guess)


def check_policy(config: TrainConfig | CloneConfig, known: Registry) -> None:
    """Raises `UserError` for a policy that is not known, with the one that was probably meant."""
    policy = config.policy
    if policy not in known:
        guess = (
            f"--policy is {policy!r}; it must be one of {', '.join(known)} (did you mean "
            f"{nearest(policy, known)}?), or the package.module:HEAD of your own."
        )
        raise UserError(known.refusal(policy) if known.is_theirs(policy) else guess)


def nearest(name: str, known: Iterable[str]) -> str:
    """What somebody who said `name` probably meant."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def check_environments(config: TrainConfig | CloneConfig) -> None:
    """That so many environments can be stepped in one program."""
    try:
        check_batch(config.task, config.num_envs)
    except ValueError as problem:
        raise UserError(f"--num-envs: {problem}") from None


def learner(config: Config) -> str:
    """The setting that says what learns: policy, or model of digits."""
    return "model" if isinstance(config, DigitsConfig) else "policy"


def idle(config: Config) -> set[str]:
    """Settings that mean nothing to the configuration's policy, model or task."""
    if isinstance(config, DigitsConfig):
        return set(settings(config.pen)) if config.model == "cnn" else set()
    parts = {part for head in HEADS.values() for part in head.settings}
    known = parts & {field.name for field in dataclasses.fields(config)}
    unused = [(part, getattr(config, part)) for part in known - {*config.head.settings}]
    return (
        idle_of_task(config)
        | {
            name
            for part, value in unused
            for name in (settings(value) if dataclasses.is_dataclass(value) else (part,))
        }
        | {*config.head.ignores}
    )


def idle_of_task(config: TrainConfig | CloneConfig) -> set[str]:
    """Settings that mean nothing to the task."""
    if not isinstance(config, TrainConfig):
        return set()
    return {"reward_delay"} if is_foreign(config.task) else set(settings(config.adapter))


def is_foreign(task: str) -> bool:
    """Whether a task's environment is adapted; one that is not known is not."""
    try:
        return envs.is_foreign(task)
    except ValueError:
        return False


def check_idle(config: Config, chosen: Iterable[str]) -> None:
    """Raises `UserError` if a setting that somebody chose means nothing to what learns."""
    for name in chosen:
        if name in idle(config):
            which = learner(config)
            what = f"{flag(which)} {settings(config)[which]}"
            if not isinstance(config, DigitsConfig) and name in idle_of_task(config):
                what = f"the task {config.task}"
            raise UserError(f"{flag(name)} means nothing to {what}; leave it out.")


def check_types(section: object) -> None:
    """That every setting is of its declared type, as those of an edited file may not be."""
    for name, hint in typing.get_type_hints(type(section)).items():
        value = getattr(section, name)
        if dataclasses.is_dataclass(hint):
            check_types(value)
        elif typing.get_origin(hint) is typing.Literal:
            if value not in typing.get_args(hint):
                choices = ", ".join(typing.get_args(hint))
                raise UserError(f"{flag(name)} is {value!r}; it must be one of {choices}.")
        elif not is_of(value, hint):
            raise UserError(f"{flag(name)} is {value!r}; it must be {TYPES[hint]}.")


def is_of(value: object, hint: object) -> bool:
    """Whether a value may stand for one of `TYPES`: an int for a float, nothing for a bool."""
    if typing.get_origin(hint) is tuple:
        kind = typing.get_args(hint)[0]
        return isinstance(value, tuple) and all(type(part) is kind for part in value)
    return type(value) is hint or (hint is float and type(value) is int)


def check_values(config: Config) -> None:
    """Each setting for itself."""
    values = settings(config)
    for name, setting in declared(type(config)).items():
        value = values[name]
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{flag(name)} is {value}; it must be a finite number.")
        for bound in setting.bounds:
            if not bound.holds(value) and not (bound.if_used and name in idle(config)):
                raise UserError(f"{flag(name)} is {value}; {bound.demand}.")


def check_primitive(config: TrainConfig | CloneConfig) -> None:
    """That the primitive's Euler integration converges; other policies have none."""
    if "primitive" not in config.head.settings:
        return
    primitive, steps = config.primitive, config.chunk * config.primitive.substeps
    if steps > LARGEST_INTEGRATION:
        raise UserError(
            f"--substeps {primitive.substeps} and --chunk {config.chunk} make {steps} integration "
            f"steps; give at most {LARGEST_INTEGRATION}."
        )
    if "method" not in idle(config) and primitive.alpha >= 4 * steps:
        raise UserError(
            f"--alpha is {primitive.alpha}, with which {steps} integration steps (--chunk times "
            f"--substeps) diverge; give less than {4 * steps} or more --substeps."
        )
    if primitive.alpha_x > steps:
        raise UserError(
            f"--alpha-x is {primitive.alpha_x}, with which {steps} integration steps (--chunk "
            f"times --substeps) make the phase negative; give at most {steps} or more --substeps."
        )


def check_chunk(config: TrainConfig | CloneConfig, chunk: int) -> None:
    """That chunks fit into the episode."""
    episode = config.episode_length
    if episode % chunk:
        raise UserError(
            f"--chunk {chunk} does not divide the {episode}-step episode of {config.task}; "
            f"use one of {divisors(episode, up_to=30)}."
        )


def check_divisions(config: TrainConfig) -> None:
    """That episodes, rollouts, chunks and minibatches fit into each other."""
    chunk, rollout, episode = config.steps_per_query, config.rollout_steps, config.episode_length
    check_chunk(config, chunk)
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
    if batch * chunk < 2:
        raise UserError(
            f"--num-envs {config.num_envs} and --rollout-steps {rollout} make a batch of one "
            "step, whose advantage cannot be standardised; raise either."
        )
    if config.steps_per_update > LARGEST_INT:
        raise UserError(
            f"--num-envs {config.num_envs} and --rollout-steps {rollout} make more than "
            f"{LARGEST_INT} environment steps per update; lower either."
        )
    if config.updates < 2:
        raise UserError(
            f"--steps {config.steps} is less than two updates of {config.steps_per_update} "
            "environment steps (the first gathers observation statistics); raise it or lower "
            "--num-envs."
        )
    if config.updates > LARGEST_INT:
        raise UserError(f"--steps {config.steps} is more than {LARGEST_INT} updates; lower it.")
