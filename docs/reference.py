"""Pages that are made when the documentation is built: the reference, and what lies elsewhere.

The reference has one page per package, one entry per name of its `__init__.pyi`. Notebooks and
the READMEs beside the code are copied, with the pictures and tables that they show; their links
that lead elsewhere become plain text.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "interp"
INTERNAL = ("cli", "engine")
COPIES = {
    "interp/records/README.md": "method/store.md",
    "tests/parity/README.md": "method/families.md",
    "experiments/results/organisms/results.md": "results/organisms.md",
    "experiments/headline.md": "results/headline.md",
}
COPIED_FILES = (".png", ".csv")
OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def public_names(package: str) -> dict[str, str]:
    """The names that a package offers: name to the module that defines it."""
    found: dict[str, str] = {}
    tree = ast.parse((PACKAGE / package / "__init__.pyi").read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inside = f"{node.module}.{alias.name}" if node.module else alias.name
                found[alias.asname or alias.name] = f"interp.{package}.{inside}"
    return found


def package_page(package: str) -> None:
    """One page: the package's own words, then each of its names."""
    lines = [f"# interp.{package}", ""]
    source = (PACKAGE / package / "__init__.py").read_text()
    # as it stands: cleaning would take the indentation of code that is all that follows
    doc = ast.get_docstring(ast.parse(source), clean=False) or ""
    lines += [doc, ""]
    for path in [path for _, path in sorted(public_names(package).items())]:
        lines += [f"::: {path}", ""]
    with mkdocs_gen_files.open(f"reference/{package}.md", "w") as page:
        page.write("\n".join(lines))


def front_page(packages: list[str]) -> None:
    """The front door: what `interp` itself offers, and where each name is described.

    Names of modules that have no page of their own are described here.
    """
    described_here = []
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    lines = ["# interp", "", "Everything is loaded when it is first used.", ""]
    lines += ["| name | described in |", "| --- | --- |"]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            package = node.module.split(".")[0]
            for alias in node.names:
                where = f"[interp.{package}]({package}.md)"
                if package not in packages:
                    path = f"interp.{node.module}.{alias.name}"
                    described_here.append(path)
                    where = f"[this page](#{path})"
                lines.append(f"| `interp.{alias.name}` | {where} |")
    lines += ["", "Packages: " + ", ".join(f"[{p}]({p}.md)" for p in packages) + "."]
    for path in described_here:
        lines += ["", f"::: {path}", ""]
    with mkdocs_gen_files.open("reference/interp.md", "w") as page:
        page.write("\n".join(lines))


def without_outside_links(text: str) -> str:
    """Links and pictures that lead to files outside the documentation, as plain text."""
    return OUTSIDE.sub(lambda link: "" if link[1] else link[2], text)


def copied_page(source: Path, target: str) -> str:
    """The text of a page; pictures and tables that it links to are copied beside its copy."""

    def copied_or_plain(link: re.Match[str]) -> str:
        file = source.parent / link[3]
        if file.suffix not in COPIED_FILES or not file.is_file():
            return "" if link[1] else link[2]
        name = f"{Path(target).stem}-files/{file.name}"
        with mkdocs_gen_files.open(str(Path(target).parent / name), "wb") as copy:
            copy.write(file.read_bytes())
        return f"{link[1]}[{link[2]}]({name})"

    return OUTSIDE.sub(copied_or_plain, source.read_text())


def copied_notebook(book: dict[str, Any]) -> dict[str, Any]:
    """A notebook without the links of its text that lead outside."""
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = without_outside_links("".join(cell["source"]))
    return book


PACKAGES = sorted(
    path.parent.name for path in PACKAGE.glob("*/__init__.pyi") if path.parent.name not in INTERNAL
)
for each in PACKAGES:
    package_page(each)
front_page(PACKAGES)
for source, target in COPIES.items():
    with mkdocs_gen_files.open(target, "w") as copy:
        copy.write(copied_page(ROOT / source, target))
for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
    with mkdocs_gen_files.open(f"notebooks/{notebook.name}", "w") as copy:
        copy.write(json.dumps(copied_notebook(json.loads(notebook.read_text()))))
