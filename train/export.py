"""A trained policy as one file, for `ndp_jax.load_policy`."""

import json
from pathlib import Path

from ndp_jax import save_policy
from train.agent import make_policy
from train.checkpoint import load_run
from train.errors import UserError
from train.run import Which


def export(folder: Path, path: Path | None = None, *, which: Which = "latest") -> Path:
    """Writes the policy of a checkpoint, by default to policy.msgpack in the run's folder.

    Returns:
      Where it was written.

    Raises:
      UserError: the run cannot be loaded or the file cannot be written.
    """
    config, env, state = load_run(folder, which=which)
    path = path or folder / "policy.msgpack"
    settings = json.loads((folder / "config.json").read_text())
    about = {
        "task": config.task,
        "dt": env.dt,
        "action_scale": env.action_scale,
        "action_limit": env.action_limit,
        "versions": settings.pop("versions", {}),
        "config": settings,
    }
    policy = make_policy(env, config, state.hyper)
    try:
        save_policy(path, policy, state.params, state.observation, about=about)
    except OSError as error:
        raise UserError(
            f"Cannot write the policy to {path} ({error.strerror}); choose another --out."
        ) from None
    return path
