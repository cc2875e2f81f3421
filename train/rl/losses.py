"""What PPO minimises, and the advantages in it.

Sources: Schulman et al., "Proximal Policy Optimization Algorithms", 2017; Schulman et al.,
"High-Dimensional Continuous Control Using Generalized Advantage Estimation", 2016.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from ndp_jax.distributions import entropy, log_prob
from ndp_jax.policies import PolicyOutput
from train.rl.agent import Hyperparameters, Inputs


class Batch(struct.PyTreeNode):
    """Queries ready for the update; leaves start with the number of queries, then K."""

    inputs: Inputs
    decision: Float[Array, "..."]
    log_prob: Float[Array, "..."]
    value: Float[Array, "..."]
    advantage: Float[Array, "..."]
    target: Float[Array, "..."]
    mask: Float[Array, "..."]


def per_decision(
    reward: Float[Array, "S E"],
    valid: Bool[Array, "S E"],
    terminated: Bool[Array, "S E"],
    *,
    steps: int,
    gamma: float | Float[Array, ""],
) -> tuple[Float[Array, "N E"], Bool[Array, "N E"], Bool[Array, "N E"]]:
    """What N decisions of several steps each brought.

    Returns:
      Their discounted rewards; whether all their steps are valid, up to the task's end; whether the
      task ended.
    """
    reward, valid, terminated = (
        x.reshape(-1, steps, x.shape[1]) for x in (reward, valid, terminated)
    )
    discount = gamma ** jnp.arange(steps)
    ended = jnp.any(terminated, axis=1)
    whole = valid[:, 0] & (jnp.all(valid, axis=1) | ended)
    return jnp.sum(discount[:, None] * reward, axis=1), whole, ended


def generalized_advantage(
    reward: Float[Array, "N E"],
    value: Float[Array, "N E"],
    bootstrap: Float[Array, " E"],
    *,
    terminated: Bool[Array, "N E"],
    truncated: Bool[Array, "N E"],
    gamma: float | Float[Array, ""],
    gae_lambda: float | Float[Array, ""],
) -> Float[Array, "N E"]:
    """Generalised advantage estimation over N decisions.

    Args:
      reward: received after each decision.
      value: predicted before each.
      bootstrap: value of the state after the last.
      terminated: the task ended after this one; nothing is worth anything after it.
      truncated: what follows this one is not known; its advantage is zero and none flows through.
      gamma: discount per decision.
      gae_lambda: decay per decision.

    Returns:
      Advantages; adding `value` gives the regression targets of the critic.
    """

    def backwards(carry, x):
        advantage, next_value = carry
        reward, value, terminated, truncated = x
        discount = gamma * (1.0 - terminated)
        advantage = reward + discount * (next_value + gae_lambda * advantage) - value
        advantage = jnp.where(truncated, 0.0, advantage)
        return (advantage, value), advantage

    start = (jnp.zeros_like(bootstrap), bootstrap)
    steps = (reward, value, terminated, truncated)
    return jax.lax.scan(backwards, start, steps, reverse=True)[1]


def standardize(
    advantage: Float[Array, "*batch"],
    mask: Float[Array, "*batch"],
    *,
    min_std: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """Advantages where the mask is one to mean zero and unit (unbiased) standard deviation.

    Those whose deviation is less than `min_std` are divided by that instead and stay small.
    """
    count = jnp.sum(mask)
    mean = jnp.sum(advantage * mask) / jnp.maximum(count, 1.0)
    squares = jnp.sum(jnp.square(advantage - mean) * mask)
    variance = squares / jnp.maximum(count - 1.0, 1.0)
    return (advantage - mean) / jnp.maximum(jnp.sqrt(variance) + 1e-5, min_std)


def loss(
    output: PolicyOutput, batch: Batch, hyper: Hyperparameters
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The clipped surrogate, the clipped value loss and the entropy bonus, and their parts."""

    def mean(x):
        return jnp.sum(x * batch.mask) / jnp.maximum(jnp.sum(batch.mask), 1.0)

    log_ratio = log_prob(output.decision, output.log_std, batch.decision) - batch.log_prob
    ratio = jnp.exp(log_ratio)
    clipped_ratio = jnp.clip(ratio, 1.0 - hyper.clip, 1.0 + hyper.clip)
    policy_loss = -mean(jnp.minimum(ratio * batch.advantage, clipped_ratio * batch.advantage))

    clipped_value = batch.value + jnp.clip(output.value - batch.value, -hyper.clip, hyper.clip)
    value_error = jnp.maximum(
        jnp.square(output.value - batch.target), jnp.square(clipped_value - batch.target)
    )
    value_loss = 0.5 * mean(value_error)

    bonus = entropy(output.log_std)
    total = policy_loss + hyper.value_coefficient * value_loss - hyper.entropy_coefficient * bonus
    return total, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": bonus,
        "kl": mean(ratio - 1.0 - log_ratio),
        "clip_fraction": mean(jnp.abs(ratio - 1.0) > hyper.clip),
        "ratio_error": jnp.max(jnp.abs(ratio - 1.0) * batch.mask),
    }
