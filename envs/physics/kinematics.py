"""Where everything is, found in JAX whoever steps the model."""

from itertools import count
from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from jax.scipy.spatial.transform import Rotation
from jaxtyping import Array, Float

from envs.fusion import materialize
from envs.physics.data import Data

_KINDS = mujoco.mjtJoint
_FREE, _BALL, _SLIDE = (
    int(kind) for kind in (_KINDS.mjJNT_FREE, _KINDS.mjJNT_BALL, _KINDS.mjJNT_SLIDE)
)


class Place(NamedTuple):
    """Something fixed to a link.

    Attributes:
      link: its number.
      frame: where it is on the link, a homogeneous matrix.
    """

    link: int
    frame: Float[np.ndarray, "4 4"]

    def at(self, frame: Float[np.ndarray, "4 4"]) -> "Place":
        """Something fixed to this, where `frame` says."""
        return Place(self.link, self.frame @ frame)


class Kinematics:
    """Makes the positions in `Data` those of its coordinates.

    A link is what a joint moves, a mocap body, or the world. The poses of all links relative to the
    ones that they hang on are found at once, and then those in the world, level by level of the
    tree. `mjx.kinematics` takes XLA ten times as long to compile.
    """

    def __init__(self, model: mujoco.MjModel):
        kinds, starts = model.jnt_type, model.jnt_qposadr
        free, ball = (np.flatnonzero(kinds == kind) for kind in (_FREE, _BALL))
        scalar = np.flatnonzero((kinds != _FREE) & (kinds != _BALL))
        first = 1 + model.nmocap
        link_of = first + np.argsort(np.concatenate([scalar, free, ball]))

        # What everything is fixed to, and how.
        world = Place(0, np.eye(4))
        bodies, joints = [world], []
        for body in range(1, model.nbody):
            place = bodies[model.body_parentid[body]].at(
                _frame(model.body_pos[body], model.body_quat[body])
            )
            if model.body_mocapid[body] >= 0:
                place = Place(1 + model.body_mocapid[body], np.eye(4))
            for joint in np.flatnonzero(model.jnt_bodyid == body):
                joints.append(world if kinds[joint] == _FREE else place)
                place = Place(link_of[joint], np.eye(4))
            bodies.append(place)

        # How joints move what hangs on them.
        motion = np.array([_motion(model.joint(i)) for i in scalar]).reshape(-1, 4, 4)
        base = np.array([joints[i].frame for i in scalar]).reshape(-1, 4, 4)
        self._scalar, self._slides = starts[scalar], kinds[scalar] == _SLIDE
        self._zero, *moves = _floats(model.qpos0[starts[scalar]], base, base @ motion, base @ motion @ motion)
        self._moves = [move[:, :3] for move in moves]
        self._free, self._ball = (starts[some][:, None] + np.arange(7) for some in (free, ball))
        self._sockets, self._anchors = _floats(
            np.array([joints[i].frame @ _frame(model.jnt_pos[i]) for i in ball]).reshape(-1, 4, 4)[:, :3],
            model.jnt_pos[ball],
        )

        # Levels.
        parent = np.zeros(first + model.njnt, int)
        parent[link_of] = [place.link for place in joints]
        depth = np.zeros_like(parent)
        while (depth != (deeper := np.where(parent > 0, depth[parent] + 1, 0))).any():
            depth = deeper
        self._levels, row = [], np.zeros_like(parent)
        for level in range(depth.max() + 1):
            links = np.flatnonzero(depth == level)
            self._levels.append((links, row[parent[links]]))
            row[links] = np.arange(len(links))
        order = np.argsort(np.concatenate([links for links, _ in self._levels]))

        # Every position is that of a point on a link, every axis a direction there.
        def point(place: Place, at: np.ndarray, far: float = 1.0) -> tuple[int, np.ndarray]:
            return order[place.link], (place.frame @ np.append(at, far))

        moved = [
            Place(link_of[j], np.eye(4)) if kinds[j] == _FREE else joints[j] for j in range(model.njnt)
        ]
        origin = np.zeros(3)
        found = {
            "xpos": [point(place, origin) for place in bodies],
            "xipos": [point(*pair) for pair in zip(bodies, model.body_ipos, strict=True)],
            "xanchor": [point(moved[j], origin if kinds[j] == _FREE else model.jnt_pos[j]) for j in range(model.njnt)],
            "xaxis": [point(joints[j], model.jnt_axis[j], 0.0) for j in range(model.njnt)],
            "site_xpos": [point(bodies[b], at) for b, at in zip(model.site_bodyid, model.site_pos, strict=True)],
        }
        everything = [pair for pairs in found.values() for pair in pairs]
        self._links = np.array([link for link, _ in everything])
        (self._points,) = _floats(np.array([at for _, at in everything]))
        self._names = {name: len(pairs) for name, pairs in found.items()}

    def __call__(self, data: Data) -> Data:
        return materialize(self._locate)(data)

    def _locate(self, data: Data) -> Data:
        relative = self._relative(data)
        pose, poses = None, []
        for links, parents in self._levels:
            pose = relative[links] if pose is None else _product(pose[parents], relative[links])
            poses.append(pose)
        poses = jnp.concatenate(poses)
        found = jnp.sum(poses[self._links] * self._points[:, None], axis=-1)
        parts = jnp.split(found, np.cumsum(list(self._names.values()))[:-1])
        return data.replace(**dict(zip(self._names, parts, strict=True)))

    def _relative(self, data: Data) -> Float[Array, "links 3 4"]:
        """The pose of each link relative to the one before."""
        world = jnp.eye(3, 4)[None]
        mocap = _pose(data.mocap_pos, data.mocap_quat)
        moved = data.qpos[self._scalar] - self._zero
        sine = jnp.where(self._slides, moved, jnp.sin(moved))[:, None, None]
        rest = (1 - jnp.cos(moved))[:, None, None]
        still, once, twice = self._moves
        scalar = still + sine * once + rest * twice
        free = _pose(data.qpos[self._free[:, :3]], data.qpos[self._free[:, 3:]])
        parts = [world, mocap, scalar, free]
        if len(self._ball):
            turned = _turn(data.qpos[self._ball[:, :4]])
            place = -jnp.sum(turned * self._anchors[:, None], axis=-1)
            parts.append(_product(self._sockets, jnp.concatenate([turned, place[..., None]], axis=-1)))
        return jnp.concatenate(parts)


def _product(a: Any, b: Any) -> Float[Array, "links 3 4"]:
    turned = jnp.sum(a[:, :, :3, None] * b[:, None], axis=2)
    return jnp.concatenate([turned[..., :3], turned[..., 3:] + a[..., 3:]], axis=-1)


def _pose(place: Float[Array, "links 3"], quat: Float[Array, "links 4"]) -> Array:
    return jnp.concatenate([_turn(quat), place[..., None]], axis=-1)


def _turn(quat: Float[Array, "links 4"]) -> Float[Array, "links 3 3"]:
    return Rotation.from_quat(jnp.roll(quat, -1, axis=-1)).as_matrix()


def _frame(place: np.ndarray, quat: np.ndarray | None = None) -> np.ndarray:
    """A homogeneous matrix."""
    frame, turn = np.eye(4), np.eye(3).ravel()
    if quat is not None:
        mujoco.mju_quat2Mat(turn, quat)
    frame[:3, :3], frame[:3, 3] = turn.reshape(3, 3), place
    return frame


def _motion(joint: Any) -> np.ndarray:
    """What a hinge or slide changes per rad or m, as a homogeneous matrix."""
    motion = np.zeros((4, 4))
    if joint.type == _SLIDE:
        motion[:3, 3] = joint.axis
    else:
        motion[:3, :3] = np.cross(joint.axis, np.eye(3)).T
        motion[:3, 3] = np.cross(joint.pos, joint.axis)
    return motion


def _floats(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(array, jnp.result_type(float)) for array in arrays]
