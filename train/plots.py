"""Learning curves."""

from pathlib import Path

import matplotlib
import numpy as np

from train import metrics, run
from train.errors import UserError

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {"ndp": "#0072b2", "ppo-multi": "#d55e00", "ppo": "#009e73"}
BOOTSTRAP = 2000


def learning_curves(folders: list[Path], path: Path) -> None:
    """Success rate and return of runs against environment steps.

    Runs of the same task and policy are one curve: the mean over their seeds, with a 95 %
    bootstrap interval as a band and the seeds as thin lines.

    Raises:
      UserError: a folder is not a run or has no metrics yet, or the image cannot be written.
    """
    groups: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    for folder in folders:
        config = run.load_config(folder)
        if not (folder / "metrics.csv").is_file():
            raise UserError(f"{folder} has no metrics.csv yet.")
        columns = {name: np.array(values) for name, values in metrics.read(folder).items()}
        groups.setdefault((config.task, config.policy), []).append(columns)

    figure, (success, returns) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    tasks = sorted({task for task, _ in groups})
    for (task, policy), seeds in groups.items():
        name = policy if len(tasks) == 1 else f"{policy}, {task}"
        label = f"{name} ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
        color = COLORS[policy] if len(tasks) == 1 else None
        _curve(success, seeds, "success", label, color)
        _curve(returns, seeds, "returns", label, color)
    success.set(ylabel="success rate (exploring policy)", ylim=(-0.02, 1.02))
    returns.set(ylabel="return of an episode")
    for axis in (success, returns):
        axis.set_xlabel("environment steps (millions)")
        axis.set_xlim(left=0)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    success.legend(frameon=False, loc="lower right")
    figure.suptitle(", ".join(tasks))
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot write the image {path} ({error}); choose another --out.") from None
    finally:
        plt.close(figure)


def _curve(axis, seeds: list[dict[str, np.ndarray]], column: str, label: str, color) -> None:
    length = min(len(seed["steps"]) for seed in seeds)
    steps = seeds[0]["steps"][:length] / 1e6
    values = np.stack([seed[column][:length] for seed in seeds])
    mean = values.mean(axis=0)
    (line,) = axis.plot(steps, mean, label=label, color=color, linewidth=2, zorder=3)
    if len(seeds) > 1:
        draws = np.random.default_rng(0).integers(len(seeds), size=(BOOTSTRAP, len(seeds)))
        low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5], axis=0)
        axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axis.plot(steps, values.T, color=line.get_color(), alpha=0.35, linewidth=0.7)
