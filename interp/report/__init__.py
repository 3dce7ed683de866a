"""One page to share: the figures, tables, examples and provenance of runs in one HTML file.

    interp.report.write_report([run], "page.html")      # or: interp report RUN --out page.html

The page needs no network and no model: figures are drawn from the runs' tables, prompts come from
the tasks' rows (and only where their hashes are those of the run), and its own content policy
forbids the browser to ask for anything. Tables are sorted by DataTables, which `itables` ships;
examples open as the browser's own popovers.

- `asked.py`: the tasks of a run, found again and checked against its manifest.
- `examples.py`: which examples of an ablation are shown, and what changed in their answers.
- `maps.py`, `tables.py`, `provenance.py`, `vectors.py`: the parts of a section, as plain values.
- `sections.py`: one section per run. `page.py`: the sections, the template, the file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
