import pytest

from configs import PRESETS, preset
from configs.fields import replaced
from train.commands.parsing import parse
from train.commands.study import QUICK
from train.studies.cells import name_of
from train.system.errors import UserError


def configs(command):
    return [member.config for cell in command.cells for member in cell.members]


def test_by_default_all_tasks_policies_and_ten_seeds_are_compared():
    command = parse(["study"])
    command.check()
    found = [(config.policy, config.task, config.seed) for config in configs(command)]
    assert found == [
        (policy, task, seed)
        for policy in ("ndp", "ppo-multi", "ppo")
        for task in PRESETS
        for seed in range(10)
    ]
    for config in configs(command):
        expected = replaced(preset(config.task, config.policy), {"seed": config.seed})
        assert replaced(config, {"eval_every": expected.eval_every}) == expected
        assert config.updates // config.eval_every >= 16
        assert config.eval_episodes == 256


def test_variants_are_cells_of_every_policy_and_task():
    words = ["--tasks", "push", "--policies", "ndp", "--over.n-basis", "3", "6"]
    command = parse(["study", *words, "--over.num-envs", "32", "--steps", "96000", "--seeds", "2"])
    assert [name_of(cell) for cell in command.cells] == [
        "push-ndp-n_basis3-num_envs32",
        "push-ndp-n_basis6-num_envs32",
    ]
    config = command.cells[0].members[1].config
    assert (config.seed, config.steps, config.num_envs, config.primitive.n_basis) == (
        1,
        96000,
        32,
        3,
    )


def test_the_papers_settings_can_be_studied():
    for config in configs(parse(["study", "--preset", "paper"])):
        paper = preset(config.task, config.policy, paper=True)
        expected = replaced(paper, {"seed": config.seed, "eval_every": config.eval_every})
        assert config == expected


def test_quick_is_a_study_of_few_steps():
    command = parse(["study", "--quick"])
    assert {config.task for config in configs(command)} == {*QUICK["tasks"]}
    assert {config.steps for config in configs(command)} == {QUICK["steps"]}
    assert len(configs(command)) == 3 * QUICK["seeds"] * len(QUICK["tasks"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tasks", "pusk"], "There is no task 'pusk'; did you mean 'push'?"),
        (["--tasks", "push", "push"], "--tasks is 'push push'; name each once"),
        (["--policies", "npd"], "did you mean ndp?"),
        (["--seeds", "1"], "--seeds is 1; give at least 2"),
        (["--seeds", "9999"], "must lie between 1 and 4096"),
        (["--steps", "0"], "--steps is 0; it must be greater than 0."),
        (["--steps", "5"], "--steps 5 is less than two updates"),
        (["--over.task", "push"], "--over.task is no variant; give --tasks."),
        (["--over.policy", "ppo"], "--over.policy is no variant; give --policies."),
        (["--over.lr", "uniform", "1", "2"], "is a range, which a study cannot draw from"),
        (["--over.n-basis", "3", "6"], "--n-basis means nothing to --policy ppo"),
        (["--over.chunk", "7"], "--chunk 7 does not divide"),
        (["--quick", "--seeds", "5"], "--quick says how many seeds; leave out --seeds."),
    ],
)
def test_mistakes_are_one_sentence(words, sentence):
    with pytest.raises(UserError) as caught:
        parse(["study", *words]).check()
    assert sentence in str(caught.value)
