"""What people expect to choose: axes, words, tasks, limits, the small print, formats."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from interp import figures
from interp.errors import UserError
from interp.figures import style
from tests.helpers.figure_tables import FAMILIES, sweep_of_texts


@pytest.fixture
def one():
    return sweep_of_texts(FAMILIES["layer"])


@pytest.mark.parametrize("draw", [figures.layers, figures.drops, figures.heatmap])
def test_axes_of_the_callers_own(draw, one, sweep) -> None:
    mine = Figure(figsize=(4, 3))
    axes = mine.subplots()
    assert draw(one, ax=axes) is mine
    assert axes.get_xlabel() == "Skipped layer"
    assert axes.lines or axes.images
    if draw is not figures.heatmap:
        with pytest.raises(UserError, match="ax: the figure has 3 panels"):
            draw(sweep, ax=axes)


def test_words_tasks_limits_and_the_small_print(sweep) -> None:
    task = "world-facts:default"
    words = {"world-facts": "Facts"}
    figure = figures.drops(
        sweep, tasks=task, labels=words, ylim=(-7.0, 77.0), caption=False, width=7.2
    )
    assert set(figure.data["task"]) == {task}
    assert next(text.get_text() for text in figure.legends[0].get_texts()) == "Facts"
    assert figure.axes[0].get_ylim() == (-7, 77)
    assert figure.get_figwidth() == 7.2
    assert figure.get_supxlabel() == ""
    assert "n = 40" in figure.footnote
    with pytest.raises(UserError, match="task nope: the table has world-"):
        figures.drops(sweep, tasks=["nope"])


def test_results_do_as_well_as_their_tables() -> None:
    table = pd.DataFrame(
        [{"model": "m", "layer": n, "head": h, "score": 0.1, "low": 0.0, "high": 0.2, "n": 9,
          "interval": "95% bootstrap"} for n in range(2) for h in range(2)]
    )  # fmt: skip

    class Heads:
        def table(self) -> pd.DataFrame:
            return table

    assert figures.retrieval_map(Heads(), mark=1).data["score"].tolist() == [0.1] * 4
    assert len(figures.depth([Heads(), table.assign(model="other")]).legends) == 1
    with pytest.raises(UserError, match="int: it has no table `table`"):
        figures.retrieval_map(3)


@pytest.mark.slow
def test_only_some_formats(one, tmp_path) -> None:
    paths = figures.save(figures.drops(one), tmp_path / "x", formats=["pdf"])
    assert [path.name for path in paths] == ["x.pdf", "x.csv"]
    with pytest.raises(UserError, match="format 'jpg': allowed are pdf, svg, png"):
        figures.save(figures.drops(one), tmp_path / "x", formats=["jpg"])


@pytest.mark.slow
def test_a_dollar_in_a_name_is_a_dollar(tmp_path) -> None:
    name = r"cost in $x_{1$ and $\frac{$.yaml"
    texts = [*FAMILIES["layer"], *FAMILIES["kvgroup"], *FAMILIES["others"]]
    sweep = sweep_of_texts(texts, task=name, model=r"org/$\nope$")
    paths = figures.save_all(sweep, tmp_path, formats=["svg"])
    assert len(paths) == 2 * 5
    figure = figures.heatmap(sweep)
    assert len(figures.save(figure, tmp_path / "every-format")) == 4
    assert not any(text.get_parse_math() for text in figure.findobj(Text))


@pytest.mark.slow
def test_a_link_is_replaced_and_never_followed(one, tmp_path) -> None:
    victim = tmp_path / "thesis.pdf"
    victim.write_text("mine")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "drops.pdf").symlink_to(victim)
    figures.save(figures.drops(one), tmp_path / "figures" / "drops")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "figures" / "drops.pdf").is_symlink()


@pytest.mark.slow
def test_what_cannot_be_written_leaves_what_was_there(one, tmp_path, monkeypatch) -> None:
    figures.save(figures.drops(one), tmp_path / "drops")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_arguments, **_options):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        figures.save(figures.drops(one, ylim=(0.0, 1.0)), tmp_path / "drops")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_savefig_by_hand_embeds_truetype(one, tmp_path) -> None:
    figures.drops(one).savefig(tmp_path / "x.pdf")
    written = (tmp_path / "x.pdf").read_bytes()
    assert b"/Type3" not in written
    assert b"/TrueType" in written or b"/CIDFontType2" in written


@pytest.mark.slow
def test_lines_stand_beside_each_other_only_where_there_are_several(sweep_of) -> None:
    sweep = sweep_of(tasks=["world-facts:default", "world-kv:generate", "world-facts:generate"])
    first, second = figures.drops(sweep).axes
    alone = {x for line in first.lines if len(line.get_xdata()) > 2 for x in line.get_xdata()}
    assert alone <= set(map(float, range(4)))
    beside = {x % 1 for line in second.lines if len(line.get_xdata()) > 2 for x in line.get_xdata()}
    assert not beside & {0.0}


def test_marks_at_0_and_100_are_whole(sweep_of) -> None:
    figure = figures.layers(sweep_of(tasks=["world-facts:default"]))
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    half = matplotlib.rcParams["lines.markersize"] / 2
    box = axes.get_window_extent()
    points = 72 / figure.dpi * box.height / (high - low)
    assert min(-low, high - 100) * points >= min(half, 1.8) + 0.5


@pytest.mark.slow
def test_nothing_significant_looks_pale(one) -> None:
    table = one.importance()
    none = table.assign(drop=[17.0, -17.0, 0.0, 8.0], low=-40.0, high=60.0, p_adjusted=1.0)
    (image,) = figures.heatmap(none).axes[0].images
    assert image.get_clim() == (-50, 50)
    assert np.nanmax(np.abs(np.asarray(image.get_array()))) == 17


@pytest.mark.slow
@pytest.mark.parametrize("n_layers", [8, 32, 80])
@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
def test_ticks_never_touch(n_layers, width) -> None:
    texts = [f"layer:{n}" for n in range(n_layers)]
    table = pd.concat(
        [sweep_of_texts(["layer:0"], task=task, n=6).importance() for task in ("a", "b")]
    )
    table = pd.concat([table.assign(ablation=text) for text in texts], ignore_index=True)
    for draw in (figures.drops, figures.heatmap):
        figure = draw(table, width=width)
        figure.canvas.draw()
        for axes in figure.axes:
            boxes = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text()]
            for left, right in itertools.pairwise(boxes):
                assert left.x1 + 1 < right.x0


@pytest.mark.slow
@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
def test_marks_of_a_map_stay_within_their_cells(width) -> None:
    table = sweep_of_texts(["head:0.0"], n=6).importance()
    cells = [f"head:{n}.{h}" for n in range(32) for h in range(32)]
    table = pd.concat([table] * len(cells), ignore_index=True)
    table = table.assign(ablation=cells, p_adjusted=[0.01, 1.0] * 512)
    several = pd.concat([table.assign(task=f"t{n}") for n in range(3)])
    figure = figures.importance_map(several, width=width)
    for axes in figure.axes[:3]:
        cell = min(style.cell_points(axes))
        assert all(line.get_markersize() <= cell for line in axes.lines)
    assert figure.get_figheight() < 10.5


@pytest.mark.parametrize(
    ("drop", "column", "axis"),
    [("floor-aware", "floor_aware", "Drop (% of baseline\nminus floor)"),
     ("relative", "relative", "Drop (% of baseline)")],
)  # fmt: skip
def test_drops_are_drawn_as_shares(sweep_of, tmp_path, drop, column, axis) -> None:
    sweep = sweep_of(tasks=["world-facts:continuation"])
    table = sweep.importance()
    assert (table[column] - table["drop"]).abs().max() > 1
    figure = figures.drops(sweep, drop=drop)
    (axes,) = figure.axes
    assert axes.get_ylabel() == axis
    (line,) = [line for line in axes.lines if len(line.get_ydata()) == len(table)]
    drawn = np.asarray(line.get_ydata(), dtype=float)
    np.testing.assert_allclose(np.sort(drawn), np.sort(table[column]))
    assert "95% interval (Fieller)" in figure.footnote
    assert "too large on average" not in figure.footnote
    heat = figures.heatmap(sweep, drop=drop)
    np.testing.assert_allclose(sorted(heat.axes[0].images[0].get_array().ravel()),
                               sorted(table[column]))  # fmt: skip
    assert set(figures.drawings(sweep, drop=drop)) == set(figures.drawings(sweep))
    profile = figures.comparison.profiles(table, dict.fromkeys(table["model"], 8), drop=drop)
    assert profile.axes[0].get_ylabel().replace("\n", " ") == axis.replace("\n", " ")
    shown = profile.data["drop"].to_numpy(float)
    np.testing.assert_allclose(np.sort(shown), np.sort(table[column]))
    with pytest.raises(UserError, match="drop 'percent': allowed are points, floor-aware"):
        figures.drops(sweep, drop="percent")
    with pytest.raises(UserError, match="no baseline is clearly above its floor"):
        figures.drops(table.assign(**{column: np.nan}), drop=drop)
