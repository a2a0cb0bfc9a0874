"""Make `docs/report.png` from a report: `python docs/make_report_picture.py var/runs/BOOK/report.html docs/report.png`.

Needs Chromium and, only for this, `pip install playwright`. The picture shows the top of the page, 1600 pixels wide, in its
light colours.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

WIDTH, HEIGHT = 1600, 1690
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]


def main() -> int:
    """Write the picture; 1 and a sentence about what to do where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="an HTML report of `ost run`")
    parser.add_argument("picture", type=Path, nargs="?", default=Path(__file__).with_name("report.png"))
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None), help="path of Chromium")
    given = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        return _failed(f"{error.name} is not installed; this script needs: pip install playwright")
    if given.browser is None:
        return _failed(f"no browser found (looked for {', '.join(BROWSERS)}); install Chromium or name it with --browser")
    if not given.report.is_file():
        return _failed(f"no report at {given.report}; `ost run` writes one and prints where")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.browser, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(given.report.resolve().as_uri())
        page.wait_for_selector("figure:nth-of-type(2) .main-svg")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))")
        page.screenshot(path=given.picture)
        browser.close()
    print(f"{given.picture}: {WIDTH} x {HEIGHT}, {given.picture.stat().st_size / 1000:.0f} kB")
    return 0


def _failed(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
