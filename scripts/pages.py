"""Pages of the site that are made from files outside docs/ and from the notebook."""

import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """README and changelog with links as they are from docs/, and the notebook as text."""
    for name in ("README.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
    text = "\n\n".join(map(as_markdown, notebook["cells"]))
    files.append(File.generated(config, "quickstart.md", content=text))
    return files


def as_markdown(cell: dict) -> str:
    source = "".join(cell["source"])
    return source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
