"""The report's sections on narrow networks: of The Starry Night, alone and taught, and of every style."""

from training.report_data import Evidence, GalleryStyle, ReportRun
from training.report_markdown import NONE, Album, difference, missing_run, results_table, size_of, table
from training.report_pictures import Row, contact_sheet

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
    """The champion of every style beside the network with the alias `fast`."""
    pairs = [(style, evidence.fast[style.name]) for style in evidence.gallery if style.name in evidence.fast]
    if not pairs:
        return [
            "No style has a version with the alias `fast` in this tracker. To train one, and to name it:",
            '    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_half_width '
            '--width 0.5 --init-from models:/starry_night@fast --teacher models:/my_style@champion"\n'
            "    python -m training.registry promote my_style VERSION --alias fast",
        ]
    size = size_of([style.run for pair in pairs for style in pair])
    rows, sheet = [], []
    for champion, other in pairs:
        title = champion.run.params.get("title") or champion.name
        found = other.run.evaluation(other.iterations, size)
        spots = found.get("spot_share")
        same = (champion.run, champion.iterations) == (other.run, other.iterations)
        rows.append(
            (
                title,
                other.run.params.get("width", NONE),
                str(other.iterations),
                _equals(other, size),
                "is the same" if same else _equals(champion, size),
                NONE if spots is None else f"{100 * spots:.2f} %",
            )
        )
        networks = [(style.run, style.iterations) for style in (champion, other)]
        photos = [] if same else album.photos(networks)[:PHOTOS]
        shown = [album.open(run.previews[photo][step]) for photo in photos for run, step in networks]
        if shown:
            sheet.append(Row(title, [*shown, *[None] * (2 * PHOTOS - len(shown))]))
    heading = (
        "style", "width", "iterations", f"equals iterations of Gatys et al., {size} px", "its champion equals",
        "burnt-in spots",
    )  # fmt: skip
    text = [
        "A narrower network of each style, taught by its champion, for moving pictures and slow machines: "
        "`--style NAME@fast`.",
        table(heading, rows),
    ]
    if sheet:
        image = contact_sheet(["champion", "fast"] * PHOTOS, sheet, HEIGHT)
        text.append(album.sheet("fast", image, "Sample photos by the champion and by the fast network of each style"))
    return text


def _equals(style: GalleryStyle, size: int) -> str:
    equivalent = style.run.evaluation(style.iterations, size).get("equivalent_gatys_iterations")
    return NONE if equivalent is None else f"{equivalent:.1f}"


def _total(run: ReportRun | None) -> float | None:
    """The total loss of a run's last checkpoint."""
    if run is None or not run.checkpoints:
        return None
    return run.evaluation(run.checkpoints[-1], size_of([run])).get("total")
