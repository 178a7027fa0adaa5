"""Remakes ``docs/report.png``: the first screen of a report. Needs selenium, Chromium and chromedriver.

python docs/make_report_picture.py REPORT.html
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from selenium import webdriver

WIDTH, HEIGHT = 1120, 900


def main() -> None:
    """Open the page and keep what it shows."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    target = Path(__file__).with_name("report.png")
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(Path(sys.argv[1]).resolve().as_uri())
        driver.save_screenshot(str(target))
    print(target)


if __name__ == "__main__":
    main()
