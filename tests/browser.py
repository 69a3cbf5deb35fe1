"""A real browser, headless, offline, for tests of pages."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip

NEEDED = [
    pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed"),
    pytest.mark.skipif(DRIVER is None, reason="chromedriver is not installed"),
    pytest.mark.skipif(find_spec("selenium") is None, reason="selenium is not installed"),
]


@contextmanager
def browser() -> Iterator[Chrome]:
    """Start it; no network is there for it."""
    from selenium import webdriver

    os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        yield driver
    finally:
        driver.quit()


def screen(chrome: Chrome, width: int, height: int, *, mobile: bool = False) -> None:
    """Set the size of the screen."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def scheme(chrome: Chrome, name: str) -> None:
    """Say which colours the person prefers: "light" or "dark"."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def complaints(chrome: Chrome) -> list[str]:
    """Return messages of the console, and requests to a network."""
    told = [str(entry["message"]) for entry in chrome.get_log("browser")]
    for entry in chrome.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            if not url.startswith(("file:", "about:", "data:")):
                told.append(url)
    return told


Spoken = dict[str, list[dict[str, Any]]]


def read_aloud(chrome: Chrome, complete: Callable[[Spoken], object]) -> Spoken:
    """Return the nodes of the accessibility tree by role, once they are complete.

    The browser makes the tree after the page, piece by piece: it is read until ``complete`` says
    that what the test waits for is there, for 30 seconds at most. Then it is returned as it is, and
    the test says what is missing.
    """
    end = time.monotonic() + 30
    while True:
        nodes = chrome.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles: Spoken = {}
        for node in nodes:
            if not node.get("ignored"):
                roles.setdefault(node["role"]["value"], []).append(node)
        if complete(roles) or time.monotonic() > end:
            return roles
        time.sleep(0.1)


def named(spoken: Spoken, role: str) -> list[str]:
    """Return the names of the nodes of a role, without invisible spaces."""
    return [
        node.get("name", {}).get("value", "").replace("\u200b", "") for node in spoken.get(role, [])
    ]
