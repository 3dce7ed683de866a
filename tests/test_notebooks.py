"""The notebooks as they are committed: run once from the top, small, and fit for any machine.

Their cells are executed by `make notebooks`.
"""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 300_000
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:tmp|home|root|work|usr|var|opt|mnt|Users)/|[A-Z]:\\")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
BAR = re.compile(r"\d+%\||it/s|s/it|example/s")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    nbformat.validate(nbformat.read(request.param, 4))
    return request.param, nbformat.read(request.param, 4)


def outputs(book):
    """The texts of all outputs, and the kinds of the outputs."""
    texts, kinds = [], set()
    for cell in book.cells:
        for output in cell.get("outputs", []):
            kinds.add(output.get("name", output.output_type))
            data = output.get("data", {})
            texts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(texts), kinds


def test_they_are_numbered_in_order():
    numbers = [int(path.stem.split("-")[0]) for path in NOTEBOOKS]
    assert numbers == sorted(set(numbers))
    assert numbers[:6] == [1, 2, 3, 4, 5, 6]


def test_it_was_run_once_from_top_to_bottom(notebook):
    _, book = notebook
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not outputs(book)[1] & {"stderr", "error"}


def test_outputs_are_small_and_of_no_particular_machine(notebook):
    path, book = notebook
    assert path.stat().st_size < MOST_BYTES
    text, _ = outputs(book)
    assert not ABSOLUTE.search(text)
    assert not BAR.search(text)
    assert book.metadata.kernelspec.name == "python3"
    assert set(book.metadata) <= {"kernelspec", "language_info"}
    assert not any(cell.metadata for cell in book.cells)


def test_links_lead_somewhere(notebook):
    path, book = notebook
    links = [link for cell in book.cells if cell.cell_type == "markdown"
             for link in LINK.findall(cell.source)]  # fmt: skip
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing
