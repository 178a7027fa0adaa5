"""A headless Chromium, driven by Debian's chromedriver or any other on the path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver

from harness import until
from needs import chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.text.json_value import JsonValue

SCREENSHOTS = os.environ.get("REPORT_SCREENSHOTS")


class Page:
    """One page, opened in the browser."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver = driver
        self.driver.get(path.as_uri())
        until(lambda: self.script("document.readyState") == "complete", "the page")

    def script(self, code: str, *arguments: object) -> JsonValue:
        """What JavaScript returns."""
        found: JsonValue = self.driver.execute_script(f"return {code}", *arguments)
        return found

    def count(self, selector: str) -> int:
        """How many elements there are."""
        found = self.script("document.querySelectorAll(arguments[0]).length", selector)
        assert isinstance(found, int)
        return found

    def texts(self, selector: str) -> list[str]:
        """The texts of the visible ones."""
        return [
            each.text for each in self.driver.find_elements("css selector", selector) if each.is_displayed()
        ]

    def resize(self, width: int, height: int = 1800) -> None:
        """Change the size of the window; wait until every chart is drawn again for another width."""
        charts = "svg[role=img]"
        changes = self.script("innerWidth") != width
        self.driver.execute_script(
            f"document.querySelectorAll('{charts}').forEach(each => each.dataset.old = 1)"
        )
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        if changes:
            until(lambda: not self.count(f"{charts}[data-old]"), "the charts of another width")

    def prefer(self, scheme: str) -> None:
        """Set the colour scheme that the user prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def choose(self, name: str, value: str) -> None:
        """Set a control as a person would."""
        element = self.driver.find_element("id", name)
        if element.tag_name == "select":
            element.find_element("css selector", f"option[value={value}]").click()
        else:
            element.send_keys(value)

    def errors(self) -> list[str]:
        """What the browser complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, name: str) -> None:
        """Keep a picture where somebody asked for pictures."""
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as started:
        yield started


@pytest.fixture
def show(driver: webdriver.Chrome, tmp_path: Path) -> Callable[..., Page]:
    """Opens a page of so many pixels, light or dark."""

    def opened(html: str, width: int = 1280, height: int = 1800, *, dark: bool = False) -> Page:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
        )
        driver.get_log("browser")
        return Page(driver, path)

    return opened
