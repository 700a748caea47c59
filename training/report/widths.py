"""The report's sections on narrow networks: of The Starry Night, alone and distilled, and of every style."""

from stylecore.library import CHAMPION, FAST
from stylecore.sheet import Row, contact_sheet
from training.report.data import FULL_WIDTH, Network, ReportData
from training.report.markdown import NONE, difference, figures, missing_run, results_table, size_of, table
from training.report.pictures import ReportPictures

FULL = "starry_night_bolder"
"""The run of full width: the narrow runs are compared with it, and two of them distill it."""
ALONE = "starry_night_half_width_bold"
DISTILLED = "starry_night_half_width_taught"
LONGER = "starry_night_half_width_long"
NARROW = {
    ALONE: "half the width",
    DISTILLED: "half the width, distilled",
    LONGER: "half the width, distilled for longer",
}
"""The narrow runs, and their names in the report."""
HEIGHT = 150
"""Pixels of a picture on the sheet."""
PHOTOS = 2


def narrow(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Networks of half the width beside the network of full width, from which two of them are distilled."""
    text = [
        "Half the width is a quarter of the multiplications. The first two narrow networks were trained alike, except "
        "that the loss of a distilled network has one more term: the mean squared difference of its pixels to the "
        "pixels of the network of full width (Hinton et al. 2015). The last one continues the second, with batches "
        "of 4."
    ]
    text += [missing_run(name) for name in NARROW if name not in data.runs]
    networks = {
        name: Network(label, run.checkpoints[-1], run)
        for name, label in {FULL: "full width", **NARROW}.items()
        if (run := data.runs.get(name)) and run.checkpoints
    }
    if len(networks) < 2:
        return text
    shown = list(networks.values())
    text += [results_table(shown), *pictures.by_network("widths", shown, photos=3)]
    alone, distilled = (
        networks[name].evaluation(size_of([networks[name].run])).get("total") if name in networks else None
        for name in (ALONE, DISTILLED)
    )
    if alone and distilled:
        text.append(
            f"The total loss of the distilled network is {difference(distilled, alone)} than that of the first."
        )
    return text


def fast(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The network with the alias `fast` of every style beside the network of full width that it distills."""
    full_width = data.by_alias[FULL_WIDTH]
    pairs = [
        (full_width[name], network)
        for name, network in data.by_alias[FAST].items()
        if name in full_width and network.run.params.get("teacher")
    ]
    champions = list(data.by_alias[CHAMPION].values())
    if not pairs and any(network in champions for network in data.by_alias[FAST].values()):
        return ["The champions are narrow themselves, so they have the alias `fast`, too."]
    if not pairs:
        return [
            "No style has versions with the aliases `fast` and `full-width` in this tracker. To train one, and to "
            "give both aliases:",
            '    make train RECIPE=my_style.yaml PHOTOS=path/to/photos ARGS="--run-name my_style_half_width '
            '--width 0.5 --init-from models:/starry_night@fast --teacher models:/my_style@champion"\n'
            "    python -m training.registry promote my_style VERSION --alias fast\n"
            "    python -m training.registry promote my_style champion --alias full-width",
        ]
    size = size_of([network.run for pair in pairs for network in pair])
    rows, sheet = [], []
    for full, narrow in pairs:
        equals = [
            f"**{figures(network, size)[0]}**" if network in champions else figures(network, size)[0]
            for network in (full, narrow)
        ]
        width, spots = narrow.run.params.get("width", NONE), figures(narrow, size)[1]
        rows.append((full.title, *equals, str(narrow.iterations), width, spots))
        photos = pictures.photos([full, narrow])[:PHOTOS]
        images = [pictures.stylized(network, photo) for photo in photos for network in (full, narrow)]
        if images:
            sheet.append(Row(full.title, [*images, *[None] * (2 * PHOTOS - len(images))]))
    text = [
        "A narrower network of each style, distilled from the network of full width, for moving pictures and slow "
        "machines: `--style NAME@fast`. The table shows the equivalent iterations of Gatys et al. at "
        f"{size} pixels; champions are bold.",
        table(("style", "full width", "fast", "iterations of the fast one", "its width", "its burnt-in spots"), rows),
    ]
    if sheet:
        image = contact_sheet(["full width", "fast"] * PHOTOS, sheet, HEIGHT)
        text.append(pictures.sheet("fast", image, "Sample photos by the network of full width and by the fast one"))
    return text
