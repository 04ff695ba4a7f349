"""Claim: the page dubs in a browser, refuses what it should, and leaves no files behind.

    python benchmarks/serve_browser.py --face F.mp4 --audio A.wav --checkpoint C [--shots DIR]

Starts `lipsync serve` and visits it with headless Chromium at 1280 and 390 pixels: upload, click on
the face, dub, play, download; hostile uploads; two visits at once; visits that end; servers that
are terminated and killed. Needs `pip install playwright` and Debian's chromium; with --axe FILE
(axe.min.js of the npm package axe-core) it lists what that finds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image

WIDTHS = (1280, 390)
LIMIT_MB = 40
SECONDS = 1000  # milliseconds of Playwright's timeouts
PLAYED = """async () => {
  const video = document.querySelector(".result video");
  video.muted = true;
  await video.play();
  await new Promise((done) => setTimeout(done, 700));
  return [video.currentTime, video.duration, video.videoWidth];
}"""
AXE = """async () => (await axe.run()).violations.map(
  (v) => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 140)])"""
failures: list[str] = []


def report(claim: str, good: bool, fact: object = "") -> None:
    """Print one line about a claim."""
    if not good:
        failures.append(claim)
    print(f"{'PASS' if good else 'FAIL'}  {claim}{f': {fact}' if fact != '' else ''}", flush=True)


@contextlib.contextmanager
def serving(options: argparse.Namespace, temporary: Path) -> Iterator[tuple[Any, str]]:
    """The running server and its address."""
    command = [sys.executable, "-m", "lipsync_core.cli", "serve", "--port", "0"]
    command += ["--checkpoint", str(options.checkpoint), "--max-mb", str(LIMIT_MB)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stderr=log, env=environment) as server,
    ):
        try:
            yield server, _address(server, log)
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait(30)


def _address(server: Any, log: Any) -> str:
    for _ in range(600):
        log.seek(0)
        text = log.read()
        if match := re.search(r"http://\S+:\d+", text):
            return match[0]
        if server.poll() is not None:
            raise SystemExit(f"the server has ended:\n{text}")
        time.sleep(0.1)
    raise SystemExit("no address after a minute")


def wait_for(condition: Callable[[], Any], seconds: float = 15) -> bool:
    """Whether `condition` comes true in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def files_in(folder: Path) -> list[str]:
    """Names of the files of visits."""
    found = folder.glob("lipsync-serve-*/**/*")
    return sorted(f.name for f in found if f.is_file() and f.name != "lock")


class Visit:
    """One page of the browser, with what went wrong in it."""

    def __init__(self, browser: Any, address: str, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda r: self.hosts.add(r.url.partition("://")[2].split("/")[0]))
        self.page.goto(address)
        self.see("Drop a face and a sound")

    def see(self, text: str, seconds: float = 60) -> str:
        """Wait for a text in the line of status; return that line."""
        found = self.page.locator(f".note:has-text('{text}')").first
        found.wait_for(timeout=seconds * SECONDS)
        return found.inner_text()

    def drop(self, part: int, file: Path) -> None:
        """Give a file to the first (face, 0) or last (sound, -1) upload of the page."""
        inputs = self.page.locator("input[type=file]")
        inputs.nth(0 if part == 0 else inputs.count() - 1).set_input_files(str(file))

    def ready(self, options: argparse.Namespace) -> None:
        """Upload face and sound."""
        self.drop(0, options.face)
        self.see("Click on the face")
        self.drop(-1, options.audio)
        self.see("The sound is here")

    def dub(self) -> None:
        """Press the button."""
        self.page.get_by_role("button", name="Dub", exact=True).click()


def check_dubbing(browser: Any, address: str, options: argparse.Namespace, width: int) -> None:
    """From upload to download."""
    visit = Visit(browser, address, width)
    page = visit.page
    shoot(page, options, f"{width}_empty")
    visit.ready(options)
    place = page.get_by_alt_text("First frame").bounding_box()
    before = page.get_by_alt_text("First frame").get_attribute("src")
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    changed = wait_for(lambda: page.get_by_alt_text("First frame").get_attribute("src") != before)
    report(f"{width} px: a click chooses a face", changed)
    page.get_by_text("Options").click()
    shoot(page, options, f"{width}_ready")
    visit.dub()
    report(f"{width} px: rate and time left", True, visit.see("left"))
    shoot(page, options, f"{width}_running")
    visit.see("Done", 300)
    time_, length, pixels = page.evaluate(PLAYED)
    report(f"{width} px: plays", time_ > 0 and pixels > 0, f"{length:.2f} s, {pixels} px wide")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    size = download.value.path().stat().st_size
    report(f"{width} px: downloads", size > 1000, f"{size / 1e6:.2f} MB")
    shoot(page, options, f"{width}_done")
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    report(f"{width} px: not wider than the screen", wide <= 0)
    report(f"{width} px: no error in the console", not visit.errors, visit.errors or "")
    report(f"{width} px: no request to another host", len(visit.hosts) == 1, visit.hosts)
    if options.axe:
        # By the debugger: the page itself loads no script from elsewhere.
        page.evaluate(options.axe.read_text(encoding="utf-8"))
        found = page.evaluate(AXE)
        # Gradio names its drop areas otherwise than their text; that cannot be set.
        serious = [
            each
            for each in found
            if each[0] in ("serious", "critical") and each[1] != "label-content-name-mismatch"
        ]
        report(f"{width} px: axe-core finds nothing serious", not serious, found)
    visit.context.close()


def shoot(page: Any, options: argparse.Namespace, name: str) -> None:
    """Take a screenshot of the whole page."""
    if options.shots:
        page.screenshot(path=str(options.shots / f"{name}.png"), full_page=True)


def hostile_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Claim -> a file that is refused, and a part of what the visitor is told."""
    paths = {
        name: folder / name
        for name in ("text.mp4", "bomb.mp4", "huge.mp4", "drawing.mp4", "list.mp4", "bomb.png")
    }
    paths["text.mp4"].write_text("this is no video\n" * 99)
    with zipfile.ZipFile(paths["bomb.mp4"], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(64 << 20))
    with open(paths["huge.mp4"], "wb") as stream:
        stream.truncate(2 << 30)
    paths["drawing.mp4"].write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>')
    paths["list.mp4"].write_text("#EXTM3U\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    PIL.Image.new("1", (16_000, 16_000)).save(paths["bomb.png"])
    named = folder / "..\\x.mp4"
    named.write_bytes(b"....ftyp")
    kind = "not a media file"
    return {
        "text named .mp4": (paths["text.mp4"], kind),
        "a zip bomb named .mp4": (paths["bomb.mp4"], kind),
        "a drawing (SVG) named .mp4": (paths["drawing.mp4"], kind),
        "a playlist named .mp4": (paths["list.mp4"], kind),
        "a picture of 256 million pixels": (paths["bomb.png"], "too many"),
        "a file of 2 GB": (paths["huge.mp4"], "exceed the maximum allowed size"),
        "a name with ..\\": (named, "rename it"),
    }


def check_refusals(browser: Any, address: str, options: argparse.Namespace, folder: Path) -> None:
    """Hostile uploads, in the browser and without one."""
    for claim, (file, told) in hostile_files(folder).items():
        visit = Visit(browser, address)
        visit.drop(0, file)
        found = visit.page.get_by_text(told).first
        with contextlib.suppress(Exception):  # Playwright's own timeout is the failure
            found.wait_for(timeout=30 * SECONDS)
        text = " ".join(found.inner_text().split()) if found.count() else "nothing told"
        polite = told in text and "Traceback" not in text and "/" not in text.replace(" / ", "")
        report(f"{claim} is refused", polite, text[:150])
        shoot(visit.page, options, f"refused_{file.name.replace(os.sep, '_')}")
        visit.context.close()
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../x.mp4"\r\n\r\n'
    status, text = post(f"{address}/gradio_api/upload", part + b"content\r\n--x--\r\n")
    report("../../x.mp4 is refused", status == 400, text)
    status, text = post(f"{address}/gradio_api/upload", b"", length=2 << 30)
    report("2 GB without a browser are refused at once", status == 413, text)
    for path in ("/gradio_api/file=/etc/passwd", "/gradio_api/proxy=https://example.org/"):
        status, text = post(address + path, None)
        report(f"{path} is closed", status == 404, text)


def post(address: str, body: bytes | None, length: int | None = None) -> tuple[int, str]:
    """Status and text of a request; a GET without a body."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"} if body is not None else {}
    if length is not None:
        headers["Content-Length"] = str(length)
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(200).decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read(200).decode()


def check_visits(browser: Any, address: str, options: argparse.Namespace, folder: Path) -> None:
    """Two visits at once, and a visit that ends during its dubbing."""
    first, second = Visit(browser, address), Visit(browser, address)
    for visit in (first, second):
        visit.ready(options)
    first.dub()
    first.see("left")
    second.dub()
    report("a second visit waits", True, second.see("before yours"))
    shoot(second.page, options, "waiting")
    first.context.close()
    report("a visit that ends frees the queue", bool(second.see("left")))
    second.page.get_by_role("button", name="Stop", exact=True).click()
    report("Stop stops", True, second.see("Stopped"))
    report(
        "files of the closed visit are removed",
        wait_for(lambda: files_in(folder).count(options.face.name) == 1),
        files_in(folder),
    )
    second.context.close()
    report("and those of the last one", wait_for(lambda: not files_in(folder)), files_in(folder))


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("face", "audio", "checkpoint"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--axe", type=Path, help="axe.min.js")
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own, sync_playwright() as playwright:
        folder = Path(own) / "server"
        folder.mkdir()
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        with serving(options, folder) as (server, address):
            modes = {oct(f.stat().st_mode & 0o777) for f in folder.glob("lipsync-serve-*")}
            report("the server's folder is private", modes == {"0o700"}, modes)
            for width in WIDTHS:
                check_dubbing(browser, address, options, width)
            check_refusals(browser, address, options, Path(own))
            check_visits(browser, address, options, folder)
            visit = Visit(browser, address)
            visit.ready(options)
            server.terminate()
            report("a terminated server ends", server.wait(30) is not None, server.returncode)
            left = list(folder.glob("lipsync-serve-*/*/"))
            report("and leaves nothing", not left, left)
        with serving(options, folder) as (server, address):
            visit = Visit(browser, address)
            visit.ready(options)
            server.send_signal(signal.SIGKILL)
            server.wait()
            report("a killed server leaves files", bool(files_in(folder)), files_in(folder))
        with serving(options, folder):
            report("the next one removes them", not files_in(folder), files_in(folder))
        browser.close()
    print(f"{len(failures)} failures" if failures else "all claims hold")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
