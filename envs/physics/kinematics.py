"""Where everything is, found in JAX whoever steps the model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax.scipy.spatial.transform import Rotation
from jaxtyping import Array, Float, Int

from envs.physics.data import Data

_FREE, _BALL, _SLIDE, _HINGE = range(4)  # as in mujoco.mjtJoint
_ORIGIN = np.zeros(3)


class Frame(NamedTuple):
    """A frame on a link, which is the world, a mocap body, or what a joint moves.

    Attributes:
      link: its number.
      matrix: the frame seen from there, homogeneous.
    """

    link: int
    matrix: Float[np.ndarray, "4 4"]


class Kinematics:
    """Makes the positions in `Data` those of its coordinates.

    The poses of all links are found relative to those that they hang on, and then in the world,
    level by level; bodies without joints are parts of links. XLA compiles that in a seventh of the
    time that it takes for `mjx.kinematics`, which goes from body to body.
    """

    def __init__(self, model: mujoco.MjModel):
        kinds, starts, anchors = model.jnt_type, model.jnt_qposadr, model.jnt_pos
        free, ball = (np.flatnonzero(kinds == kind) for kind in (_FREE, _BALL))
        scalar = np.flatnonzero((kinds == _SLIDE) | (kinds == _HINGE))

        # Links are numbered in the order in which `_relative` puts them together.
        links = 1 + model.nmocap + np.argsort(np.concatenate([scalar, free, ball]))
        bodies, bases = _frames(model, links)
        parents = np.zeros(1 + model.nmocap + model.njnt, int)
        parents[links] = [base.link for base in bases]
        self._levels, rows = _levels(parents)

        # What moves them, and how.
        self._scalar, self._slides = starts[scalar], kinds[scalar] == _SLIDE
        self._free, self._ball = (starts[some][:, None] + np.arange(7) for some in (free, ball))
        base = _stack([frame.matrix for frame in bases])
        motion = _stack([_motion(model.joint(joint)) for joint in scalar])
        once = base[scalar] @ motion
        self._zero, self._anchors = _floats(model.qpos0[self._scalar]), _floats(anchors[ball])
        self._base, self._once, self._twice, self._sockets = (
            _floats(matrices[:, :3])
            for matrices in (
                base[scalar],
                once,
                once @ motion,
                base[ball] @ _stack([_matrix(anchor) for anchor in anchors[ball]]),
            )
        )

        # What is looked for on them, by its name in `Data`.
        places = _places(model, bodies, bases, links)
        self._counts = {name: len(some) for name, some in places.items()}
        self._rows = rows[[link for some in places.values() for link, _ in some]]
        self._places = _floats(np.array([place for some in places.values() for _, place in some]))

    def __call__(self, data: Data) -> Data:
        poses = self._poses(data)[self._rows]
        sides = sum(poses[..., axis] * self._places[:, axis, None] for axis in range(3))
        found = sides + poses[..., 3] * self._places[:, 3:]
        parts = jnp.split(found, np.cumsum(list(self._counts.values()))[:-1])
        return data.replace(**dict(zip(self._counts, parts, strict=True)))

    def _poses(self, data: Data) -> Float[Array, "links 3 4"]:
        """In the world, level by level.

        XLA's CPU backend would compute a level anew for each number that is read from it, were it
        not for the barriers.
        """
        relative = jax.lax.optimization_barrier(self._relative(data))
        poses = []
        for links, parents in self._levels:
            pose = _product(poses[-1][parents], relative[links]) if poses else relative[links]
            poses.append(jax.lax.optimization_barrier(pose))
        return jax.lax.optimization_barrier(jnp.concatenate(poses))

    def _relative(self, data: Data) -> Float[Array, "links 3 4"]:
        """Seen from the links that they hang on."""
        world = jnp.eye(3, 4)[None]
        mocap = _pose(data.mocap_pos, _turn(data.mocap_quat))
        moved = data.qpos[self._scalar] - self._zero
        once = jnp.where(self._slides, moved, jnp.sin(moved))[:, None, None]
        twice = (1 - jnp.cos(moved))[:, None, None]
        scalar = self._base + once * self._once + twice * self._twice
        free = _pose(data.qpos[self._free[:, :3]], _turn(data.qpos[self._free[:, 3:]]))
        turn = _turn(data.qpos[self._ball[:, :4]])
        ball = _product(
            self._sockets, _pose(-jnp.sum(turn * self._anchors[:, None], axis=-1), turn)
        )
        return jnp.concatenate([world, mocap, scalar, free, ball])


def _frames(
    model: mujoco.MjModel, links: Int[np.ndarray, "njnt"]
) -> tuple[list[Frame], list[Frame]]:
    """Each body, and where each joint has its link while it stands at 0."""
    world = Frame(0, np.eye(4))
    bodies, bases = [world], []
    for body in range(1, model.nbody):
        link, matrix = bodies[model.body_parentid[body]]
        frame = Frame(link, matrix @ _matrix(model.body_pos[body], model.body_quat[body]))
        if model.body_mocapid[body] >= 0:
            frame = Frame(1 + int(model.body_mocapid[body]), np.eye(4))
        for joint in np.flatnonzero(model.jnt_bodyid == body):
            bases.append(world if model.jnt_type[joint] == _FREE else frame)
            frame = Frame(int(links[joint]), np.eye(4))
        bodies.append(frame)
    return bodies, bases


def _levels(
    parents: Int[np.ndarray, "links"],
) -> tuple[list[tuple[np.ndarray, np.ndarray]], Int[np.ndarray, "links"]]:
    """The links of each level of the tree, with the places of their parents in the level before;
    and the place of each link when the levels are put together."""
    depth = np.zeros_like(parents)
    while (deeper := np.where(parents > 0, depth[parents] + 1, 0)).max() > depth.max():
        depth = deeper
    members = [np.flatnonzero(depth == level) for level in range(depth.max() + 1)]
    place = np.zeros_like(parents)
    for some in members:
        place[some] = np.arange(len(some))
    return [(some, place[parents[some]]) for some in members], np.argsort(np.concatenate(members))


def _places(
    model: mujoco.MjModel, bodies: list[Frame], bases: list[Frame], links: Int[np.ndarray, "njnt"]
) -> dict[str, list[tuple[int, Float[np.ndarray, "4"]]]]:
    """What `Data` tells the positions of: on which link, and where there, homogeneous."""

    def fixed(
        frame: Frame, place: Float[np.ndarray, "3"], far: float = 1.0
    ) -> tuple[int, np.ndarray]:
        return frame.link, frame.matrix @ np.append(place, far)

    kinds, sites = model.jnt_type, zip(model.site_bodyid, model.site_pos, strict=True)
    joints = zip(kinds, links, bases, model.jnt_pos, strict=True)
    return {
        "xpos": [fixed(frame, _ORIGIN) for frame in bodies],
        "xipos": [fixed(*pair) for pair in zip(bodies, model.body_ipos, strict=True)],
        "xanchor": [
            fixed(Frame(int(link), np.eye(4)), _ORIGIN) if kind == _FREE else fixed(base, anchor)
            for kind, link, base, anchor in joints
        ],
        "xaxis": [fixed(base, axis, 0) for base, axis in zip(bases, model.jnt_axis, strict=True)],
        "site_xpos": [fixed(bodies[body], place) for body, place in sites],
    }


def _motion(joint: Any) -> Float[np.ndarray, "4 4"]:
    """What a hinge or slide changes per rad or m while it stands at 0."""
    motion = np.zeros((4, 4))
    if joint.type == _SLIDE:
        motion[:3, 3] = joint.axis
    else:
        motion[:3, :3] = np.cross(joint.axis, np.eye(3)).T
        motion[:3, 3] = np.cross(joint.pos, joint.axis)
    return motion


def _matrix(
    place: Float[np.ndarray, "3"], quat: Float[np.ndarray, "4"] | None = None
) -> Float[np.ndarray, "4 4"]:
    matrix, turn = np.eye(4), np.eye(3).ravel()
    if quat is not None:
        mujoco.mju_quat2Mat(turn, quat)
    matrix[:3, :3], matrix[:3, 3] = turn.reshape(3, 3), place
    return matrix


def _stack(matrices: list[np.ndarray]) -> Float[np.ndarray, "many 4 4"]:
    return np.reshape(matrices, (-1, 4, 4))


def _floats(numbers: np.ndarray) -> np.ndarray:
    return np.asarray(numbers, jnp.result_type(float))


def _product(a: Any, b: Any) -> Float[Array, "links 3 4"]:
    """Of homogeneous matrices without their last rows; sums of few terms are best written out."""
    turned = sum(a[:, :, axis, None] * b[:, axis, None] for axis in range(3))
    return turned + a * np.array([0, 0, 0, 1], a.dtype)


def _pose(place: Float[Array, "links 3"], turn: Float[Array, "links 3 3"]) -> Array:
    return jnp.concatenate([turn, place[..., None]], axis=-1)


def _turn(quat: Float[Array, "links 4"]) -> Float[Array, "links 3 3"]:
    return Rotation.from_quat(jnp.roll(quat, -1, axis=-1)).as_matrix()
