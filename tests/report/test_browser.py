"""The page in headless Chromium: no error, no request, clicks, sorting, both widths."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp import report
from interp.report import Choice
from interp.results import choose_metric
from tests.report.conftest import HOSTILE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# milliseconds: a machine that is busy with other tests is slow, and that is no fault of the page
PATIENCE = 120_000
LAPTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium, driven by playwright; skipped where either is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with api.sync_playwright() as driver:
        if found is None and Path(driver.chromium.executable_path).is_file():
            found = driver.chromium.executable_path
        if found is None:
            pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=found, args=arguments, timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(run, tasks, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page") / "page.html"
    return report.write_report([run], out, choice=Choice(tasks=tasks))


def ready(page) -> None:
    """Wait until the last table has its headers; the library may build a table a moment later."""
    page.wait_for_function(
        "[...document.querySelectorAll('table.sortable')]"
        ".every(table => table.querySelector('.dt-column-order'))"
    )


def open_dialogs(page, number: int) -> None:
    """Wait until so many dialogs are shown."""
    page.wait_for_function(
        "number => [...document.querySelectorAll('dialog')]"
        ".filter(dialog => dialog.checkVisibility()).length === number",
        arg=number,
    )


@pytest.fixture
def opened(browser, file) -> Iterator:
    """The page at a laptop's width; at the end nothing was complained of or asked for."""
    context = browser.new_context(viewport=LAPTOP)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    troubles: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    ready(page)
    yield page
    assert troubles == []
    assert asked == [file.as_uri()]
    context.close()


@pytest.mark.slow
def test_a_click_opens_the_examples_and_escape_closes_them(opened, run):
    open_dialogs(opened, 0)
    buttons = opened.locator("table.map button")
    assert buttons.count() == 6
    for place in (0, 4):
        button = buttons.nth(place)
        ablation = button.get_attribute("aria-label").partition(",")[0]
        button.click()
        open_dialogs(opened, 1)
        dialog = opened.locator("dialog:visible")
        assert dialog.locator("h2").inner_text().startswith(ablation)
        assert dialog.locator("article").count() == 6
        text = dialog.inner_text()
        for said in ("Prompt", "Right answer", "Whole model", "Ablated model"):
            assert said in text
        opened.keyboard.press("Escape")
        open_dialogs(opened, 0)


@pytest.mark.slow
def test_the_keyboard_alone_is_enough(opened):
    opened.locator("table.map button").first.focus()
    opened.keyboard.press("Enter")
    focused = "document.activeElement"
    open_dialogs(opened, 1)
    assert opened.evaluate(f"{focused}.textContent") == "Close"
    opened.keyboard.press("Enter")
    open_dialogs(opened, 0)
    assert opened.evaluate(f"{focused}.closest('table').className") == "map"
    # headers sort, and boxes scroll, without a mouse
    for selector in ("th .dt-column-order[tabindex='0']", ".dt-layout-table > div[tabindex='0']"):
        assert opened.locator(selector).count()


@pytest.mark.slow
def test_hostile_rows_are_text_and_run_nothing(opened):
    opened.locator("table.map button").first.click()
    prompt = opened.locator("dialog:visible .text").first.inner_text()
    assert prompt.startswith(HOSTILE)
    assert opened.evaluate("typeof window.hostile") == "undefined"
    assert opened.locator("img").count() == 0
    assert opened.evaluate("document.scripts.length") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("column", "name"), [("Drop", "drop"), ("p (Holm)", "p_adjusted")])
def test_a_header_sorts_its_table_by_number(opened, run, column, name):
    table = opened.locator("table.sortable").nth(1)
    expected = sorted(choose_metric(run.importance())[name])
    header = table.locator("th", has_text=re.compile("^" + re.escape(column)))
    place = [h.strip() for h in table.locator("th").all_inner_texts()].index(
        header.inner_text().strip()
    )
    cells = table.locator(f"tbody tr td:nth-child({place + 1})")

    def shown() -> list[float]:
        return [float(cell.get_attribute("data-order")) for cell in cells.all()]

    for direction, wanted in (("ascending", expected), ("descending", expected[::-1])):
        header.click()
        # the library sorts some time after the click, not within it
        opened.locator(f"th[aria-sort={direction}]").wait_for()
        assert header.get_attribute("aria-sort") == direction
        assert shown() == wanted


@pytest.mark.slow
def test_a_button_of_the_table_opens_the_same_examples(opened):
    link = opened.locator("table.sortable").nth(1).locator("button.link").first
    target = link.get_attribute("popovertarget")
    link.click()
    assert opened.locator("dialog:visible").get_attribute("id") == target


@pytest.mark.slow
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_itself_never_scrolls_sideways(opened, size):
    opened.set_viewport_size(size)
    opened.locator("details").first.evaluate("element => { element.open = true }")
    wide = "[document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert max(opened.evaluate(wide)) <= size["width"]
    opened.locator("table.map button").first.click()
    box = opened.locator("dialog:visible").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    assert box["height"] <= size["height"]
    inner = "e => e.scrollWidth - e.clientWidth"
    assert opened.locator("dialog:visible").evaluate(inner) <= 0
    assert max(opened.evaluate(wide)) <= size["width"]


@pytest.mark.slow
def test_figures_are_drawn_and_named(opened):
    drawings = opened.locator("[role=img]")
    assert drawings.count() == 3
    for drawing in drawings.all():
        assert "n = 10 examples" in drawing.get_attribute("aria-label")
        box = drawing.locator("svg").first.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 60


@pytest.mark.slow
def test_a_long_prompt_opens_whole_above_the_examples(
    browser, run, tasks, tmp_path, monkeypatch, quick
):
    monkeypatch.setattr("interp.report.sections.SHORT_PROMPT", 20)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(report.write_report([run], tmp_path / "p.html", choice=Choice(tasks=tasks)).as_uri())
    ready(page)
    page.locator("table.map button").first.click()
    page.locator("dialog:visible button.link").first.click()
    open_dialogs(page, 2)
    assert page.locator("dialog[id*=prompt]:visible .text").inner_text().startswith(HOSTILE)
    page.keyboard.press("Escape")
    open_dialogs(page, 1)
    page.close()


@pytest.mark.slow
def test_without_scripts_it_is_still_all_there(browser, file):
    context = browser.new_context(java_script_enabled=False, viewport=LAPTOP)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("table.sortable").nth(1).locator("tbody tr").count() == 6
    page.locator("table.map button").first.click()
    page.locator("dialog:visible").wait_for()
    context.close()
