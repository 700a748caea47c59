"""The report's section on narrow networks: trained alone, and taught by one of full width."""

from training.report_data import STYLE, Evidence, ReportRun
from training.report_markdown import Album, difference, missing_run, results_table, size_of

ALONE, TAUGHT = "starry_night_half_width_bold", "starry_night_half_width_taught"
NARROW = {ALONE: "half the width", TAUGHT: "half the width, taught"}
"""The narrow runs, and what the report calls them."""
FULL = "full width"


def narrow(evidence: Evidence, album: Album) -> list[str]:
    """Networks of half the width beside the champion, which taught one of them."""
    text = [
        "Half the width is a quarter of the multiplications. Both narrow networks were trained alike; the loss of the "
        "one that is called taught has a term more, the mean squared difference of its pixels to those that the "
        "champion gives (Hinton et al. 2015)."
    ]
    text += [missing_run(name) for name in NARROW if name not in evidence.runs]
    champion = next((style.run for style in evidence.gallery if style.name == STYLE), None)
    networks = {FULL: champion} if champion else {}
    networks |= {NARROW[name]: evidence.runs[name] for name in NARROW if name in evidence.runs}
    entries = [(label, run, run.checkpoints[-1]) for label, run in networks.items() if run.checkpoints]
    if len(entries) < 2:
        return text
    text += [results_table(entries), *album.by_checkpoint("widths", entries, photos=3)]
    alone, taught = (_total(evidence.runs.get(name)) for name in (ALONE, TAUGHT))
    if alone and taught:
        text.append(f"The total loss of the taught network is {difference(taught, alone)} than that of the other.")
    return text


def _total(run: ReportRun | None) -> float | None:
    """The total loss of a run's last checkpoint."""
    if run is None or not run.checkpoints:
        return None
    return run.evaluation(run.checkpoints[-1], size_of([run])).get("total")
