"""The text of the report: tables, numbers, and what is missing."""

from collections.abc import Mapping, Sequence

from training.report.data import Network, ReportData, ReportRun
from training.report.pictures import ReportPictures

NONE = "-"
FIGURES = ("equals iterations of Gatys et al.", "burnt-in spots")
"""The table columns of `figures`."""

_NARROW = (
    "--width 0.5 --init-from models:/starry_night@half-width --style-weight 5e10 --style-size 512 --iterations 1500 "
    "--checkpoints 1500 --warmup 50 --seed 2"
)
_FLAGS = {
    "starry_night_seed_0": "--seed 0",
    "starry_night_seed_1": "--seed 1",
    "starry_night_one_block": "--residual-blocks 1",
    "starry_night_small_style_weight": "--style-weight 1e9 --iterations 1000 --checkpoints 1000",
    "starry_night_stopped_early": "--schedule constant --iterations 300 --checkpoints 300",
    "starry_night_seed_0_batches_of_4": "--seed 0 --batch-size 4 --checkpoints 3500",
    "starry_night_seed_1_batches_of_4": "--seed 1 --batch-size 4 --checkpoints 3500",
    "starry_night_half_width_bold": _NARROW,
    "starry_night_half_width_taught": f"{_NARROW} --teacher models:/starry_night@bolder",
    "starry_night_half_width_long": (
        "--width 0.5 --init-from models:/starry_night@half-width-taught --style-weight 5e10 --style-size 512 "
        "--batch-size 4 --checkpoints 3500 --warmup 50 --seed 3 --teacher models:/starry_night@bolder"
    ),
}
"""The flags of `make train` for each run of the experiment."""


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 1) -> str:
    """A number with this number of decimals, or "-"."""
    return NONE if value is None else f"{value:.{digits}f}"


def loss_text(value: float | None) -> str:
    """A loss with four digits: 1.351e6."""
    if value is None or value != value:
        return NONE
    if 0.01 <= abs(value) < 1000 or value == 0:
        return f"{value:.4g}"
    mantissa, _, power = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(power)}"


def plain(value: float) -> str:
    """A numeric setting: 0.0015, 1e10."""
    return f"{value:g}".replace("e+", "e").replace("e0", "e")


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 as "0.14 %"."""
    return f"{share:.{digits}%}".replace("%", " %")


def difference(value: float, other: float) -> str:
    """A value compared with another: "3.1 % lower", "no different"."""
    change = value / other - 1
    if abs(change) < 0.0005:
        return "no different"
    return f"{percent(abs(change))} {'lower' if change < 0 else 'higher'}"


def in_words(settings: Sequence[str]) -> str:
    """Names of settings as words: "style weight, crop"."""
    return ", ".join(setting.replace("_", " ") for setting in settings)


def iterations_text(step: int) -> str:
    """A number of iterations: "1 iteration", "300 iterations"."""
    return f"{step} iteration{'' if step == 1 else 's'}"


def size_of(runs: Sequence[ReportRun]) -> int:
    """The smallest size in pixels at which all these runs were evaluated; without one, the smallest of any."""
    evaluated = [set(run.sizes) for run in runs if run.sizes]
    return min(set.intersection(*evaluated) or set.union(*evaluated)) if evaluated else 256


def figures(network: Network, size: int) -> tuple[str, str]:
    """Equivalent iterations of Gatys et al. and burnt-in spots of a network, as table cells."""
    found = network.evaluation(size)
    spots = found.get("spot_share")
    return number(found.get("equivalent_gatys_iterations")), NONE if spots is None else percent(spots, 2)


def results_table(networks: Sequence[Network], *, by_weight: bool = False) -> str:
    """The evaluations of networks. With `by_weight`, content and style losses are divided by their weights."""
    size = size_of([network.run for network in networks])
    rows = []
    for network in networks:
        found = network.evaluation(size)
        losses = [found.get("total")]
        for kind in ("content", "style"):
            weight = network.run.number(f"{kind}_weight") if by_weight else 1.0
            losses.append(found[kind] / weight if kind in found else None)
        rows.append((network.name, str(network.iterations), *map(loss_text, losses), *figures(network, size)))
    kinds = ("content / its weight", "style / its weight") if by_weight else ("content", "style")
    text = table(("network", "iterations", f"total loss, {size} px", *kinds, *FIGURES), rows)
    if all(row[2] == NONE for row in rows):
        text += "\n\nThese networks have no evaluation; `python -m training.evaluate NAME@ALIAS` makes it."
    return text


def compared(data: ReportData, pictures: ReportPictures, name: str, labels: Mapping[str, str]) -> list[str]:
    """Evaluations and sample pictures of all checkpoints of some runs, and which of the runs are missing.

    Args:
        name: of the file of the sample pictures.
        labels: name of each run to its name in the report.
    """
    runs = {label: data.runs[each] for each, label in labels.items() if each in data.runs}
    text = [missing_run(each) for each in labels if each not in data.runs]
    text += [no_checkpoints(run) for run in runs.values() if not run.checkpoints]
    networks = [Network(label, step, run) for label, run in runs.items() for step in run.checkpoints]
    if networks:
        text += [results_table(networks), *pictures.by_checkpoint(name, runs, photos=2)]
    return text


def missing_run(name: str) -> str:
    """A sentence that a run is missing, and the command that trains it."""
    return (
        f"The run `{name}` is not in this tracker. To train it:\n\n"
        f'    make train PHOTOS=path/to/photos ARGS="--run-name {name} {_FLAGS[name]}"'
    )


def no_checkpoints(run: ReportRun) -> str:
    """A sentence that a run has nothing to show."""
    return f"The run `{run.name}` has no checkpoint in this tracker yet; it is {run.status.lower()}."
