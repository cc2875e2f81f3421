"""Trains a policy where there is nothing but gymnasium: Reacher, an arm with two joints.

    python examples/gym_finetune.py --out reacher.msgpack
    python examples/gym_finetune.py --start reacher.msgpack --updates 20 --out finer.msgpack

gymnasium steps the environments, ndp_jax answers their queries with movements of half a second, and
optax learns from what these earned: PPO on the goals and weights of the movements. Only what stands
above `finetune` is about Reacher. Needs gymnasium: pip install -e ".[gym]".
"""

import argparse
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ndp_jax import DMP, LoadedPolicy, load_policy, normalize, save_policy
from ndp_jax.distributions import log_prob, sample
from ndp_jax.policies import ActorCritic, PrimitiveHead, TrajectoryNoise

QUERIES, CHUNK, DT = 2, 25, 0.02  # of an episode, actions of each, s per action
UNIT = 0.1  # rad of a joint per unit of action


def robot(seen: Any) -> tuple[jax.Array, jax.Array]:
    """Joint angles, rad, and velocities, rad/s, (..., 2) each, of observations (..., 10)."""
    return jnp.arctan2(seen[..., 2:4], seen[..., :2]), seen[..., 6:8]


def torque(seen: np.ndarray, action: np.ndarray) -> np.ndarray:
    """What gives the joints the action's velocity; a unit of it adds 4 rad/s in a step."""
    return np.clip((UNIT / DT * action - seen[..., 6:8]) / 4, -1, 1)


def untrained() -> LoadedPolicy:
    head = PrimitiveHead(
        dmp=DMP(n_basis=4, n_steps=4 * CHUNK, alpha=8.0),
        chunk=CHUNK,
        action_size=2,
        duration=CHUNK * DT,
        action_scale=UNIT,
        goal_scale=1.0,
        weight_scale=10.0,
    )
    policy = ActorCritic(head, initial_log_std=-1.5, exploration=TrajectoryNoise())
    params = policy.init(jax.random.key(0), jnp.zeros(10), jnp.zeros(2), jnp.zeros(2))
    return LoadedPolicy(policy, params, normalize.init((10,)), {"task": "Reacher-v5"})


def finetune(
    start: LoadedPolicy, *, updates: int, episodes: int = 64, passes: int = 10, seed: int = 0
) -> tuple[LoadedPolicy, list[float]]:
    """The policy after so many updates, and the mean return of the episodes before each."""
    policy, params, stats = start.policy, start.params, start.statistics
    many = gymnasium.make_vec("Reacher-v5", num_envs=episodes, vectorization_mode="sync")
    rate = optax.linear_schedule(2e-3, 0.0, updates * passes)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate))

    def output(params, stats, seen) -> Any:
        return policy.apply(params, normalize.normalize(stats, seen), *robot(seen))

    @jax.jit
    def act(params, stats, key, seen):
        asked = output(params, stats, seen)
        decision = sample(key, asked.decision, asked.log_std)
        before = log_prob(asked.decision, asked.log_std, decision)
        return decision, before, policy.actions(decision, *robot(seen))

    def loss(params, stats, seen, decision, before, to_go):
        asked = output(params, stats, seen)
        advantage = jax.lax.stop_gradient(to_go - asked.value)
        advantage = (advantage - advantage.mean(1, keepdims=True)) / advantage.std()
        ratio = jnp.exp(log_prob(asked.decision, asked.log_std, decision) - before)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        return jnp.mean((to_go - asked.value) ** 2) / 2 - jnp.mean(gain)

    @jax.jit
    def descend(params, moments, *batch):
        change, moments = optimizer.update(jax.grad(loss)(params, *batch), moments)
        return optax.apply_updates(params, change), moments

    moments, keys, returns = optimizer.init(params), jax.random.key(seed), []
    for update in range(updates):
        seen, _ = many.reset(seed=seed + update * episodes)
        batch, rewards = [], np.zeros((QUERIES, episodes), np.float32)
        for number, key in enumerate(jax.random.split(jax.random.fold_in(keys, update), QUERIES)):
            query = jnp.asarray(seen, float)
            decision, before, actions = act(params, stats, key, query)
            batch.append((query, decision, before))
            for action in np.asarray(actions).swapaxes(0, 1):
                seen, reward, *_ = many.step(torque(seen, action))
                rewards[number] += reward
        arrays = [jnp.stack(column) for column in zip(*batch, strict=True)]
        to_go = rewards[::-1].cumsum(axis=0)[::-1, :, None]
        for _ in range(passes):
            params, moments = descend(params, moments, stats, *arrays, to_go)
        stats = normalize.update(stats, arrays[0])
        returns.append(float(to_go[0].mean()))
        print(f"update {update + 1}: return {returns[-1]:.1f}", flush=True)
    many.close()
    return LoadedPolicy(policy, params, stats, start.about), returns


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a policy on gymnasium's Reacher.")
    parser.add_argument("--start", help="a file to go on from; else from nothing")
    parser.add_argument("--out", default="reacher.msgpack", help="where the policy goes")
    parser.add_argument("--updates", type=int, default=100)
    arguments = parser.parse_args()
    start = load_policy(arguments.start) if arguments.start else untrained()
    end, _ = finetune(start, updates=arguments.updates)
    save_policy(arguments.out, end.policy, end.params, end.statistics, about=end.about)
    print(arguments.out)
