"""A real browser shows the embedding explorer, as a page and in JupyterLab, and the descriptions of pictures."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import nbformat
import numpy as np
import pytest
import torch
from nbconvert import HTMLExporter

from simclr_lib.data import load_dataset
from simclr_lib.distributed import free_port
from simclr_lib.evaluation import make_film
from simclr_lib.seeding import seeded
from simclr_lib.teaching.course import NOTEBOOKS
from simclr_lib.teaching.explorer import HERE, html_page, make_scene

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
]

TRAVEL = 600  # milliseconds: points take 450 to go from one embedding to another

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install one (on Debian, apt-get install chromium)"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install '.[test]'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(chromium, address, **settings):
    """Open a page in which nothing moves by itself; yields it and the list of its errors."""
    context = chromium.new_context(
        **{"viewport": {"width": 1200, "height": 1400}, "reduced_motion": "reduce", **settings}
    )
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else errors.append(request.url),
    )
    try:
        page.goto(address)
        yield page, errors
    finally:
        context.close()


def clusters(count, spread=0.6):
    labels = torch.arange(count) % 10
    return torch.randn(10, 16, generator=seeded(0))[labels] + spread * torch.randn(count, 16, generator=seeded(1))


@pytest.fixture(scope="module")
def scene():
    """Two kinds of features of 200 emblems; the first with a film."""
    dataset = load_dataset("emblems", "test", limit=200)
    h, noise = clusters(200), torch.randn(200, 16, generator=seeded(2))
    film = make_film("h", {"epoch 0": noise, "epoch 1": (h + noise) / 2, "epoch 2": h}, method="pca")
    pictures = {"h": film.points[-1]}
    return make_scene(dataset, {"h": h, "noise": noise}, pictures, "pca", film, ("length", h.norm(dim=1)), "Emblems")


@pytest.fixture(scope="module")
def address(scene, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "explorer.html"
    file.write_text(html_page(scene), encoding="utf-8")
    return file.as_uri()


def points_of(scene, view=0):
    return np.frombuffer(scene["views"][view]["points"], "<f4").reshape(-1, 2)


def place(page, point):
    """The position of an embedded point on the page, before anything has been moved."""
    box = page.locator(".stage > canvas").bounding_box()
    half = 0.46 * min(box["width"], box["height"])
    return box["x"] + box["width"] / 2 + half * float(point[0]), box["y"] + box["height"] / 2 - half * float(point[1])


def rest(page, milliseconds=0):
    """Wait for so long and then for two frames: by then a busy machine, too, has drawn all that was due."""
    page.evaluate(
        """(milliseconds) => new Promise((done) => setTimeout(
            () => requestAnimationFrame(() => requestAnimationFrame(done)), milliseconds))""",
        milliseconds,
    )


def drawn(page):
    """The picture of the points, once it is drawn, without the buttons that lie on it."""
    rest(page)
    data = page.locator(".stage > canvas").evaluate("canvas => canvas.toDataURL()")
    return base64.b64decode(data.partition(",")[2])


def loner(points):
    """The point that is furthest from any other: no other is hit in its place."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(len(points))
    return int(distance.min(axis=1).argmax())


def test_pointing_at_an_image_shows_it_with_its_class_and_index(chromium, address, scene):
    with opened(chromium, address) as (page, errors):
        row = loner(points_of(scene))
        page.mouse.move(*place(page, points_of(scene)[row]))
        tip = page.locator(".tip")
        tip.wait_for(state="visible")
        assert f"image {row}: {scene['classes'][row % 10]}" in tip.inner_text()
        colored = page.evaluate(
            "() => new Set(document.querySelector('.tip canvas').getContext('2d').getImageData(0, 0, 96, 96).data).size"
        )
        assert colored > 50  # a picture, not a blank
        page.mouse.move(5, 5)
        tip.wait_for(state="hidden")
        assert errors == []


def test_a_click_lists_the_true_neighbours_with_their_similarity(chromium, address, scene):
    with opened(chromium, address) as (page, errors):
        row = loner(points_of(scene))
        before = drawn(page)
        page.mouse.click(*place(page, points_of(scene)[row]))
        listed = page.locator(".details li").all_inner_texts()
        view = scene["views"][0]
        neighbors = np.frombuffer(view["neighbors"], "<i4").reshape(-1, view["k"])[row]
        similarity = np.frombuffer(view["similarity"], "<f4").reshape(-1, view["k"])[row]
        assert len(listed) == view["k"] == 10
        for text, neighbor, value in zip(listed, neighbors, similarity, strict=True):
            assert scene["classes"][neighbor % 10] in text
            assert f"{value:.2f}" in text
            assert ("✓" if neighbor % 10 == row % 10 else "✗") in text
        assert drawn(page) != before
        assert errors == []


def test_a_box_and_a_lasso_select_what_they_hold(chromium, address, scene):
    points = points_of(scene)
    low, high = np.quantile(points, 0.3, axis=0), np.quantile(points, 0.8, axis=0)
    inside = int(((points > low) & (points < high)).all(axis=1).sum())
    with opened(chromium, address) as (page, errors):
        corners = [place(page, corner) for corner in (low, (high[0], low[1]), high, (low[0], high[1]))]
        for mode, way in (("select a box", corners[2:3]), ("draw a lasso", [*corners[1:], corners[0]])):
            page.get_by_label(mode).check()
            page.mouse.move(*corners[0])
            page.mouse.down()
            for corner in way:
                page.mouse.move(*corner, steps=6)
            page.mouse.up()
            selected = int(page.locator(".status").inner_text().removesuffix(" images selected"))
            assert abs(selected - inside) <= 1  # a point may lie on the edge, to the pixel
        page.get_by_role("button", name="clear selection").click()
        assert errors == []


def dark_pixels(page, x, top, bottom):
    """How many pixels are dark in a vertical line of the picture, where nothing but ink is as dark."""
    rest(page)
    return page.evaluate(
        """([x, y, height]) => {
            const canvas = document.querySelector('.stage > canvas'), box = canvas.getBoundingClientRect();
            const pixels = canvas.getContext('2d').getImageData(x - box.x - 1, y - box.y, 3, height).data;
            return [...new Uint32Array(pixels.buffer)].filter((pixel) =>
                [pixel, pixel >> 8, pixel >> 16].every((channel) => (channel & 255) < 160)).length;
        }""",
        [x, top, bottom - top],
    )


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def test_what_was_drawn_around_a_selection_stays_with_it_until_it_is_cleared(chromium, address, scene):
    points = points_of(scene)
    low, high = np.quantile(points, 0.3, axis=0), np.quantile(points, 0.8, axis=0)
    with opened(chromium, address) as (page, errors):
        (left, bottom), (right, top) = place(page, low), place(page, high)
        page.get_by_label("select a box").check()
        before, drawn_side = dark_pixels(page, left, top, bottom), 0.3 * (bottom - top)
        drag(page, (left, bottom), (right, top))
        assert dark_pixels(page, left, top, bottom) > before + drawn_side
        page.locator(".stage > canvas").focus()
        page.keyboard.press("Shift+ArrowLeft")  # moves the points by 60 pixels to the right
        assert dark_pixels(page, left + 60, top, bottom) > before + drawn_side
        page.keyboard.press("0")
        page.get_by_label("noise", exact=True).check()  # there these images lie elsewhere
        rest(page, TRAVEL)
        assert dark_pixels(page, left, top, bottom) < drawn_side / 3
        page.get_by_label("h", exact=True).check()
        rest(page, TRAVEL)
        drag(page, (left, bottom), (right, top))
        page.get_by_role("button", name="clear selection").click()
        assert dark_pixels(page, left, top, bottom) == before
        assert errors == []


def test_in_a_notebook_the_selection_that_comes_back_from_python_keeps_what_was_drawn(chromium, address, scene):
    low, high = points_of(scene).min(axis=0) / 2, points_of(scene).max(axis=0) / 2
    with opened(chromium, address) as (page, errors):
        page.evaluate(
            """async (code) => {
                const script = new Blob([code], { type: "text/javascript" });
                const { default: widget } = await import(URL.createObjectURL(script));
                const scene = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
                const values = { scene, selected: [] }, told = [];
                window.setSelected = (rows) => { values.selected = rows; told.forEach((listener) => listener()); };
                const model = { get: (name) => values[name], set: (_, rows) => window.setSelected(rows),
                    save_changes() {}, on: (_, listener) => told.push(listener), off() {} };
                document.body.replaceChildren(document.createElement("div"));
                widget.render({ model, el: document.body.firstChild });
            }""",
            (HERE / "explorer.js").read_text(encoding="utf-8"),
        )
        page.add_style_tag(content=(HERE / "explorer.css").read_text(encoding="utf-8"))
        rest(page, 300)
        (left, bottom), (right, top) = place(page, low), place(page, high)
        before = dark_pixels(page, left, top, bottom)
        page.get_by_label("select a box").check()
        drag(page, (left, bottom), (right, top))
        assert dark_pixels(page, left, top, bottom) > before + 0.3 * (bottom - top)
        page.evaluate("setSelected([3])")  # another selection, which nobody has drawn
        assert dark_pixels(page, left, top, bottom) <= before
        assert errors == []


def test_other_features_put_the_points_elsewhere_and_say_how_far_to_trust_them(chromium, address, scene):
    with opened(chromium, address) as (page, errors):
        first, of_h = drawn(page), page.locator(".trust").inner_text()
        page.get_by_label("noise", exact=True).check()
        rest(page, TRAVEL)
        assert drawn(page) != first
        of_noise = page.locator(".trust").inner_text()
        for text, view in zip((of_h, of_noise), scene["views"], strict=True):
            assert f"Trustworthiness of this picture (PCA): {view['trustworthiness']:.2f}; 1 means" in text
            assert f"{100 * view['overlap']:.0f} %" in text
        row = loner(points_of(scene, 1))
        page.mouse.move(*place(page, points_of(scene, 1)[row]))
        assert f"image {row}:" in page.locator(".tip").inner_text()
        page.get_by_label("h", exact=True).check()
        page.mouse.move(5, 5)
        rest(page, TRAVEL)
        assert drawn(page) == first
        assert errors == []


def test_the_film_moves_the_points_and_plays_to_its_end(chromium, address):
    with opened(chromium, address) as (page, errors):
        last = drawn(page)
        slider = page.get_by_label("moment of the training")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        rest(page, TRAVEL)
        assert page.locator(".film output").inner_text() == "epoch 1"
        assert drawn(page) != last
        page.get_by_role("button", name="play the training").click()
        page.wait_for_function("document.querySelector('.film output').textContent === 'epoch 2'")
        rest(page, TRAVEL)
        assert drawn(page) == last
        page.get_by_label("noise", exact=True).check()
        assert not slider.is_visible()  # it is the film of h
        assert errors == []


@pytest.mark.parametrize(("motion", "moments"), [("no-preference", ["epoch 0", "epoch 1", "epoch 2"]), ("reduce", [])])
def test_the_film_plays_once_when_it_is_seen_unless_the_reader_wants_no_motion(chromium, address, motion, moments):
    watch = """() => {
        const output = document.querySelector('.film output');
        window.seen = [];
        new MutationObserver(() => seen.at(-1) === output.textContent || seen.push(output.textContent))
            .observe(output, { childList: true, characterData: true, subtree: true });
    }"""
    with opened(chromium, address, viewport={"width": 900, "height": 300}, reduced_motion=motion) as (page, errors):
        rest(page, 300)
        assert page.locator(".film output").inner_text() == "epoch 2"  # it is not in view yet
        page.evaluate(watch)
        page.set_viewport_size({"width": 900, "height": 900})
        page.locator(".stage").scroll_into_view_if_needed()
        if moments:
            page.wait_for_function("seen.at(-1) === 'epoch 2'")
            assert page.get_by_role("button", name="play the training").is_visible()
        rest(page, 700)
        assert page.evaluate("seen") == moments
        assert errors == []


def test_zoomed_in_the_points_are_pictures(chromium, address, scene):
    row = loner(points_of(scene))
    colors_around = """([x, y]) => {
        const canvas = document.querySelector('.stage > canvas'), box = canvas.getBoundingClientRect();
        const pixels = canvas.getContext('2d').getImageData(x - box.x - 8, y - box.y - 8, 16, 16).data;
        return new Set(new Uint32Array(pixels.buffer)).size;
    }"""
    with opened(chromium, address) as (page, errors):
        where = place(page, points_of(scene)[row])
        page.locator(".stage > canvas").focus()
        rest(page)
        before = page.evaluate(colors_around, list(where))
        page.mouse.move(*where)
        page.mouse.wheel(0, -700)
        rest(page)
        assert page.evaluate(colors_around, list(where)) > before + 20  # a marker has one colour and a rim
        page.get_by_role("button", name="reset view").click()
        page.mouse.move(5, 5)
        rest(page)
        assert page.evaluate(colors_around, list(where)) == before
        assert errors == []


def test_two_fingers_zoom(chromium, address):
    with opened(chromium, address) as (page, errors):
        page.evaluate(
            """() => {
                const canvas = document.querySelector('.stage > canvas'), box = canvas.getBoundingClientRect();
                const send = (type, pointerId, x) => canvas.dispatchEvent(new PointerEvent(type, {
                    pointerId, pointerType: 'touch', isPrimary: pointerId === 1, bubbles: true,
                    clientX: box.x + x, clientY: box.y + 200 }));
                window.before = canvas.toDataURL();
                send('pointerdown', 1, 200);
                send('pointerdown', 2, 260);
                send('pointermove', 2, 380);
                send('pointerup', 1, 200);
                send('pointerup', 2, 380);
            }"""
        )
        rest(page)
        assert page.evaluate("document.querySelector('.stage > canvas').toDataURL() !== window.before")
        page.get_by_role("button", name="reset view").click()
        rest(page)
        assert page.evaluate("document.querySelector('.stage > canvas').toDataURL() === window.before")
        assert errors == []


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium, address):
    with opened(chromium, address, viewport={"width": 375, "height": 667}) as (page, errors):
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert errors == []


def test_search_and_legend_filter_the_classes(chromium, address, scene):
    with opened(chromium, address) as (page, errors):
        everything = drawn(page)
        page.get_by_label("search classes").fill("heart")
        assert [t.strip() for t in page.locator(".legend label").all_inner_texts()] == ["dotted heart (20)"]
        assert drawn(page) != everything
        page.get_by_label("search classes").fill("no such thing")
        assert "no class is called “no such thing”" in page.locator(".legend").inner_text()
        page.get_by_label("search classes").fill("")
        assert drawn(page) == everything
        row = loner(points_of(scene))
        page.locator(".legend label").nth(row % 10).click()
        page.mouse.move(*place(page, points_of(scene)[row]))
        rest(page)
        assert f"image {row}:" not in page.locator(".tip").inner_text()  # it is not there to be pointed at
        page.get_by_role("button", name="none").click()
        page.mouse.move(5, 5)
        empty = drawn(page)
        page.get_by_role("button", name="all", exact=True).click()
        assert drawn(page) == everything != empty
        assert errors == []


def test_an_image_of_a_hidden_class_has_no_ring(chromium, address, scene):
    row = loner(points_of(scene))
    with opened(chromium, address) as (page, errors):
        checkbox = page.locator(".legend input").nth(row % 10)
        checkbox.uncheck()
        hidden = drawn(page)
        checkbox.check()
        page.mouse.click(*place(page, points_of(scene)[row]))
        page.mouse.move(5, 5)
        ringed = drawn(page)
        checkbox.uncheck()
        assert drawn(page) == hidden != ringed
        assert errors == []


def test_after_a_click_the_tip_is_gone_and_stays_away_from_that_image(chromium, address, scene):
    row = loner(points_of(scene))
    with opened(chromium, address) as (page, errors):
        x, y = place(page, points_of(scene)[row])
        page.mouse.move(x, y)
        page.locator(".tip").wait_for(state="visible")
        page.mouse.click(x, y)
        assert page.locator(".tip").is_hidden()
        page.mouse.move(x + 1, y + 1)
        assert page.locator(".tip").is_hidden()
        assert f"image {row}: " in page.locator(".current").inner_text()
        assert errors == []


@pytest.mark.parametrize("width", [1200, 375])
def test_the_legend_is_directly_below_the_choice_of_colours(chromium, address, width):
    with opened(chromium, address, viewport={"width": width, "height": 1400}) as (page, errors):
        page.locator("select").select_option("knn")
        select, key, legend, stage = (
            page.locator(name).bounding_box() for name in ("select", ".key", ".legend", ".stage")
        )
        assert select["y"] + select["height"] <= legend["y"] < select["y"] + 160
        assert key["y"] < legend["y"] + 1
        assert legend["y"] + legend["height"] <= stage["y"]
        text = "● right, ✕ wrong: the class that an image's nearest neighbours vote for"
        assert page.locator(".key").inner_text() == text
        assert errors == []


def test_wrong_points_lie_above_right_ones(chromium, tmp_path):
    h, points = clusters(200, spread=0.05), torch.randn(200, 2, generator=seeded(4))
    wrong, right = 0, slice(10, 200, 10)
    h[wrong] = h[1]  # it looks like an image of the next class
    points[right] = points[wrong]
    scene = make_scene(load_dataset("emblems", "test", limit=200), {"h": h}, {"h": points})
    (tmp_path / "page.html").write_text(html_page(scene), encoding="utf-8")
    votes = np.frombuffer(scene["views"][0]["predicted"], "<i2")
    assert [row for row in range(200) if votes[row] != row % 10] == [wrong]
    color = """([x, y]) => {
        const canvas = document.querySelector('.stage > canvas'), box = canvas.getBoundingClientRect();
        return [...canvas.getContext('2d').getImageData(x - box.x, y - box.y, 1, 1).data].slice(0, 3);
    }"""
    with opened(chromium, (tmp_path / "page.html").as_uri()) as (page, errors):
        page.locator("select").select_option("knn")
        rest(page)
        assert page.evaluate(color, list(place(page, points_of(scene)[wrong]))) == [0xD5, 0x5E, 0]
        assert errors == []


@pytest.mark.parametrize(("scheme", "lowest"), [("light", "rgb(0, 34, 78)"), ("dark", "rgb(70, 105, 175)")])
def test_a_metric_has_a_bar_of_its_colours_between_the_ends_of_its_middle_range(
    chromium, address, scene, scheme, lowest
):
    with opened(chromium, address, color_scheme=scheme) as (page, errors):
        page.locator("select").select_option("metric")
        ends = [float(number) for number in re.findall(r"[≤≥] ([\d.]+)", page.locator(".key").inner_text())]
        assert ends == pytest.approx([scene["metric"]["low"], scene["metric"]["high"]], rel=0.005)
        bar = page.locator(".bar").evaluate("bar => getComputedStyle(bar).backgroundImage")
        assert bar == f"linear-gradient(to right, {lowest}, rgb(125, 124, 120), rgb(254, 232, 56))"
        assert page.locator(".bar").bounding_box()["width"] > 100
        assert errors == []


def test_a_trustworthiness_close_to_one_has_three_decimals(chromium, tmp_path):
    data, h = load_dataset("emblems", "test", limit=200), clusters(200)
    scene = make_scene(data, {"h": h}, method="pca")
    for value, text in ((0.9968, "0.997"), (0.9874, "0.99")):
        scene["views"][0]["trustworthiness"] = value
        (tmp_path / "page.html").write_text(html_page(scene), encoding="utf-8")
        with opened(chromium, (tmp_path / "page.html").as_uri()) as (page, errors):
            assert f"Trustworthiness of this picture (PCA): {text}; 1 means" in page.locator(".trust").inner_text()
            assert errors == []


def test_every_colouring_is_another_picture(chromium, address):
    with opened(chromium, address) as (page, errors):
        pictures = set()
        for coloring in ("class", "knn", "metric"):
            page.locator("select").select_option(coloring)
            pictures.add(drawn(page))
        assert len(pictures) == 3
        assert errors == []


def test_all_of_it_works_with_the_keyboard(chromium, address):
    with opened(chromium, address) as (page, errors):
        canvas = page.locator(".stage > canvas")
        canvas.focus()
        at_start = drawn(page)
        page.keyboard.press("ArrowRight")
        first = page.locator(".status").inner_text()
        assert re.fullmatch(r"image \d+: .*", first)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        assert page.locator(".status").inner_text() != first
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.closest('.details li') !== null")
        page.keyboard.press("Enter")  # the nearest neighbour becomes the current image
        assert page.locator(".details li").count() == 10
        canvas.focus()
        page.keyboard.press("Escape")
        assert drawn(page) == at_start
        for key in ("+", "-", "Shift+ArrowLeft"):
            page.keyboard.press(key)
            assert drawn(page) != at_start or key == "-"
        page.keyboard.press("0")
        assert drawn(page) == at_start
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") != "CANVAS"  # nobody is caught in the picture
        assert page.get_by_role("application").get_attribute("aria-label") == "Emblems: 200 images as points"
        assert errors == []


def test_the_wheel_zooms_around_the_pointer_and_dragging_moves(chromium, address, scene):
    row = loner(points_of(scene))
    with opened(chromium, address) as (page, errors):
        x, y = place(page, points_of(scene)[row])
        page.mouse.move(x, y)
        page.mouse.wheel(0, -400)
        page.locator(".note").wait_for(state="visible")  # it scrolls the page, and says how it would zoom
        page.locator(".stage > canvas").focus()
        page.mouse.wheel(0, -400)
        page.mouse.move(x + 1, y)
        assert f"image {row}:" in page.locator(".tip").inner_text()  # what was under the pointer still is
        page.mouse.down()
        page.mouse.move(x + 60, y + 40, steps=3)
        page.mouse.up()
        page.mouse.move(x + 59, y + 40)
        assert f"image {row}:" in page.locator(".tip").inner_text()
        page.keyboard.press("ArrowRight")
        page.locator(".tip").wait_for(state="hidden")  # another image is the current one
        assert errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_theme_of_the_browser(chromium, address, scheme):
    with opened(chromium, address, color_scheme=scheme) as (page, errors):
        ground = page.evaluate(
            "[...document.querySelector('.stage > canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
        )
        ink = [
            int(n)
            for n in re.findall(r"\d+", page.evaluate("getComputedStyle(document.querySelector('.trust')).color"))
        ][:3]
        assert (sum(ground[:3]) > 600) == (scheme == "light")
        assert abs(sum(ground[:3]) - sum(ink)) > 450
        page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        rest(page)
        now = page.evaluate(
            "[...document.querySelector('.stage > canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
        )
        assert (sum(now[:3]) > 600) == (scheme == "dark")
        assert errors == []


def test_at_two_hundred_per_cent_nothing_is_cut_off(chromium, address, scene):
    with opened(chromium, address, device_scale_factor=2) as (page, errors):
        page.set_viewport_size({"width": 600, "height": 450})
        rest(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        row = loner(points_of(scene))
        page.locator(".stage > canvas").scroll_into_view_if_needed()
        page.mouse.move(*place(page, points_of(scene)[row]))
        assert f"image {row}:" in page.locator(".tip").inner_text()
        assert errors == []


def test_two_hundred_toggles_leave_no_memory_behind(chromium, address):
    used = "() => { gc(); return performance.memory.usedJSHeapSize; }"
    toggle = """async (times) => {
        const [first, second] = document.querySelectorAll('.views input');
        for (let i = 0; i < times; i++) {
            (i % 2 ? first : second).click();
            await new Promise((done) => setTimeout(done, 5));
        }
    }"""
    with opened(chromium, address) as (page, errors):
        page.evaluate(toggle, 20)
        before = page.evaluate(used)
        page.evaluate(toggle, 200)
        assert page.evaluate(used) < before + 2e6
        assert errors == []


def test_thousands_of_points_are_one_picture_a_frame_however_fast_they_are_moved(chromium, tmp_path):
    """Fifty events between two frames cost one drawing, which hands the browser finished pixels, not 2,000 shapes."""
    points = torch.randn(2000, 2, generator=seeded(3)) / 3
    scene = make_scene(load_dataset("emblems", "test", limit=2000), {"h": clusters(2000)}, {"h": points})
    (tmp_path / "many.html").write_text(html_page(scene), encoding="utf-8")
    calls_of_a_frame = """(event) => new Promise((done) => {
        const canvas = document.querySelector('.stage > canvas'), box = canvas.getBoundingClientRect();
        canvas.focus();
        const context = canvas.getContext('2d'), calls = {};
        const methods = Object.getOwnPropertyDescriptors(CanvasRenderingContext2D.prototype);
        for (const [name, { value: original }] of Object.entries(methods)) {
            if (typeof original !== 'function') continue;
            context[name] = (...values) => {
                calls[name] = (calls[name] ?? 0) + 1;
                return original.apply(context, values);
            };
        }
        for (let i = 0; i < 50; i++) {
            canvas.dispatchEvent(event === 'wheel' ?
                new WheelEvent('wheel', { deltaY: -5, cancelable: true,
                    clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 }) :
                new KeyboardEvent('keydown', { key: 'ArrowRight', shiftKey: true }));
        }
        requestAnimationFrame(() => requestAnimationFrame(() => done(calls)));
    })"""
    with opened(chromium, (tmp_path / "many.html").as_uri()) as (page, errors):
        for event in ("wheel", "keydown"):
            before = drawn(page)
            calls = page.evaluate(calls_of_a_frame, event)
            assert 1 <= calls["putImageData"] <= 2  # two where the thumbnails arrive just then
            assert sum(calls.values()) < 10
            assert drawn(page) != before
        assert errors == []


# ---- In JupyterLab ------------------------------------------------------------------------------------------

CELL = """
import torch
from simclr_lib.data import load_dataset
from simclr_lib.teaching.explorer import Explorer
h = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
explorer = Explorer(load_dataset("emblems", "test", limit=50), {"h": h, "other": -h[:, :3]}, method="pca")
explorer
"""


PICTURE = """
import matplotlib.pyplot as plt
from simclr_lib.teaching.notebook import show

show(plt.figure(), "An empty figure, without <axes>.")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab with one notebook; its address."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [
        nbformat.v4.new_code_cell(CELL),
        nbformat.v4.new_code_cell("print('selected:', sorted(explorer.selected))"),
        nbformat.v4.new_code_cell(PICTURE),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "explorer.ipynb")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
    ]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data")}
    server = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        with suppress(OSError):
            json.load(urllib.request.urlopen(f"{address}/api", timeout=1))
            break
        time.sleep(0.5)
    yield f"{address}/lab/workspaces/test/tree/explorer.ipynb"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(20)


def run_cell(page, number):
    """Run a cell; JupyterLab ignores keys until all of it is there, so press them until it has heard.

    It may first say something in a dialog, such as that it starts a kernel again whose port was taken.
    """
    cell = page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
    cell.wait_for(timeout=90_000)
    heard = cell.locator(".jp-InputPrompt", has_text=re.compile(r"[*\d]"))
    dialogs = []
    for _ in range(20):
        for dialog in page.locator(".jp-Dialog").all():
            dialogs.append(dialog.inner_text())
            dialog.locator(".jp-mod-accept").click()
        with suppress(Exception):
            cell.locator(".jp-InputArea-editor").click(timeout=5_000)
            page.keyboard.press("Control+Enter")
            heard.wait_for(timeout=3_000)
            return
    raise AssertionError(f"cell {number} does not run; dialogs: {dialogs}")


@pytest.mark.slow
def test_in_jupyterlab_a_selection_comes_back_to_python(chromium, lab):
    context = chromium.new_context(viewport={"width": 1400, "height": 1200})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lab, timeout=90_000)
    run_cell(page, 0)
    canvas = page.locator(".simclr-explorer .stage > canvas")
    canvas.wait_for(timeout=90_000)
    canvas.scroll_into_view_if_needed()
    rest(page, 500)
    box = canvas.bounding_box()
    page.get_by_label("select a box").check()
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 3, steps=4)
    page.mouse.up()
    count = int(page.locator(".simclr-explorer .status").inner_text().split()[0])
    assert 0 < count < 50
    page.get_by_label("other", exact=True).check()
    run_cell(page, 1)
    output = page.locator(".jp-OutputArea-output pre", has_text="selected:")
    output.wait_for(timeout=90_000)
    assert len(json.loads(output.inner_text().removeprefix("selected: "))) == count
    assert errors == []
    context.close()


@pytest.mark.slow
def test_in_jupyterlab_a_picture_has_its_description(chromium, lab):
    page = chromium.new_page()
    page.goto(lab, timeout=90_000)
    run_cell(page, 2)
    picture = page.get_by_role("img", name="An empty figure, without <axes>.")
    picture.wait_for(timeout=90_000)
    page.close()


def test_in_an_exported_page_every_picture_has_its_description(chromium, tmp_path):
    notebook = NOTEBOOKS / "10_after_simclr.ipynb"
    page, _ = HTMLExporter().from_filename(str(notebook))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    outputs = [output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", [])]
    described = [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]
    assert described
    with opened(chromium, (tmp_path / "page.html").as_uri(), offline=True) as (page, _):
        assert page.locator("img").evaluate_all("all => all.map((one) => one.alt)") == described


def test_drawn_before_it_is_on_the_page_it_takes_the_pages_colors_when_it_gets_there(chromium, address):
    """As a notebook does when a cell is run again."""
    code = (HERE / "explorer.js").read_text(encoding="utf-8")
    with opened(chromium, address, color_scheme="light") as (page, errors):
        page.evaluate(
            """async (code) => {
                const script = new Blob([code], { type: "text/javascript" });
                const { default: widget } = await import(URL.createObjectURL(script));
                const scene = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
                const get = (name) => name === "scene" ? scene : [];
                const model = { get, set() {}, save_changes() {}, on() {}, off() {} };
                const place = document.createElement("div");
                widget.render({ model, el: place });
                document.body.append(place);
                place.id = "late";
            }""",
            code,
        )
        rest(page, 500)
        ground = page.evaluate(
            "[...document.querySelector('#late .stage > canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
        )
        assert sum(ground[:3]) > 600
        assert not page.evaluate("document.querySelector('#late > *').classList.contains('dark')")
        assert errors == []


def test_jupyter_notebook_leaves_the_keys_to_all_that_takes_them(chromium, address):
    """Its shortcuts listen before anybody else does, but not on elements that say so (Lumino's attribute)."""
    with opened(chromium, address) as (page, _):
        focusable = page.locator(".simclr-explorer :is(canvas[tabindex], button, input, select)")
        marks = focusable.evaluate_all("all => all.map((one) => one.getAttribute('data-lm-suppress-shortcuts'))")
        assert len(marks) > 5
        assert set(marks) == {"true"}
