"""What lies on disk after a figure was saved."""

import struct
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from interp import figures
from interp.figures import RC

execute = ConstrainedLayoutEngine.execute


@pytest.fixture
def figure(sweep):
    return figures.layers(sweep)


@pytest.mark.slow
def test_four_files_are_written(figure, tmp_path: Path) -> None:
    paths = figures.save(figure, tmp_path / "new" / "layers-v1.2")
    assert [path.name for path in paths] == [
        f"layers-v1.2.{suffix}" for suffix in ("pdf", "svg", "png", "csv")
    ]
    assert all(path.stat().st_size > 0 for path in paths)
    data = pd.read_csv(paths[-1])
    assert len(data) == len(figure.data)
    assert {"value", "low", "high", "n", "interval"} <= set(data.columns)


@pytest.mark.slow
def test_fonts_are_truetype_and_the_png_has_300_dots_an_inch(figure, tmp_path: Path) -> None:
    pdf, _, png, _ = figures.save(figure, tmp_path / "layers")
    assert b"/Type3" not in pdf.read_bytes()
    assert b"/TrueType" in pdf.read_bytes() or b"/CIDFontType2" in pdf.read_bytes()
    width, _ = struct.unpack(">II", png.read_bytes()[16:24])
    assert width == round(300 * figures.PAGE)


@pytest.mark.slow
def test_the_same_figure_gives_the_same_files(sweep, tmp_path: Path) -> None:
    one = figures.save(figures.drops(sweep), tmp_path / "one")
    two = figures.save(figures.drops(sweep), tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.suffix


@pytest.mark.slow
def test_all_formats_share_one_layout_and_the_figure_is_as_before(
    figure, tmp_path: Path, monkeypatch
) -> None:
    engine, calls = figure.get_layout_engine(), []
    with rc_context(RC):
        figure.savefig(tmp_path / "alone.png", dpi=300, metadata={"Software": None})

    def counted(self, figure) -> None:
        calls.append(figure)
        execute(self, figure)

    monkeypatch.setattr(type(engine), "execute", counted)
    paths = figures.save(figure, tmp_path / "layers")
    assert len(calls) == 1
    assert (figure.get_layout_engine(), figure.dpi) == (engine, 100)
    # the layout is that of the PNG: the same file as when it is written alone
    assert paths[2].read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_a_suffix_is_not_doubled_and_data_may_be_given(tmp_path: Path) -> None:
    plain = Figure()
    assert [path.name for path in figures.save(plain, tmp_path / "x.pdf")] == [
        *("x.pdf", "x.svg", "x.png"),
    ]
    paths = figures.save(plain, tmp_path / "y", data=pd.DataFrame({"a": [1]}))
    assert paths[-1].read_text() == "a\n1\n"


@pytest.mark.slow
def test_all_figures_of_a_run(sweep_of, tmp_path: Path) -> None:
    sweep = sweep_of(tasks=["world-kv:default"])
    mlp = sweep.values[sweep.values["ablation"] != "baseline"]
    mlp = mlp.assign(ablation=mlp["ablation"].str.replace("layer", "mlp"))
    both = type(sweep)(pd.concat([sweep.values, mlp]))
    paths = figures.save_all([both], tmp_path, formats=["pdf"])
    assert [path.name for path in paths if path.suffix == ".pdf"] == [
        *("layers.pdf", "drops.pdf", "heatmap.pdf"),
        *("mlp-layers.pdf", "mlp-drops.pdf", "mlp-heatmap.pdf"),
    ]
    heads = sweep.values.assign(ablation=sweep.values["ablation"].str.replace("layer:", "head:0."))
    paths = figures.save_all(type(sweep)(heads), tmp_path, formats=["pdf"])
    assert [path.name for path in paths if path.suffix == ".pdf"] == ["heads.pdf"]
    blocks = sweep.values.assign(
        ablation=sweep.values["ablation"].str.replace(r"layer:(\d)", r"layers:\1-9", regex=True)
    )
    paths = figures.save_all(type(sweep)(blocks), tmp_path, formats=["png"])
    names = ["layers-down-layers", "layers-down-drops", "layers-down-heatmap"]
    assert [path.name for path in paths if path.suffix == ".png"] == [f"{n}.png" for n in names]


def test_a_spreadsheet_computes_nothing_of_the_rows(tmp_path: Path) -> None:
    rows = pd.DataFrame({"task": ["=1+1", "plain"], "drop": [-1.5, 2.0]})
    *_, path = figures.save(Figure(), tmp_path / "x", data=rows, formats=["svg"])
    assert path.read_text() == "task,drop\n'=1+1,-1.5\nplain,2.0\n"
