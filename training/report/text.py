"""The text of the report: tables and numbers."""

from collections.abc import Sequence

NONE = "-"


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


def plain(value: str) -> str:
    """A setting; a number as 0.0015 or 1e10."""
    try:
        return f"{float(value):g}".replace("e+", "e").replace("e0", "e")
    except ValueError:
        return value or "none"


def percent(share: float, digits: int = 1) -> str:
    """A share of 1 as "0.14 %"."""
    return f"{100 * share:.{digits}f} %"


def difference(value: float, other: float) -> str:
    """A value compared with another: "3.1 % lower than", "the same as"."""
    change = value / other - 1
    if abs(change) < 0.0005:
        return "the same as"
    return f"{percent(abs(change))} {'lower' if change < 0 else 'higher'} than"


def in_words(settings: Sequence[str]) -> str:
    """Names of settings as words: "style weight, crop"."""
    return ", ".join(setting.replace("_", " ") for setting in settings)
