"""Throw the cube into the tray with the Jaco arm."""

from configs.base import PPO, Network, Primitive, TrainConfig

# Rewards are rare: wide noise, held for five steps at a time, and found by docs/exploration.md.
PRESET = TrainConfig(
    task="throw",
    steps=8_000_000,
    episode_length=55,
    rollout_steps=55,
    num_envs=512,
    explore="trajectory",
    primitive=Primitive(n_basis=0, alpha=10.0, goal_scale=0.5),
    network=Network(initial_log_std=0.0),
    ppo=PPO(gae_lambda=0.99, minibatches=16),
)

# As wide in actions: a goal that is .5 rad away asks for five actions of about 2.
BY_POLICY = {"ppo-multi": {"initial_log_std": 0.7}, "ppo": {"initial_log_std": 0.7}}

PAPER = {"n_basis": 5, "alpha": 5.0, "goal_scale": 0.25}
