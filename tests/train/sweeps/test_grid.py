import dataclasses
import math

import pytest

from configs import IMITATED, PRESETS
from configs.fields import replaced, settings
from train.sweeps import grid
from train.sweeps.grid import Range, axis, lay_out, program, setting_name
from train.system.errors import UserError

PUSH = PRESETS["push"]


def test_a_grid_is_every_combination_with_every_seed():
    axes = {"learning_rate": (1e-4, 1e-3), "alpha": (5.0, 15.0, 25.0)}
    over, members = lay_out([dataclasses.replace(PUSH, seed=7)], axes, seeds=2, samples=None)
    assert over == ("learning_rate", "alpha")
    found = [
        (member.setting, config.ppo.learning_rate, config.primitive.alpha, config.seed)
        for member in members
        for config in [member.config]
    ]
    combinations = [(lr, alpha) for lr in axes["learning_rate"] for alpha in axes["alpha"]]
    assert found == [
        (number, *combination, seed)
        for number, combination in enumerate(combinations)
        for seed in (7, 8)
    ]


def test_everything_that_is_not_swept_stays():
    _, members = lay_out([PUSH], {"clip": (0.1, 0.3)}, seeds=1, samples=None)
    for member in members:
        same = settings(member.config) | {"clip": PUSH.ppo.clip}
        assert same == settings(PUSH)


def test_draws_lie_in_their_ranges_and_follow_the_seed():
    axes = {
        "learning_rate": axis("learning_rate", ["loguniform", "1e-4", "1e-2"]),
        "clip": axis("clip", ["uniform", "0.1", "0.3"]),
        "alpha": axis("alpha", ["5", "15"]),
    }
    drawn = grid.draws(axes, 400, 0)
    assert drawn == grid.draws(axes, 400, 0) != grid.draws(axes, 400, 1)
    rates = sorted(draw["learning_rate"] for draw in drawn)
    assert rates[0] >= 1e-4 and rates[-1] <= 1e-2
    assert rates[200] == pytest.approx(1e-3, rel=0.5)
    assert math.fsum(draw["clip"] for draw in drawn) / 400 == pytest.approx(0.2, abs=0.01)
    assert {draw["alpha"] for draw in drawn} == {5.0, 15.0}


def test_no_two_draws_are_the_same():
    axes = {"clip": (0.1, 0.2, 0.3), "alpha": (5.0, 15.0)}
    drawn = grid.draws(axes, 6, 0)
    assert sorted(map(str, drawn)) == sorted(map(str, grid.grid(axes)))
    narrow = grid.draws({"gamma": Range(0.99, 0.99999, False)}, 500, 0)
    assert max(draw["gamma"] for draw in narrow) < 1


def test_members_of_one_program_differ_in_traced_numbers_only():
    same = [{"learning_rate": 3e-4}, {"alpha": 25.0, "gamma": 0.9}, {"seed": 3}]
    other = [{"chunk": 10}, {"num_envs": 32}, {"policy": "ppo"}, {"hidden": (8,)}, {"steps": 10**6}]
    for changes in same:
        assert program(replaced(PUSH, changes)) == program(PUSH)
    assert len({program(replaced(PUSH, changes)) for changes in (*other, {})}) == len(other) + 1


@pytest.mark.parametrize("task", ["digits", "push"])
def test_imitations_of_one_program_differ_in_rate_steps_and_seed_only(task):
    config = IMITATED[task]
    for changes in ({"learning_rate": 3e-4}, {"steps": 7}, {"seed": 3}):
        assert program(replaced(config, changes)) == program(config)
    other = [{"alpha": 9.0}, {"n_basis": 7}, {"hidden": (8,)}, {"batch": 9}, {"eval_every": 3}]
    assert len({program(replaced(config, changes)) for changes in (*other, {})}) == len(other) + 1


def test_imitations_have_their_own_settings():
    kind = type(IMITATED["digits"])
    assert axis("model", ["cnn", "cnn-ndp"], kind) == ("cnn", "cnn-ndp")
    assert setting_name("held-out", kind) == "held_out"
    over, members = lay_out([IMITATED["digits"]], {"batch": (50, 99)}, seeds=2, samples=None)
    assert [member.config.descent.batch for member in members] == [50, 50, 99, 99]


def test_tasks_bring_their_own_settings():
    over, members = lay_out([PUSH, PRESETS["soccer"]], {"clip": (0.1, 0.2)}, seeds=1, samples=None)
    assert over == ("task", "clip")
    assert [member.config.primitive.alpha for member in members] == [5.0, 5.0, 15.0, 15.0]
    assert [member.config.task for member in members] == ["push", "push", "soccer", "soccer"]


@pytest.mark.parametrize(
    ("name", "words", "values"),
    [
        ("chunk", ["5", "10"], (5, 10)),
        ("hidden", ["64x64", "128"], ((64, 64), (128,))),
        ("initial_log_std", ["-1", "-0.5"], (-1.0, -0.5)),
        ("policy", ["ndp", "ppo"], ("ndp", "ppo")),
        ("clip", ["uniform", "0.1", "0.3"], Range(0.1, 0.3, log=False)),
    ],
)
def test_words_become_values_of_the_settings_type(name, words, values):
    assert axis(name, words) == values


@pytest.mark.parametrize(
    ("word", "name"), [("lr", "learning_rate"), ("num-envs", "num_envs"), ("alpha", "alpha")]
)
def test_names_are_the_settings_or_short(word, name):
    assert setting_name(word) == name


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: setting_name("lrr"), "no setting 'lrr' .* mean '--over.learning_rate'"),
        (lambda: setting_name("lambda"), "no setting 'lambda' .* mean '--over.gae_lambda'"),
        (lambda: setting_name("alhpa"), "no setting 'alhpa' .* mean '--over.alpha'"),
        (lambda: setting_name("seed"), "seed is not swept; give --seeds"),
        (lambda: setting_name("eval_every"), "eval_every is not swept; it does not change"),
        (lambda: axis("chunk", ["2.5"]), "--over.chunk is 2.5; it must be a whole number"),
        (lambda: axis("chunk", ["uniform", "1", "9"]), "only numbers that may have decimals"),
        (lambda: axis("alpha", []), "--over.alpha names no values"),
        (lambda: axis("alpha", ["5", "5.0"]), "--over.alpha names 5.0 twice"),
        (lambda: axis("alpha", ["five"]), "--over.alpha is five; it must be a number"),
        (lambda: axis("hidden", ["64,64"]), "must be a list of whole numbers joined by x"),
        (lambda: axis("clip", ["uniform", "0.3", "0.1"]), "two numbers, the lower first"),
        (lambda: axis("clip", ["loguniform", "0", "0.1"]), "two numbers above 0, the lower"),
        (lambda: lay_out([PUSH], {}, seeds=1, samples=None), "Nothing is swept"),
        (lambda: lay_out([PUSH], {}, seeds=0, samples=None), "--seeds is 0"),
        (lambda: lay_out([PUSH], {"clip": (0.1,)}, seeds=1, samples=0), "--samples is 0"),
        (
            lambda: lay_out([PUSH], {"clip": Range(0.1, 0.3, False)}, seeds=1, samples=None),
            "--over.clip is a range; say with --samples",
        ),
        (
            lambda: lay_out([PUSH], {"clip": (0.1, 0.2)}, seeds=1, samples=3),
            "--samples is 3, but no more than 2 different combinations",
        ),
        (
            lambda: lay_out([replaced(PUSH, {"seed": 2**32 - 1})], {}, seeds=2, samples=None),
            "--seeds 2 from --seed 4294967295 on go beyond 4294967295",
        ),
        (
            lambda: lay_out([PUSH], {"clip": (0.1, 0.2)}, seeds=4000, samples=None),
            "2 combinations with 4000 seeds are more than 4096 runs",
        ),
        (
            lambda: lay_out([PUSH], {"chunk": (5, 7)}, seeds=1, samples=None),
            "--chunk 7 does not divide the 150-step episode",
        ),
        (
            lambda: lay_out([PUSH], {"gamma": (0.9, 1.5)}, seeds=1, samples=None),
            "--gamma is 1.5; it must lie between 0 and 1",
        ),
        (
            lambda: lay_out(
                [PUSH], {"policy": ("ndp", "ppo"), "alpha": (5.0,)}, seeds=1, samples=None
            ),
            "--alpha means nothing to --policy ppo",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
