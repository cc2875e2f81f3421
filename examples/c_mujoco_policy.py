"""Pushes with an exported policy in plain C MuJoCo: no MJX, no environment of ours.

    ndp export runs/push-ndp-seed0
    python examples/c_mujoco_policy.py runs/push-ndp-seed0/policy.msgpack --episodes 10

What is here is what another simulator or a real robot has to give the policy: the observation, the
hand's velocity, and something that executes its T actions.
"""

import argparse
from pathlib import Path

import mujoco
import numpy as np

import ndp_jax

SCENE = Path(__file__).parents[1] / "envs" / "assets" / "push.xml"
ARM_HOME = (1.926, -0.517, -1.048, 1.640, 1.014, 1.085, 2.316)  # rad
HAND_LOW, HAND_HIGH = (-0.5, 0.4, 0.05), (0.5, 1.0, 0.5)  # m
SUBSTEPS = 5  # of the simulator per action
SUCCESS = 0.07  # m


def settle(model: mujoco.MjModel) -> np.ndarray:
    """Coordinates after the arm has come to rest, its hand at (0, .6, .2)."""
    data = mujoco.MjData(model)
    data.qpos[: len(ARM_HOME)] = ARM_HOME
    mujoco.mj_step(model, data, round(2.5 / model.opt.timestep))
    return data.qpos.copy()


def start(model: mujoco.MjModel, settled: np.ndarray, rng: np.random.Generator) -> mujoco.MjData:
    """The beginning of an episode: puck and goal somewhere, at least 15 cm apart."""
    puck = goal = np.zeros(2)
    while np.linalg.norm(puck - goal) < 0.15:
        puck, goal = rng.uniform((-0.1, 0.6), (0.1, 0.7)), rng.uniform((-0.1, 0.8), (0.1, 0.9))
    data = mujoco.MjData(model)
    data.qpos[:] = settled
    data.qpos[-7:-5] = puck
    data.mocap_pos[model.body("goal").mocapid] = *goal, data.qpos[-5]
    mujoco.mj_forward(model, data)
    return data


def observe(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Hand, puck and goal, (9,), m, and the hand's velocity, (3,), m/s."""
    hand, goal = model.body("hand").id, model.body("goal").mocapid.item()
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jacBody(model, data, jacobian, None, hand)
    places = data.xpos[hand], data.site("object").xpos, data.mocap_pos[goal]
    return np.concatenate(places), jacobian @ data.qvel


def act(model: mujoco.MjModel, data: mujoco.MjData, displacement: np.ndarray) -> None:
    """Moves the body that drags the hand, m, and simulates one control step."""
    mocap = model.body("mocap").mocapid.item()
    data.mocap_pos[mocap] = np.clip(data.mocap_pos[mocap] + displacement, HAND_LOW, HAND_HIGH)
    mujoco.mj_step(model, data, SUBSTEPS)
    mujoco.mj_forward(model, data)


def play(file: str, *, episodes: int, seed: int = 0) -> float:
    """Success rate in episodes as long as in training."""
    policy = ndp_jax.load_policy(file)
    if policy.about["task"] != "push":
        raise SystemExit(f"{file} was trained on {policy.about['task']}, and this is push.")
    queries = policy.about["config"]["episode_length"] // policy.chunk
    scale, limit = policy.about["action_scale"], policy.about["action_limit"]
    model = mujoco.MjModel.from_xml_path(str(SCENE))
    settled, rng = settle(model), np.random.default_rng(seed)
    successes = 0
    for episode in range(episodes):
        data = start(model, settled, rng)
        for _ in range(queries):
            for action in np.asarray(policy(*observe(model, data))):
                act(model, data, scale * np.clip(action, -limit, limit))
        observation, _ = observe(model, data)
        distance = np.linalg.norm(observation[3:5] - observation[6:8])
        successes += distance <= SUCCESS
        print(f"episode {episode + 1}: distance {100 * distance:.1f} cm")
    return successes / episodes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Push with an exported policy in plain C MuJoCo.")
    parser.add_argument("file", help="what `ndp export` wrote")
    parser.add_argument("--episodes", type=int, default=10)
    arguments = parser.parse_args()
    print(f"success {play(arguments.file, episodes=arguments.episodes):.2f}")
