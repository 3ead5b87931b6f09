"""A real browser without a window: Debian's chromium, led by Playwright."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
DESKTOP, PHONE = (1280, 900), (390, 844)


def program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def missing() -> str:
    """Say what has to be installed first; "" where there is a browser."""
    return "" if program() else "no program 'chromium': apt-get install chromium"


@dataclass(slots=True)
class Visit:
    """A page that is open, what it has asked for since, and what it has complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def open_browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, path: Path, *, size: tuple[int, int] = DESKTOP, scheme: str = "light"
) -> Generator[Visit]:
    """Open a file, and note every request but the one for itself, and every complaint."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
    )
    try:
        page = context.new_page()
        page.set_default_timeout(10_000)
        found = Visit(page)
        url = path.as_uri()
        page.on("request", lambda request: _note(found.requests, request.url, url))
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.goto(url)
        yield found
    finally:
        context.close()


def _note(requests: list[str], url: str, own: str) -> None:
    """Note a request that leaves the file; what a file holds itself has no other address."""
    if url != own and not url.startswith(("data:", "blob:")):
        requests.append(url)
