"""The report's sections on narrow networks: of The Starry Night, alone and taught, and of every style."""

from stylecore.sheet import Row, contact_sheet
from training.report.data import Evidence, GalleryStyle, ReportRun
from training.report.markdown import NONE, Album, difference, missing_run, percent, results_table, size_of, table

FULL = "starry_night_bolder"
"""The run of full width that the narrow ones are compared with, and learned from."""
ALONE = "starry_night_half_width_bold"
TAUGHT = "starry_night_half_width_taught"
LONGER = "starry_night_half_width_long"
NARROW = {ALONE: "half the width", TAUGHT: "half the width, taught", LONGER: "half the width, taught for longer"}
"""The narrow runs, and what the report calls them."""
HEIGHT = 150
PHOTOS = 2


def narrow(evidence: Evidence, album: Album) -> list[str]:
    """Networks of half the width beside one of full width, which taught two of them."""
    text = [
        "Half the width is a quarter of the multiplications. The first two narrow networks were trained alike; the "
        "loss of those that are called taught has a term more, the mean squared difference of their pixels to those "
        "that the network of full width gives (Hinton et al. 2015). The last one goes on where the second ended, "
        "with batches of 4."
    ]
    text += [missing_run(name) for name in NARROW if name not in evidence.runs]
    called = {FULL: "full width", **NARROW}
    networks = {label: evidence.runs[name] for name, label in called.items() if name in evidence.runs}
    entries = [(label, run, run.checkpoints[-1]) for label, run in networks.items() if run.checkpoints]
    if len(entries) < 2:
        return text
    text += [results_table(entries), *album.by_checkpoint("widths", entries, photos=3)]
    alone, taught = (_total(evidence.runs.get(name)) for name in (ALONE, TAUGHT))
    if alone and taught:
        text.append(f"The total loss of the taught network is {difference(taught, alone)} than that of the other.")
    return text


def fast(evidence: Evidence, album: Album) -> list[str]:
    """The network with the alias `fast` of every style beside the one of full width that it learned from."""
    pairs = [
        (evidence.full_width[name], style)
        for name, style in evidence.fast.items()
        if name in evidence.full_width and style.run.params.get("teacher")
    ]
    if not pairs:
        return [
            "No style has versions with the aliases `fast` and `full-width` in this tracker. To train one, and to "
            "name both:",
            '    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_half_width '
            '--width 0.5 --init-from models:/starry_night@fast --teacher models:/my_style@champion"\n'
            "    python -m training.registry promote my_style VERSION --alias fast\n"
            "    python -m training.registry promote my_style champion --alias full-width",
        ]
    size = size_of([style.run for pair in pairs for style in pair])
    champions = {(style.run.run_id, style.iterations) for style in evidence.gallery}
    rows, sheet = [], []
    for full, narrow in pairs:
        title = full.run.params.get("title") or full.name
        spots = narrow.run.evaluation(narrow.iterations, size).get("spot_share")
        rows.append(
            (
                title,
                *(_equals(style, size, champions) for style in (full, narrow)),
                str(narrow.iterations),
                narrow.run.params.get("width", NONE),
                NONE if spots is None else percent(spots, 2),
            )
        )
        networks = [(style.run, style.iterations) for style in (full, narrow)]
        photos = album.photos(networks)[:PHOTOS]
        shown = [album.open(run.previews[photo][step]) for photo in photos for run, step in networks]
        if shown:
            sheet.append(Row(title, [*shown, *[None] * (2 * PHOTOS - len(shown))]))
    text = [
        "A narrower network of each style, taught by the one of full width, for moving pictures and slow machines: "
        f"`--style NAME@fast`. How many iterations of Gatys et al. each equals, at {size} pixels; champions are bold.",
        table(("style", "full width", "fast", "iterations of the fast one", "its width", "its burnt-in spots"), rows),
    ]
    if sheet:
        image = contact_sheet(["full width", "fast"] * PHOTOS, sheet, HEIGHT)
        text.append(album.sheet("fast", image, "Sample photos by the network of full width and by the fast one"))
    return text


def _equals(style: GalleryStyle, size: int, champions: set[tuple[str, int]]) -> str:
    equivalent = style.run.evaluation(style.iterations, size).get("equivalent_gatys_iterations")
    text = NONE if equivalent is None else f"{equivalent:.1f}"
    return f"**{text}**" if (style.run.run_id, style.iterations) in champions else text


def _total(run: ReportRun | None) -> float | None:
    """The total loss of a run's last checkpoint."""
    if run is None or not run.checkpoints:
        return None
    return run.evaluation(run.checkpoints[-1], size_of([run])).get("total")
