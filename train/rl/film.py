"""Videos and pictures of episodes, with what the policy planned drawn into the scene."""

import errno
import itertools
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import imageio
import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree, UInt8
from PIL import Image

from configs import TrainConfig
from envs.camera import Camera, Curve, Detail, NoRenderer
from ndp_jax.normalize import RunningStats, normalize
from ndp_jax.policies import ActorCritic, Plan
from train.rl.agent import RobotEnv, make_policy
from train.rl.evaluate import Outcome, Pose
from train.rl.ppo import TrainState
from train.system.errors import UserError

VIDEO_FPS = 30
FULL = 2**20
"""Free bytes of a disk with less of which ffmpeg is not to blame."""

# A GIF is made for web pages, a strip shows the first episode in a few moments side by side.
PAGE_SIZE: Any = {"height": 300, "width": 400}
GIF_FPS = 10
STRIP_MOMENTS = 4

FILMED = 2
"""Episodes of the video at the end of a run; drawing one takes as long as some updates."""

# The plan that the robot follows, whose T steps alternate, and its goal; plans before it alternate.
PLAN_RADIUS, PLAN_COLORS = 0.008, ((0.85, 0.0, 0.45, 1.0), (0.85, 0.85, 0.85, 1.0))
GOAL_RADIUS, GOAL_COLOR = 0.014, (0.9, 0.6, 0.0, 0.8)
PAST_RADIUS, PAST_COLORS = 0.005, ((0.75, 0.45, 0.65, 1.0), (0.35, 0.1, 0.3, 1.0))

# A picture from near shows this much more than the movement, m.
MARGIN = 0.1


def plans(
    policy: ActorCritic,
    params: PyTree,
    statistics: RunningStats,
    outcome: Outcome,
    action_scale: float,
) -> Plan:
    """What a policy planned at each query of N episodes: paths (N, Q, K, D), goals (N, Q, D).

    The path of a policy without a primitive goes through the T + 1 points that its action means
    lead to, `action_scale` per unit action, and it has no goal.
    """
    inputs: Any = outcome.inputs
    position = inputs.position
    asked = normalize(statistics, inputs.observation), position, inputs.velocity
    answer: Any = policy.apply(params, *asked, mutable=["intermediates"])
    output, sown = answer
    if plan := sown.get("intermediates", {}).get("head", {}).get("plan"):
        return plan[0]
    moves = action_scale * output.mean[..., : position.shape[-1]]
    start = position[..., None, :]
    return Plan(path=jnp.concatenate([start, start + jnp.cumsum(moves, axis=-2)], -2), goal=None)


def plans_of(env: RobotEnv, config: TrainConfig, state: TrainState, outcome: Outcome) -> Plan:
    """`plans` of a learner's policy."""
    policy = make_policy(env, config, state.hyper)
    return plans(policy, state.params, state.obs_stats, outcome, env.action_scale)


def first_few(outcome: Outcome) -> range:
    """The episodes that are filmed at the end of a run, fewer if fewer were played."""
    return range(min(FILMED, len(outcome.returns)))


def film(
    env: RobotEnv,
    outcome: Outcome,
    path: Path,
    *,
    episodes: Sequence[int] | None = None,
    plan: Plan | None = None,
    near: bool = False,
    at: Sequence[int] | None = None,
) -> None:
    """Writes episodes of an outcome to an mp4 or gif, or moments of the first of them to a png.

    Args:
      env: their environment.
      outcome: of N episodes.
      path: where to; ends in .mp4, .gif or .png.
      episodes: which to film, one after the other, 0 to N - 1; by default the first four.
      plan: of all queries, to be drawn: the one that the robot follows, its T steps in alternating
        colours and its goal as a ball, and, thinner, those before it.
      near: show only where the plans go instead of the whole scene; needs a plan.
      at: steps after which the pictures of a png are taken, 1 to L; by default spread evenly.

    Raises:
      NoRenderer: no OpenGL here, no ffmpeg for an mp4, or an environment without MuJoCo's physics.
      UserError: there is no such episode or step.
    """
    model, trace = getattr(env, "mj_model", None), getattr(env, "trace", None)
    if model is None or outcome.poses is None:
        raise NoRenderer(f"{type(env).__name__} has no MuJoCo scene.")
    if trace is None and near:
        raise UserError("--near shows where plans go, which this environment does not tell.")
    plan = plan if trace else None
    poses: Any = jax.device_get(outcome.poses)
    count, length = poses.qpos.shape[:2]
    episodes = range(min(4, count)) if episodes is None else episodes
    for episode in episodes:
        if not 0 <= episode < count:
            raise UserError(f"There is no episode {episode}; they are counted 0 to {count - 1}.")
    for step in at or ():
        if not 1 <= step <= length:
            raise UserError(f"There is no step {step}; an episode has steps 1 to {length}.")
    partial = path.with_suffix(".partial" + path.suffix)
    fps = GIF_FPS if path.suffix == ".gif" else VIDEO_FPS
    every = max(1, round(1 / (env.dt * fps)))
    steps = range(1, length + 1, every)
    if path.suffix == ".png":
        episodes = episodes[:1]
        steps = at or np.linspace(1, length, STRIP_MOMENTS).round().astype(int).tolist()
    size = PAGE_SIZE if path.suffix in (".png", ".gif") else {}
    with closing(Camera(model, **size)) as camera:
        shots = poses_and_plans(trace, poses, plan, episodes, steps, near=near)
        pictures = (camera.picture(*shot) for shot in shots)
        if path.suffix == ".png":
            imageio.v3.imwrite(partial, np.concatenate(list(pictures), axis=1))
        elif path.suffix == ".gif":
            write_gif(partial, list(pictures), milliseconds=1000 * every * env.dt)
        else:
            write_video(partial, pictures, fps=1 / (every * env.dt))
    partial.replace(path)


def write_gif(
    path: Path, pictures: list[UInt8[np.ndarray, "H W 3"]], *, milliseconds: float
) -> None:
    """Writes pictures, each shown for so long, to a file that ends in .gif."""
    # Octree quantisation keeps rare colours; one palette and no dithering keep the file small.
    octree = Image.Quantize.FASTOCTREE
    palette = Image.fromarray(np.concatenate(pictures[::10])).quantize(method=octree)
    first, *others = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    )
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0)


def write_video(path: Path, pictures: Iterator[UInt8[np.ndarray, "H W 3"]], *, fps: float) -> None:
    """Writes pictures to a file that ends in .mp4.

    Raises:
      NoRenderer: there is no ffmpeg that can do it.
      OSError: the disk is full.
    """
    # ffmpeg runs in a child process, which uses nothing of JAX.
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    video: Any = None
    for picture in pictures:
        with ffmpeg(path):
            video = video or imageio.get_writer(path, "ffmpeg", fps=fps)
            video.append_data(picture)
    with ffmpeg(path):
        video.close()
        imageio_ffmpeg.count_frames_and_secs(path)  # fails where ffmpeg silently did


@contextmanager
def ffmpeg(path: Path) -> Iterator[None]:
    """Says what is wrong where ffmpeg fails to write a file, of which nothing stays."""
    try:
        yield
    except Exception as problem:  # imageio raises what it likes
        full = shutil.disk_usage(path.parent).free < FULL
        path.unlink(missing_ok=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        why = (str(problem).splitlines() or [type(problem).__name__])[0].rstrip(".")
        raise NoRenderer(
            f"ffmpeg does not work ({why}); install it, or set IMAGEIO_FFMPEG_EXE to where it is, "
            "or film a .gif with `ndp render`, which needs none."
        ) from problem


def poses_and_plans(
    trace_of: Any,
    poses: Pose,
    plan: Plan | None,
    episodes: Sequence[int],
    steps: Sequence[int],
    *,
    near: bool,
) -> Iterator[tuple[Pose, list[Curve], Detail | None]]:
    """What to take pictures of: one episode after the other, after each of the steps."""
    length = poses.qpos.shape[1]
    for episode in episodes:
        trace: Any = jax.tree.map(lambda leaf, at=episode: trace_of(np.asarray(leaf[at])), plan)
        detail = around(trace.path[:, 0]) if trace and near else None
        for step in steps:
            pose = jax.tree.map(lambda leaf, at=(episode, step - 1): leaf[at], poses)
            yield pose, drawing(*trace, step=step, length=length) if trace else [], detail


def around(points: Float[np.ndarray, "Q 3"]) -> Detail:
    """A detail in which all points lie."""
    low, high = points.min(axis=0), points.max(axis=0)
    return Detail(center=(low + high) / 2, height=float(np.linalg.norm(high - low)) + MARGIN)


def drawing(
    path: Float[np.ndarray, "Q K 3"],
    goal: Float[np.ndarray, "Q 3"] | None,
    *,
    step: int,
    length: int,
) -> list[Curve]:
    """The plans of an episode of `length` steps, in the world, after one of them (1 to L)."""
    queries, samples, _ = path.shape
    chunk = length // queries
    now = min(step // chunk, queries - 1)
    past = [
        Curve(sketch, PAST_RADIUS, PAST_COLORS[query % 2])
        for query, sketch in enumerate(path[:now, [0, samples // 2, -1]])
    ]
    every = (samples - 1) // chunk
    steps = [
        Curve(path[now, [first, first + every // 2, first + every]], PLAN_RADIUS, color)
        for first, color in zip(range(0, samples - 1, every), itertools.cycle(PLAN_COLORS))
    ]
    ball = [] if goal is None else [Curve(goal[now, None], GOAL_RADIUS, GOAL_COLOR)]
    return [*past, *steps, *ball]
