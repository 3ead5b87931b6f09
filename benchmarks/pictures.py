"""The pictures in docs/explain.md: pages of two networks, photographed in chromium.

    python benchmarks/pictures.py [--folder docs/images]

Needs the extra `html`, Playwright for Python, and a program `chromium` or `chromium-browser`. Run
it on a quiet machine: one of the pictures shows times.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PAGES = {
    "resnet50": ("--time", "--images", "none"),
    "inception_resnet_v2": ("--no-time", "--images", "none"),
    "efficientnet_lite0": (),
}
"""What a page is made of, besides its defaults."""

# The picture, the page that it is of, and the section.
SHOTS = (
    ("resnet50-picture", "resnet50", "picture"),
    ("inception-resnet-v2-picture", "inception_resnet_v2", "picture"),
    ("lite0-picture", "efficientnet_lite0", "picture"),
    ("lite0-one", "efficientnet_lite0", "one"),
    ("lite0-speed", "efficientnet_lite0", "speed"),
    ("lite0-information", "efficientnet_lite0", "information"),
)


def main() -> None:
    """Make the pages, then the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    folder = parser.parse_args().folder
    folder.mkdir(exist_ok=True)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        pages = {name: _make(name, Path(temporary)) for name in PAGES}
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, network, section in SHOTS:
            _shoot(browser, pages[network], f"#{section}", folder / f"{name}.png")
        browser.close()


def _make(network: str, folder: Path) -> Path:
    page = folder / f"{network}.html"
    command = [sys.executable, "-m", "onebyone", "explain", network, *PAGES[network]]
    subprocess.run([*command, "--html", str(page)], check=True, stdout=subprocess.DEVNULL)
    return page


def _shoot(browser: Browser, page: Path, section: str, picture: Path) -> None:
    context = browser.new_context(viewport={"width": 1180, "height": 900}, color_scheme="light")
    shown = context.new_page()
    shown.goto(page.resolve().as_uri())
    shown.evaluate("document.querySelector('nav').style.position = 'static'")  # it would cover
    shown.locator(section).screenshot(path=picture)
    context.close()


if __name__ == "__main__":
    main()
