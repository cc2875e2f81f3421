"""A task of somebody's whose trainings are over soon: push for four steps."""

from configs import PPO, Network, TrainConfig
from envs.push import Push


class Brief(Push):
    pass


PRESET = TrainConfig(
    task="brief:Brief",
    steps=64,
    num_envs=2,
    episode_length=4,
    rollout_steps=4,
    chunk=2,
    eval_episodes=2,
    network=Network(hidden=(8,)),
    ppo=PPO(minibatches=2, epochs=2),
)
