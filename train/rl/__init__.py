"""Reinforcement learning: policies that act, collection, PPO, evaluation, films."""
