"""Figures as a picture."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any


def plot(found: dict[str, Any], where: Path) -> None:
    """Draw the rates, and the burst, of a run into ``where/figures.png`` and ``.svg``."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'redlock-beat[bench]')")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rates = found.get("rate") or {}
    kind = next(iter(rates), None)
    if kind is None:
        return
    bars = [
        (name, many, statistics.median(values))
        for name, sizes in rates[kind].items()
        for many, values in sizes.items()
        if many in ("2000", "20000", "200") or (many == max(sizes, key=int) and int(many) <= 20_000)
    ]
    labels = [f"{name}\n({int(many):,} due)" for name, many, _ in bars]
    colours = ["#1b7f5c" if "redlock" in name else "#b0b0b0" for name, _, _ in bars]
    figure, axes = pyplot.subplots(figsize=(9, 0.6 * len(bars) + 1.4))
    drawn = axes.barh(labels, [rate for *_, rate in bars], color=colours)
    axes.bar_label(drawn, [f"{rate:,.0f}" for *_, rate in bars], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(right=max(rate for *_, rate in bars) * 4)
    axes.invert_yaxis()
    axes.set_xlabel("messages a second (logarithmic), everything due")
    about = found["about"]
    axes.set_title(f"{kind}, {about['cores']} cores, Python {about['python']}, {about['date']}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(where / f"figures.{ending}", dpi=120)
    print(f"figures and plot in {where}")
