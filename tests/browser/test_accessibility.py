"""Whether the page can be read, heard, and used without a mouse; axe-core finds nothing serious on any tab."""

from pathlib import Path
from typing import Any

from tests.browser.conftest import OpenPage, wait_for_status

AXE = Path(__file__).parent / "axe" / "axe.min.js"
FINDINGS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ['violations'], preload: false });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, any, all, none }) =>
      `${id}: ${html.slice(0, 200)} ${[...any, ...all, ...none].map((check) => check.message).join(' ')}`));
}"""
CONTRAST = FINDINGS.replace("resultTypes:", "runOnly: ['color-contrast'], resultTypes:")
"""What of these depends on the colors. The rest is the same in light and dark, and takes axe seconds."""

NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, a, img, [role=slider]')]
  .filter((e) => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
  .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('title') || e.labels?.length || e.textContent.trim()
    || e.getAttribute('aria-labelledby') || (e.tagName === 'IMG' && e.hasAttribute('alt')) || e.type === 'file'))
  .map((e) => e.outerHTML.slice(0, 160))"""

FAINT = """() => {
  const channels = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const over = (e) => {
    for (; e; e = e.parentElement) {
      const style = getComputedStyle(e), c = channels(style.backgroundColor);
      if (style.backgroundImage !== 'none') return null;
      if (c.length === 3 || c[3] > .95) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const e = node.parentElement;
    if (!/[\\p{L}\\d]/u.test(node.data) || !e.checkVisibility({ opacityProperty: true })) continue;
    if (e.closest('[disabled], .disabled, style, script')) continue;
    const style = getComputedStyle(e), background = over(e);
    if (!background || e.getBoundingClientRect().width < 2) continue;
    const [a, b] = [light(channels(style.color)), light(background)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${node.data.trim().slice(0, 40)}`);
  }
  return found;
}"""

CUT = """() => [...document.querySelectorAll('body *')]
  .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 2 && getComputedStyle(e).overflowX !== 'visible')
  .map((e) => e.outerHTML.slice(0, 160))"""

UNSEEN = """() => {
  const e = document.activeElement, near = [e, e.nextElementSibling, e.parentElement].filter(Boolean);
  const outlined = (n) => { const s = getComputedStyle(n);
    return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 && s.outlineColor !== 'rgba(0, 0, 0, 0)'; };
  const list = e.closest('.wrap:has([role=combobox])');  // the outline of a list is around its whole box
  const seen = near.some((n) => outlined(n) || getComputedStyle(n).boxShadow !== 'none') || (list && outlined(list));
  return e === document.body || seen ? null : e.outerHTML.slice(0, 160);
}"""

SMALL = """() => [...document.querySelectorAll('button, input, select, textarea, summary, [role=slider]')]
  .filter((e) => e.checkVisibility() && !e.disabled && e.type !== 'file' && !e.closest('[aria-hidden=true]'))
  .filter((e) => e.tabIndex >= 0)
  .map((e) => [e.getBoundingClientRect(), (e.labels?.[0] ?? e).getBoundingClientRect(), e.outerHTML.slice(0, 160)])
  .filter(([own, label]) => own.width > 0 && [['width'], ['height']].some(([s]) => Math.max(own[s], label[s]) < 24))
  .map(([, , text]) => text)"""

BEHIND = """() => [...document.querySelectorAll('label.float')].filter((e) => e.checkVisibility()).flatMap((e) => {
  const own = e.getBoundingClientRect();
  return [...(e.closest('.block')?.querySelectorAll('.icon-button-wrapper') ?? [])]
    .map((button) => button.getBoundingClientRect())
    .filter((r) => r.width && r.left < own.right && r.right > own.left && r.top < own.bottom && r.bottom > own.top)
    .map(() => `the name "${e.innerText}" lies behind a button`);
})"""

WITHOUT_WORDS = """() => [...document.images]
  .filter((e) => e.checkVisibility() && !e.alt && !e.closest('button[aria-label], label, footer'))
  .map((e) => e.outerHTML.slice(0, 160))"""


SCRIPTS = (NAMELESS, FAINT, SMALL, WITHOUT_WORDS, BEHIND)
NEXT_FRAME = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
DARK = "(dark) => document.body.classList.toggle('dark', dark)"
LOOKS = (("light", 1440, 900), ("dark", 390, 844), ("light", 390, 844))


def check(page: Any, *scripts: str) -> None:
    """Look at the page as it is in light and dark, on a desktop and on a phone."""
    for (theme, width, height), axe in zip(LOOKS, ((FINDINGS,), (CONTRAST,), ()), strict=True):
        page.evaluate(DARK, theme == "dark")
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(NEXT_FRAME)
        for script in (*scripts, *axe):
            assert page.evaluate(script) == [], (theme, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Gradio's own label: of a button that was made by mistake.
        assert page.get_by_role("button", name="Run", exact=True).count() == 0


def test_it_can_be_read_heard_and_used_without_a_mouse(open_page: OpenPage, photo_file: Path) -> None:
    page = open_page(theme="dark")
    page.emulate_media(reduced_motion="reduce")  # colors on their way are no colors
    page.add_script_tag(path=AXE)
    assert page.evaluate("document.body.classList.contains('dark')")
    page.locator("#download-png:not([disabled])").wait_for()
    open_all(page, "Size and version", "Several photos", "All styles on my photo", "Live from the webcam")
    check(page, *SCRIPTS, CUT)
    for _, width, height in LOOKS[:2]:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("scrollTo(0, 0)")
        unseen = set()
        for _ in range(30):
            page.keyboard.press("Tab")
            unseen.add(page.evaluate(UNSEEN))
        assert unseen <= {None}

    page.get_by_role("tab", name="Film").click()  # none hides in a menu, also on a phone
    page.locator("#film-samples button").click()
    page.locator("#film video").wait_for()
    check(page, *SCRIPTS)
    page.get_by_role("tab", name="Gatys").click()
    wait_for_status(page, "gatys-estimate", "About")
    open_all(page, "More settings")
    check(page, *SCRIPTS)
    page.set_input_files("#gatys-photo input[type=file]", photo_file)
    page.locator("#gatys-steps input[type=number]").fill("10")
    page.click("#gatys-paint")
    wait_for_status(page, "gatys-status", "Painted after 10 steps")
    page.locator("#gatys-png:not([disabled])").wait_for()
    check(page)  # not NAMELESS: the button of Gradio around an uploaded photo has the photo alone
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-ready button").first.click()
    page.locator("#compare-sheet").wait_for()
    open_all(page, "Choose versions")
    check(page, *SCRIPTS)


def open_all(page: Any, *accordions: str) -> None:
    for name in accordions:
        page.get_by_role("button", name=name).click()
