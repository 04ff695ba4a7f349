"""Claim: the report works in a browser without network, at desktop and phone width.

    python benchmarks/report_browser.py results/report/index.html --axe axe.min.js [--shots DIR]

Headless Chromium opens the page offline, in light and dark mode, at 1280 and 390 pixels: console
errors, players whose time advances, figures that are drawn, interactive curves that answer to the
mouse, previews of a training that follow the keys of their slider, content wider than the page,
serious findings of axe-core, size of the page. Needs `pip install playwright`, Debian's chromium,
and axe.min.js of the npm package axe-core.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
MAX_MEGABYTES = 20
PLAYED = """async () => {
  const found = [];
  for (const video of document.querySelectorAll("video")) {
    video.scrollIntoView(); video.muted = false;
    try { await video.play(); } catch (error) { found.push([video.ariaLabel, String(error)]); }
    for (let tries = 0; tries < 100 && video.currentTime < 0.2 && !video.ended; tries++)
      await new Promise((done) => setTimeout(done, 100));
    if (video.currentTime <= 0 || !video.videoWidth) found.push([video.ariaLabel, "stands still"]);
    video.pause();
  }
  return [document.querySelectorAll("video").length, found];
}"""
DRAWN = """() => {
  const bad = [];
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
  const svgs = [...document.querySelectorAll("svg")].filter((s) => !s.closest(".live"));
  for (const svg of svgs) {
    const box = svg.getBoundingClientRect();
    if (box.width < 100 || box.height < 50 || svg.children.length < 3) bad.push(svg.ariaLabel);
  }
  const canvases = [...document.querySelectorAll(".live canvas")];
  for (const canvas of canvases) {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let inked = 0;
    for (let i = 3; i < data.length; i += 4) inked += data[i] > 0;
    if (inked < 500) bad.push(canvas.closest(".chart").querySelector("svg").ariaLabel);
  }
  const images = [...document.images].filter((image) => !image.naturalWidth);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return [svgs.length, canvases.length, bad.concat(images.map((image) => image.alt)), wide];
}"""
AXE = """async () => {
  const found = await axe.run();
  const told = (v) => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 140)];
  return found.violations.map(told);
}"""


def check(page: Any, axe: str, shots: Path | None, name: str) -> dict[str, Any]:
    """Open the page that `page` was sent to and measure it."""
    videos, stuck = page.evaluate(PLAYED)
    svgs, canvases, bad, wide = page.evaluate(DRAWN)
    hover = interact(page) if canvases else "no curves"
    slid = slide(page) if page.locator(".previews").count() else ""
    page.evaluate(axe)
    findings = page.evaluate(AXE)
    if shots:
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=str(shots / f"{name}.png"), full_page=True)
    return {
        "players": f"{videos - len(stuck)} of {videos}",
        "figures": svgs + canvases,
        "curves": canvases,
        "not drawn": bad,
        "stuck": stuck,
        "too wide": wide,
        "hover": "; ".join(filter(None, (hover, slid))),
        "axe": findings,
    }


def interact(page: Any) -> str:
    """Hover over the first curve, switch a line off, zoom and reset; "" if all answered."""
    figure = page.locator("figure:has(.live)").first
    figure.scroll_into_view_if_needed()
    box, faults = figure.locator(".u-over").bounding_box(), []
    button = figure.locator(".legend button").first
    idle = button.inner_text()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(100)
    if "step" not in figure.locator(".step").inner_text() or not idle:
        faults.append("no value at the cursor")
    button.click()
    if button.get_attribute("aria-pressed") != "false":
        faults.append("the legend does not switch")
    button.click()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=5)
    page.mouse.up()
    reset = figure.locator(".reset")
    if not reset.is_visible():
        faults.append("no zoom")
    else:
        reset.click()
        if reset.is_visible():
            faults.append("no reset of the zoom")
    return "; ".join(faults)


def slide(page: Any) -> str:
    """Move the slider of the first previews by the keyboard; "" if one video follows it."""
    figure, faults = page.locator(".previews").first, []
    figure.scroll_into_view_if_needed()
    slider = figure.get_by_label("Training step")
    moments, shown = figure.locator(".moment"), figure.locator(".moment:visible")
    last, video = moments.count() - 1, "each => each.querySelector('video').currentTime"
    if shown.count() != 1 or shown.get_attribute("data-step") not in shown.inner_text():
        faults.append("not one preview is shown")
    shown.evaluate("each => { each.querySelector('video').currentTime = 0.8; }")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    before = moments.nth(last - 1)
    if shown.count() != 1 or not before.is_visible():
        faults.append("the arrow key does not slide")
    page.wait_for_timeout(200)
    if abs(before.evaluate(video) - 0.8) > 0.1:
        faults.append("another moment of the video is shown")
    step = before.get_attribute("data-step")
    if slider.get_attribute("aria-valuetext") != f"step {step}":
        faults.append("the slider does not tell its step")
    page.keyboard.press("Home")
    if not moments.first.is_visible():
        faults.append("Home is not the first preview")
    page.keyboard.press("End")
    button = figure.get_by_role("button")
    button.press("Enter")
    page.wait_for_timeout(300)
    if button.inner_text() != "Pause" or moments.nth(last).evaluate(video) <= 0:
        faults.append("the button does not play")
    slider.press("Home")
    page.wait_for_timeout(300)
    if button.inner_text() != "Pause":
        faults.append("sliding stops the video")
    button.press("Enter")
    return "; ".join(faults)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js")
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    axe = options.axe.read_text(encoding="utf-8")
    megabytes = options.page.stat().st_size / 1e6
    print(f"{options.page}: {megabytes:.1f} MB (at most {MAX_MEGABYTES})")
    print(
        f"{'width':>5s} {'mode':5s} {'console errors':>14s} {'players':>9s} {'figures':>8s} "
        f"{'curves':>7s} {'not drawn':>9s} {'too wide':>8s} {'axe serious':>11s} {'others':>6s}"
    )
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        for width in WIDTHS:
            for scheme in SCHEMES:
                size = {"width": width, "height": 900}
                context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
                page, errors = context.new_page(), []
                page.on("console", lambda m, e=errors: m.type == "error" and e.append(m.text))
                page.on("pageerror", lambda error, e=errors: e.append(str(error)))
                page.goto(options.page.resolve().as_uri())
                found = check(page, axe, options.shots, f"{width}_{scheme}")
                serious = [f for f in found["axe"] if f[0] in ("serious", "critical")]
                print(
                    f"{width:5d} {scheme:5s} {len(errors):14d} {found['players']:>9s} "
                    f"{found['figures']:8d} {found['curves']:7d} {len(found['not drawn']):9d} "
                    f"{found['too wide']:8d} {len(serious):11d} "
                    f"{len(found['axe']) - len(serious):6d}"
                )
                for line in (*errors, *found["not drawn"], *found["stuck"], *found["axe"]):
                    print(f"      {line}")
                if found["hover"]:
                    print(f"      {found['hover']}")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
