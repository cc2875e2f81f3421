"""A trained policy as one file, for `ndp_jax.load_policy`."""

import json
from pathlib import Path

from jaxtyping import PyTree

from ndp_jax import save_policy
from ndp_jax.normalize import RunningStats
from ndp_jax.policies import ActorCritic
from train.rl.agent import RobotEnv, make_policy
from train.rl.train import load_run
from train.runs.run import Which
from train.system.errors import UserError


def export(folder: Path, path: Path | None = None, *, which: Which = "latest") -> Path:
    """Writes the policy of a checkpoint, by default to policy.msgpack in the run's folder.

    Returns:
      Where it was written.

    Raises:
      UserError: the run cannot be loaded or the file cannot be written.
    """
    config, env, state = load_run(folder, which=which)
    path = path or folder / "policy.msgpack"
    policy = make_policy(env, config, state.hyper)
    return write(path, folder, env, policy, state.params, state.obs_stats)


def write(
    path: Path,
    folder: Path,
    env: RobotEnv,
    policy: ActorCritic,
    params: PyTree,
    statistics: RunningStats,
) -> Path:
    """Writes a policy that a run has learned in an environment.

    Raises:
      UserError: the file cannot be written.
    """
    settings = json.loads((folder / "config.json").read_text())
    about = {
        "task": settings["task"],
        "dt": env.dt,
        "action_scale": env.action_scale,
        "action_limit": env.action_limit,
        "versions": settings.pop("versions", {}),
        "config": settings,
    }
    try:
        save_policy(path, policy, params, statistics, about=about, parts=[type(policy.head)])
    except OSError as error:
        raise UserError(
            f"Cannot write the policy to {path} ({error.strerror}); choose another --out."
        ) from None
    return path
