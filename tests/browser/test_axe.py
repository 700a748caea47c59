"""axe-core finds nothing serious: on every tab, on a desktop and on a phone, light and dark."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_page import OpenPage, wait_for_status

AXE = Path(__file__).parent / "axe" / "axe.min.js"
FINDINGS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, any, all, none }) =>
      `${id}: ${html.slice(0, 200)} ${[...any, ...all, ...none].map((check) => check.message).join(' ')}`));
}"""


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(open_page: OpenPage, photo_file: Path, width: int, theme: str) -> None:
    page = open_page(width, 844, theme)
    page.set_default_timeout(120_000)  # a busy machine makes no test wrong
    page.emulate_media(reduced_motion="reduce")  # colors on their way are no colors
    page.add_script_tag(path=AXE)
    wait_for_status(page, "status", "The Night")
    page.locator("#download-png:not([disabled])").wait_for()
    open_all(page, "Size and version", "Several photos", "All styles on my photo", "Live from the webcam")
    assert page.evaluate(FINDINGS) == []
    page.get_by_role("tab", name="Film").click()
    page.locator("#film-samples button").click()
    page.locator("#film video").wait_for()
    assert page.evaluate(FINDINGS) == []
    page.get_by_role("tab", name="Gatys").click()
    wait_for_status(page, "gatys-status", "About")
    open_all(page, "More settings")
    assert page.evaluate(FINDINGS) == []
    page.set_input_files("#gatys-photo input[type=file]", photo_file)
    page.locator("#gatys-steps input[type=number]").fill("10")
    page.click("#gatys-paint")
    wait_for_status(page, "gatys-status", "Painted after 10 steps")
    page.locator("#gatys-png:not([disabled])").wait_for()
    assert page.evaluate(FINDINGS) == []
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-ready button").first.click()
    page.locator("#compare-sheet").wait_for()
    open_all(page, "Choose versions")
    assert page.evaluate(FINDINGS) == []


def open_all(page: Any, *accordions: str) -> None:
    for name in accordions:
        page.get_by_role("button", name=name).click()
