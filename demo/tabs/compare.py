"""The fourth tab: one photo through several versions of a style, or several styles, side by side."""

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.page import endpoint, photo_input, picture_box, save_for_browser, slider
from demo.services.catalogue import Catalogue, VersionEntry
from demo.services.comparisons import Comparison, comparisons, find_version, labels
from demo.services.limits import MODEL
from demo.services.stylize import Stylizer
from demo.services.teach.lessons import owner_of
from demo.status import QUIET, status_line, told_in, waited_for
from demo.tabs.cards import begin_with_photo, samples_for
from demo.tabs.comparison_html import Compared, comparison_html
from demo.tabs.stylize import FirstTab
from demo.theme import filled_in, script
from demo.words import file_name
from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import to_image
from stylecore.sheet import compose

PAINTING_SIDE = 800
"""Longest side in pixels of a painting beside the networks' pictures."""


def chosen_versions(stylizer: Stylizer, references: Sequence[str]) -> list[VersionEntry]:
    """The versions meant by NAME, NAME@ALIAS or NAME/VERSION, each once.

    Raises:
        StylecoreError: for none, too many, or one that there is not.
    """
    most = stylizer.limits.compare_versions
    found = (find_version(stylizer.catalogue, reference) for reference in references)
    entries = list({(entry.name, entry.version): entry for entry in found}.values())
    if not entries:
        raise StylecoreError("choose at least one version to compare.")
    if len(entries) > most:
        raise StylecoreError(f"choose at most {most} versions to compare at once, not {len(entries)}.")
    return entries


def compare(
    stylizer: Stylizer, photo: str | None, entries: Sequence[VersionEntry], longest_side: float | None = None
) -> Iterator[list[Compared]]:
    """Stylize the photo with every version; yield the pictures so far.

    Raises:
        StylecoreError: as `Stylizer.stylize`, and without a photo.
    """
    if photo is None:
        raise StylecoreError("there is no photo yet; upload one, or take a sample.")
    done: list[Compared] = []
    side = stylizer.limits.compare_side if longest_side is None else longest_side
    for entry, label in zip(entries, labels(entries), strict=True):
        result = stylizer.stylize(photo, entry.name, entry.version, side)
        done.append(Compared(entry, label, result, stylizer.catalogue.record(entry.name, entry.version)))
        yield list(done)


def sheet(stylizer: Stylizer, photo: str | None, entries: Sequence[VersionEntry], strength: float) -> str:
    """The photo and its pictures on one, a PNG in Gradio's cache. What was just compared comes from memory."""
    *_, done = compare(stylizer, photo, entries)
    cells = [("Photo", to_image(done[0].result.content / 255))]
    cells += [(each.label, to_image(each.result.finish(strength, False))) for each in done]
    settings = {
        "command": "compare",
        "versions": [each.entry.reference for each in done],
        "strength": strength,
    }
    return save_for_browser(compose(cells), "PNG", file_name("comparison", Path(photo or "").stem), settings=settings)


def comparison_buttons(ready: Sequence[Comparison], chosen: Sequence[str]) -> str:
    """The ready-made comparisons as buttons, below the styles' titles.

    Styles that have only one comparison are gathered below its title.
    """
    of_style = Counter(comparison.style for comparison in ready)
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for comparison in ready:
        heading, label = comparison.style, comparison.title
        if heading and of_style[heading] == 1 < len(of_style) - 1:
            heading, label = label, heading
        references = [entry.reference for entry in comparison.versions]
        groups.setdefault(heading, []).append((label, references))
    return filled_in("ready_comparisons", groups=groups, chosen=list(chosen))


def paintings_of(catalogue: Catalogue, entries: Sequence[VersionEntry]) -> dict[str, str]:
    """Name of a style to the picture that it was trained on, a file in Gradio's cache; without those not known."""
    found = {}
    for name in dict.fromkeys(entry.name for entry in entries):
        file = catalogue.painting(name)
        if file is not None:
            pixels = load_picture(file, max_side=PAINTING_SIDE).pixels
            found[name] = save_for_browser(pixels, "JPEG", file_name("painting", name))
    return found


def choices_of(catalogue: Catalogue, owner: str = "") -> list[tuple[str, str]]:
    """(label, "style/version") of everything there is for all, and of the owner's own styles."""
    styles = catalogue.styles(owner)
    choices = []
    for style in styles:
        entries = catalogue.versions(style.name)
        title = f"{style.title}, " if len(styles) > 1 else ""
        for entry, label in zip(entries, labels(entries), strict=True):
            best = " (best)" if entry.version == style.default_version else ""
            choices.append((f"{title}{label}{best}", entry.reference))
    return choices


def build_compare_tab(stylizer: Stylizer, tab: gr.Tab, first: FirstTab) -> None:
    """Lay the tab out inside the open `gr.Tab` and connect it; `first` is the tab Stylize."""
    catalogue, most = stylizer.catalogue, stylizer.limits.compare_versions
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=3, min_width=300, elem_classes="inputs"):
            gr.HTML(
                "<div class='lede'><p>One photo through several trained networks: what do more iterations, more "
                "residual blocks or another seed change?</p></div>"
            )
            photo = picture_box(
                "Photo", "compare-photo", placeholder="Drop a photo", alt_text="The photo to compare on"
            )
            samples_for(photo, "compare-samples")
            ready = gr.HTML("", js_on_load=script("pick"), elem_id="compare-ready")
            with gr.Accordion("Choose versions", open=False, elem_id="compare-more"):
                chosen = gr.Dropdown(
                    [],
                    multiselect=True,
                    max_choices=most,
                    label=f"Versions, up to {most}",
                    info="Type to search: a style, a number of iterations, a seed.",
                    elem_id="compare-versions",
                )
            button = gr.Button("Compare", variant="primary", elem_id="compare-run")
        with gr.Column(scale=8, min_width=320, elem_classes="result"):
            strength = slider("Strength of the style", "compare-strength", 0, 1, 1, 0.01, visible=False)
            result = gr.HTML(
                "<p class='nothing'>Choose a question, and see the answer in pictures here.</p>",
                js_on_load=script("show_large"),
                elem_id="compare-result",
            )
            status = gr.HTML(status_line("&nbsp;"), elem_id="compare-status")
            download = gr.Button("Download as one picture", elem_id="compare-sheet", visible=False)
            # A download button fetches what it has when it is pressed, and the picture is made only then.
            file = gr.DownloadButton("Download", visible="hidden", elem_id="compare-sheet-file")
    compared = gr.State(())

    def arrive(chosen: list[str], token: str) -> tuple[Any, ...]:
        choices = choices_of(catalogue, owner_of(token))
        known = {choice for _, choice in choices}
        found = comparisons(catalogue, most)
        kept = [choice for choice in chosen if choice in known]
        kept = kept or ([entry.reference for entry in found[0].versions] if found else sorted(known)[:1])
        return (
            gr.Dropdown(choices=choices, value=kept),
            comparison_buttons(found, kept),
            gr.skip() if not catalogue.notice else status_line(html.escape(catalogue.notice)),
        )

    def pick(event: gr.EventData) -> tuple[Any, ...]:
        references = [entry.reference for entry in chosen_versions(stylizer, event.name.split())]
        return references, comparison_buttons(comparisons(catalogue, most), references)

    @told_in(status)
    def run(photo: str | None, chosen: list[str]) -> Iterator[dict[Any, Any]]:
        entries = chosen_versions(stylizer, chosen)
        best = {(entry.name, catalogue.find(entry.name).default_version) for entry in entries}
        paintings = paintings_of(catalogue, entries)
        for done in compare(stylizer, photo, entries):
            complete = len(done) == len(entries)
            yield {
                result: comparison_html(entries, done, best, paintings),
                status: status_line("&nbsp;" if complete else f"{len(done)} of {len(entries)} done"),
                strength: gr.Slider(visible=True),
                download: gr.Button(visible=complete),
                compared: (photo, tuple(chosen)),
            }

    @told_in(status)
    def make_sheet(compared: tuple[Any, ...], strength: float) -> Iterator[dict[Any, Any]]:
        if not compared:
            raise StylecoreError("there is nothing to download yet.")
        photo, chosen = compared
        made = sheet(stylizer, photo, chosen_versions(stylizer, chosen), strength)
        yield {file: gr.DownloadButton(value=made), status: status_line("&nbsp;")}

    work: dict[str, Any] = {
        "fn": run,
        "inputs": [photo, chosen],
        "outputs": [result, status, strength, download, compared],
        "concurrency_id": MODEL,
        **waited_for(status),
    }
    begin_with_photo(tab, photo, first.photo, "compare-sample")
    tab.select(arrive, [chosen, first.token], [chosen, ready, status], **QUIET)
    picked = ready.select(pick, None, [chosen, ready], **QUIET)
    running = [picked.success(**work, trigger_mode="multiple"), button.click(**work)]
    ready.select(None, cancels=running)  # who picks another comparison does not wait for the one before
    gr.on([ready.select, button.click], None, js=script("show_comparison"), **QUIET)
    chosen.input(lambda chosen: comparison_buttons(comparisons(catalogue, most), chosen), [chosen], [ready], **QUIET)
    strength.change(None, [strength], None, js=script("blend"), **QUIET)
    download.click(make_sheet, [compared, strength], [file, status], concurrency_id=MODEL, **QUIET).success(
        None, js=script("download_comparison"), **QUIET
    )


def build_compare_api(stylizer: Stylizer) -> None:
    """Add the endpoint /compare."""
    limits = stylizer.limits

    def compare_versions(
        photo: str, versions: list[str] | str, longest_side: float = limits.compare_side, strength: float = 1.0
    ) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
        """Stylize a photo with several versions of styles, to compare them.

        Args:
            photo: A picture file.
            versions: Up to six of NAME, NAME@ALIAS or NAME/VERSION, as /styles lists them; the first styles for none.
            longest_side: Longest side of the pictures in pixels.
            strength: 0 gives the photo, 1 the full style.

        Returns:
            The pictures as PNG, each with its label, and for each its settings, losses and time.
        """
        wanted = versions.split() if isinstance(versions, str) else versions
        wanted = wanted or [entry.name for entry in stylizer.catalogue.styles()[: limits.compare_versions]]
        entries = chosen_versions(stylizer, list(map(str, wanted)))  # programs may send anything
        *_, done = compare(stylizer, photo, entries, longest_side)
        pictures = []
        for each in done:
            pixels, name = each.result.finish(strength, False), file_name("compared", each.label)
            pictures.append((save_for_browser(pixels, "PNG", name), each.label))
        return pictures, [each.facts() for each in done]

    versions = gr.Dropdown([], label="versions", multiselect=True, allow_custom_value=True)
    outputs = [gr.Gallery(label="pictures", format="png"), gr.JSON(label="facts")]
    inputs = {"photo": photo_input(label="photo"), "versions": versions}
    endpoint("compare", compare_versions, outputs, inputs, concurrency_id=MODEL)
