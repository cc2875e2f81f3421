"""What a study leaves for people, from its evaluations.csv alone: a table and figures."""

from collections.abc import Sequence
from pathlib import Path

from train.runs import run
from train.studies import figures, record, table
from train.studies.folder import STUDY, read

EVALUATIONS = "evaluations.csv"


def write(folders: Sequence[Path], out: Path) -> None:
    """Writes table.md, curves.png, minutes.png and comparison.png; of several studies together.

    Args:
      folders: of studies, or of what was kept of them: evaluations.csv and, if it is to be told
        what they were trained on, study.json.
      out: where to; with what they are made from, if that is another folder.

    Raises:
      UserError: there is nothing to read, two folders do not fit together, or `out` cannot be
        written.
    """
    rows = record.read([folder / EVALUATIONS for folder in folders])
    results = record.results(rows)
    kept = [read(folder) for folder in folders if (folder / STUDY).exists()]
    machines = list(dict.fromkeys(machine for content in kept for machine in content["machines"]))
    out.mkdir(parents=True, exist_ok=True)
    if [out] != [*folders]:
        record.write(rows, out / EVALUATIONS)
        run.write_json(out / STUDY, {"machines": machines})
    run.write_whole(out / "table.md", table.markdown(results, machines))
    figures.draw(results, out)
