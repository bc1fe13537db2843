"""Headless Chromium, driven through chromedriver; nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.waiting import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Root has no sandbox; a container's /dev/shm is small.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
MORE = (
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
    "--no-first-run",
    "--window-size=1400,900",
)


class Browser:
    """A page as a person sees it: what it says, what can be pressed, and what it asked the network for."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        """Wait until something that can be seen matches, and return it."""
        return wait_until(lambda: self._seen(css), what=f"{css} on the page")

    def sees(self, css: str) -> bool:
        """Whether something that can be seen matches now."""
        return self._seen(css) is not None

    def _seen(self, css: str) -> WebElement | None:
        try:
            return next((element for element in self._all(css) if element.is_displayed()), None)
        except StaleElementReferenceException:  # the page was drawn anew meanwhile
            return self._seen(css)

    def text(self, css: str) -> str:
        return self.find(css).text

    def press(self, css: str) -> None:
        """Press a button; rows of a list may be drawn anew between the look and the press."""

        def pressed() -> bool:
            try:
                button = self.find(css)
                # Flower's navigation stays at the top, above what is scrolled there.
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
                if not button.is_enabled():
                    return False
                button.click()
            except StaleElementReferenceException:
                return False
            return True

        wait_until(pressed, what=f"{css} to be pressed")

    def wait_text(self, css: str, text: str) -> None:
        wait_until(lambda: text in (self._now(css) or ""), what=f"{text!r} in {css}")

    def errors(self) -> list[str]:
        """What the page complained about in its console."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def asked(self) -> set[str]:
        """The addresses that the page has asked the network for."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.driver.execute_script(script))

    def _all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def _now(self, css: str) -> str | None:
        script = "const e = document.querySelector(arguments[0]); return e && e.textContent"
        return self.driver.execute_script(script, css)


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for the module's tests."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        words = "Chromium and its driver are not installed: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(words, pytrace=False)
        pytest.skip(words)
    options = Options()
    options.binary_location = program
    for option in (*OPTIONS, *MORE):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Browser:
    """A browser with nothing in it."""
    chromium.delete_all_cookies()
    chromium.get("about:blank")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    return Browser(chromium)
