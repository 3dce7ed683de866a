"""A task whose rows come in clusters."""

import json
from pathlib import Path

import yaml

from tests.helpers.task_files import write_task


def write_clustered(folder: Path, *, kind: str, rows: int = 8, clusters: int = 4) -> Path:
    """As `write_task`; row i belongs to cluster i modulo `clusters`."""
    path = write_task(folder, kind=kind, rows=rows)
    data = folder / f"{kind}.jsonl"
    documents = [json.loads(line) for line in data.read_text().splitlines()]
    named = [one | {"passage": f"p{n % clusters}"} for n, one in enumerate(documents)]
    data.write_text("".join(json.dumps(one) + "\n" for one in named))
    config = yaml.safe_load(path.read_text())
    config["metadata"] |= {"cluster": "passage"}
    path.write_text(yaml.safe_dump(config))
    return path
