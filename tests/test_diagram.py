"""Pictures of a pipeline: what they show, what they never do, and how they look to the byte."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from nbpipe.core.graph import Graph
from nbpipe.core.model import STATES, State, Task
from nbpipe.errors import UsageError
from nbpipe.views.diagram import (
    SUFFIXES,
    Row,
    render,
    to_dot,
    to_elements,
    to_html,
    to_mermaid,
    to_png,
    to_svg,
)
from nbpipe.views.diagram_scene import Diagram, Group, Label, Rect, draw, glyph
from nbpipe.views.diagram_text import clean, elide, text_width
from nbpipe.views.theme import STATE_STYLES, css_rules, palette
from tests.faults import corpus
from tests.goldens import check as golden

SVG = "{http://www.w3.org/2000/svg}"


def make(upstream: dict[str, tuple[str, ...]]) -> Graph:
    tasks = {
        name: Task(name=name, source=f"scripts/{i}.py", product=f"output/{i}.ipynb")
        for i, name in enumerate(upstream)
    }
    return Graph(tasks, upstream)


IRIS = make(
    {
        "get": (),
        "feature-sepal": ("get",),
        "feature-petal": ("get",),
        "fit": ("feature-sepal", "feature-petal", "get"),
    }
)
IRIS_STATES: dict[str, State] = {
    "get": "fresh",
    "feature-sepal": "fresh",
    "feature-petal": "running",
    "fit": "stale",
}


def hostile_graph() -> Graph:
    """A chain of tasks whose names are attacks."""
    return make({name: corpus.ALL[max(i - 1, 0) : i] for i, name in enumerate(corpus.ALL)})


# What files look like


@pytest.mark.parametrize(
    ("name", "make_text"),
    [
        ("iris.mmd", lambda: to_mermaid(IRIS, IRIS_STATES)),
        ("iris.dot", lambda: to_dot(IRIS, IRIS_STATES)),
        (
            "iris.svg",
            lambda: to_svg(IRIS, IRIS_STATES, title="iris", subtitles={"fit": "cell 3/5"}),
        ),
        ("iris.dark.svg", lambda: to_svg(IRIS, IRIS_STATES, title="iris", theme="dark")),
        ("iris.html", lambda: to_html(IRIS, IRIS_STATES, title="iris")),
        (
            "iris.elements.json",
            lambda: render(IRIS, IRIS_STATES, ".json").decode(),
        ),
    ],
)
def test_the_iris_pipeline_looks_as_it_always_did(name: str, make_text: Callable[[], str]) -> None:
    """Golden files: a change of a renderer shows as a difference that somebody looks at."""
    golden(name, make_text())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_render_makes_every_format_the_same_each_time(suffix: str) -> None:
    """Bytes that do not depend on chance; the suffix may lack its dot or be in capitals."""
    once = render(IRIS, IRIS_STATES, suffix, title="iris")
    assert once
    assert once == render(IRIS, IRIS_STATES, suffix.upper().removeprefix("."), title="iris")


def test_an_unknown_suffix_is_refused_with_the_list() -> None:
    """The hint names what there is."""
    with pytest.raises(UsageError, match=r"\.bmp") as caught:
        render(IRIS, IRIS_STATES, ".bmp")
    assert all(suffix in (caught.value.hint or "") for suffix in SUFFIXES)


# SVG


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_svg_is_valid_xml_that_says_what_it_shows(theme: Any) -> None:
    """An image with a title, a description of every task, and no script, link or font."""
    text = to_svg(IRIS, IRIS_STATES, title="iris", theme=theme)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "iris · 2 fresh · 1 stale · 1 running"
    about = root.findtext(f"{SVG}desc") or ""
    assert "fit: stale (after feature-sepal, feature-petal, get)" in about
    assert not {e.tag for e in root.iter()} & {f"{SVG}{t}" for t in ("script", "a", "image", "use")}
    assert not re.search(r"url\(|@import|@font-face|href", text)


def test_two_pictures_on_a_page_do_not_share_styles() -> None:
    """Each rule begins with the picture's own id; equal pictures have equal ids."""
    one = to_svg(IRIS, IRIS_STATES)
    other = to_svg(IRIS, {**IRIS_STATES, "fit": "failed"})
    ids = [re.search(r'id="(nbp-\w+)"', text)[1] for text in (one, other)]  # type: ignore[index]
    assert ids[0] != ids[1]
    assert to_svg(IRIS, IRIS_STATES) == one
    style = re.search(r"<style>(.*?)</style>", one, re.S)[1]  # type: ignore[index]
    lines = re.sub(r"@media\([^)]*\)\{", "", style).strip().splitlines()
    rules = [line.split("{")[0] for line in lines]
    assert all(f"#{ids[0]}" in part for rule in rules for part in rule.split(","))


def test_the_automatic_theme_follows_the_page_and_then_the_system() -> None:
    """JupyterLab's and VS Code's colours come first; a page that says dark gets dark."""
    text = to_svg(IRIS, IRIS_STATES)
    assert "var(--jp-layout-color0,var(--vscode-editor-background,#ffffff))" in text
    assert "@media(prefers-color-scheme:dark)" in text
    assert '[data-jp-theme-light="false"] #nbp-' in text
    assert "var(" not in to_svg(IRIS, IRIS_STATES, theme="dark")


def test_the_legend_lists_just_the_states_that_occur() -> None:
    """In a fixed order, with their numbers."""
    texts = [e.text for e in ElementTree.fromstring(to_svg(IRIS, IRIS_STATES)).iter(f"{SVG}text")]
    assert texts[:3] == ["2 fresh", "1 stale", "1 running"]
    assert "failed" not in " ".join(filter(None, texts))


def test_a_task_without_a_state_is_new() -> None:
    """A caller may know nothing yet."""
    assert Diagram(IRIS, {}).summary == "4 new"
    assert "no tasks" in to_svg(make({}), {})


def test_a_long_name_is_shortened_in_the_middle_and_whole_in_the_tooltip() -> None:
    """Head and tail tell tasks apart; the full name is in the card's title."""
    name = "train-a-model-on-everything-we-have-got-2021-12-31"
    root = ElementTree.fromstring(to_svg(make({name: ()}), {}))
    shown = [e.text or "" for e in root.iter(f"{SVG}text")]
    assert any(t.startswith("train-a") and "…" in t and t.endswith("12-31") for t in shown)
    assert f"{name}: new" in [e.text for e in root.iter(f"{SVG}title")]


def test_every_text_stays_within_its_card() -> None:
    """By the estimate, which errs on the wide side."""
    notes = {name: name for name in hostile_graph().tasks}
    for group in draw(Diagram(hostile_graph(), {}, "t", notes)).groups:
        cards = [s for s in group.shapes if isinstance(s, Rect) and s.fill == "card"]
        for label in [s for s in group.shapes if isinstance(s, Label) and cards]:
            width = text_width(label.text, label.size, bold=label.bold)
            assert cards[0].x < label.x
            assert label.x + width < cards[0].x + cards[0].width


def test_elements_carry_state_and_place() -> None:
    """Enough for Cytoscape's preset layout: classes are states, edges join ids."""
    found = to_elements(IRIS, IRIS_STATES, subtitles={"fit": "cell 3/5"})
    fit = found["nodes"][3]
    assert fit["classes"] == fit["data"]["state"] == "stale"
    assert fit["data"]["label"] == "fit\n● stale"
    assert fit["data"]["subtitle"] == "cell 3/5"
    assert fit["position"]["x"] > found["nodes"][0]["position"]["x"]
    ends = [(edge["data"]["source"], edge["data"]["target"]) for edge in found["edges"]]
    assert ends == [("n0", "n1"), ("n0", "n2"), ("n1", "n3"), ("n2", "n3"), ("n0", "n3")]


# HTML


def test_the_page_has_the_picture_and_a_real_table() -> None:
    """Headings for rows and columns; state as glyph and word; reasons and products as given."""
    rows = [Row("get", "fresh", "nothing changed", "output/get.ipynb")]
    text = to_html(IRIS, IRIS_STATES, rows, title="iris")
    assert "<svg" in text
    assert '<th scope="row">get</th>' in text
    assert '<span aria-hidden="true">✓</span> fresh' in text
    assert "<td>nothing changed</td>" in text
    assert "<script" not in text
    assert to_html(IRIS, IRIS_STATES).count('scope="row"') == 4


# PNG


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_png_is_the_same_picture_in_pixels(theme: Any) -> None:
    """As large as the SVG times the scale, with the theme's paper in the corner."""
    from PIL import Image

    image = Image.open(io.BytesIO(to_png(IRIS, IRIS_STATES, title="iris", theme=theme, scale=2)))
    scene = draw(Diagram(IRIS, IRIS_STATES, "iris"))
    assert image.size == (round(scene.width * 2), round(scene.height * 2))
    colours = image.convert("RGB").getcolors(1 << 20) or []
    assert len(colours) > 50
    shown = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in colours}
    wanted = palette(theme)
    assert {wanted[r] for r in ("paper", "card", "fresh-edge", "running-edge", "line")} <= shown


def test_png_draws_hostile_names() -> None:
    """Tofu at worst, never an exception."""
    assert to_png(hostile_graph(), {}, title=corpus.ALL[0], scale=1).startswith(b"\x89PNG")


def test_png_works_without_any_font_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own font is enough."""
    from nbpipe.views import diagram_fonts

    monkeypatch.setattr(diagram_fonts, "_folders", lambda: iter(()))
    caches = (diagram_fonts._installed, diagram_fonts._files, diagram_fonts._sized)
    for cache in caches:
        cache.cache_clear()
    try:
        assert to_png(IRIS, IRIS_STATES, scale=1).startswith(b"\x89PNG")
    finally:
        for cache in caches:
            cache.cache_clear()


def test_a_huge_png_is_scaled_down() -> None:
    """A picture of a thousand tasks in a row stays within what viewers open."""
    from PIL import Image

    graph = make({f"t{i}": (f"t{i - 1}",) if i else () for i in range(1000)})
    width, height = Image.open(io.BytesIO(to_png(graph, {}))).size
    assert width <= 30_001
    assert height >= 1


# Text and colours


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a b c"),
        ("nul\x00", "nul\ufffd"),
        ("esc\x1b[0m", "esc\ufffd[0m"),
        ("\ud800", "\ufffd"),
        ("\u202eabc", "\ufffdabc"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_clean_leaves_one_harmless_line(text: str, expected: str) -> None:
    """What XML forbids, what steers a terminal and what turns the writing direction is replaced."""
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("narrow", "wide"), [("iii", "mmm"), ("abc", "数据清"), ("a", "📥"), ("e", "ee"), ("x", "X")]
)
def test_text_width_knows_narrow_and_wide_letters(narrow: str, wide: str) -> None:
    """CJK and emoji take about a square; accents take nothing."""
    assert text_width(narrow, 13) < text_width(wide, 13) < text_width(wide, 13, bold=True)
    assert text_width("e\u0301", 13) == text_width("e", 13)


@pytest.mark.parametrize("room", [0, 10, 40, 80, 200])
@pytest.mark.parametrize(
    "text", ["train-model-europe-2021", "数据清洗データ前処理", "👩\u200d🔬" * 9]
)
def test_elide_fits_and_never_cuts_an_emoji(text: str, room: float) -> None:
    """The result is no wider than the room, an ellipsis aside, and keeps both ends."""
    short = elide(text, room, 13)
    assert short == text or text_width(short, 13) <= max(room, text_width("…", 13))
    assert not short.startswith("\u200d")
    assert not re.search(r"\u200d…|…\u200d|🔬$(?<!\u200d🔬)", short)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """After WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(theme: Any) -> None:
    """4.5 to 1 for every text on what lies below it; 3 to 1 for arrows."""
    colours = palette(theme)
    pairs = [("ink", "card"), ("ink", "paper"), ("muted", "card"), ("muted", "paper")]
    for state in STATES:
        pairs += [(f"{state}-ink", ground) for ground in ("card", "paper", f"{state}-tint")]
    assert [p for p in pairs if contrast(colours[p[0]], colours[p[1]]) < 4.5] == []
    assert contrast(colours["line"], colours["paper"]) >= 3


def test_every_state_has_a_glyph_a_word_and_a_shape_of_its_own() -> None:
    """Colour is never the only difference."""
    assert set(STATE_STYLES) == set(STATES)
    assert len({s.glyph for s in STATE_STYLES.values()}) == len(STATES)
    assert len({s.word for s in STATE_STYLES.values()}) == len(STATES)
    drawn = {re.sub(r"'[\w-]+-ink'", "", repr(glyph(state, 0, 0, 4))) for state in STATES}
    assert len(drawn) == len(STATES)


def test_css_rules_of_a_page_of_our_own_know_no_host() -> None:
    """Only the reader's system decides there."""
    assert "data-jp" not in css_rules(":root", whole_page=True)


def test_a_scene_is_drawn_back_to_front() -> None:
    """The paper first, the arrows below the cards."""
    groups = draw(Diagram(IRIS, IRIS_STATES, "iris")).groups
    assert isinstance(groups[0], Group)
    assert [bool(group.about) for group in groups] == [False, False, False, True, True, True, True]
