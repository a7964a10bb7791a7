"""Draw each full result as an SVG beside it, and what users would pick instead in one, beside.svg.

draw.py FOLDER_WITH_RESULTS
"""

import json
import re
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# The same numbers give the same file.
mpl.rcParams["svg.hashsalt"] = "tidegate"
mpl.rcParams["font.size"] = 9

from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first
from matplotlib.ticker import FuncFormatter  # noqa: E402

TITLES = {
    "latency": "One 200-row file on an idle system: rename to commit",
    "burst": "Many files of 200 rows at once, until all are final",
    "large": "One large file",
    "retry": "Retry from the Prefect UI, until the run is Running",
    "idle": "An idle system: share of one core",
    "s3": "On S3 with SQS",
    "start": "Command line",
    "ledger_growth": "With many objects in the ledger",
    "table_growth": "With many rows in the table",
    "refused_rows": "The validate stage with refused rows",
}

#: What is compared with what others take for it.
WORK = {
    "latency": "one file of 200 rows",
    "burst": "1,000 such files",
    "large": "5,000,000 rows",
}
PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")
#: Where one bar is so many times as long as another, the axis is logarithmic.
_APART = 50


def draw(result: dict, target: Path) -> None:
    by_unit: dict[str, list[dict]] = {}
    for series in result["series"]:
        by_unit.setdefault(series["unit"], []).append(series)
    heights = [len(series) for series in by_unit.values()]
    figure, axes = plt.subplots(
        len(by_unit),
        1,
        figsize=(8, 1.2 + 0.42 * sum(heights) + 0.5 * len(heights)),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    for axis, (unit, all_series) in zip(axes[:, 0], by_unit.items(), strict=True):
        names = [readable(series["name"]) for series in all_series]
        medians = [series["median"] for series in all_series]
        below = [max(0.0, one["median"] - one["lowest"]) for one in all_series]
        above = [max(0.0, one["highest"] - one["median"]) for one in all_series]
        colours = ["#1f6f8b" if is_ours(name) else "#b8b8b8" for name in names]
        bars = axis.barh(names, medians, xerr=[below, above], color=colours, ecolor="#555555", capsize=2)
        axis.bar_label(bars, labels=[f" {number(one)} {unit}" for one in medians], padding=4)
        axis.invert_yaxis()
        longest = max(one["highest"] for one in all_series)
        if longest > _APART * min(medians) > 0:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(PLAIN)
            axis.set_xlim(min(medians) / 2, 4 * longest)
        else:
            axis.set_xlim(0, 1.25 * longest)
        axis.spines[["top", "right"]].set_visible(False)
    measured = result["environment"]
    figure.suptitle(TITLES.get(result["case"], result["case"]))
    figure.supxlabel(f"median, lowest and highest; {measured['cpus']} cores, {measured['cpu']}", fontsize=7)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def draw_beside(results: dict[str, dict], target: Path) -> None:
    """Others' times as multiples of ours, each in the same run on the same files."""
    lines = [
        (f"{WORK[case]}: {one['to'].partition(',')[0] if one['to'] != 'DuckDB, bare' else one['to']}", one)
        for case in WORK
        if case in results
        for one in results[case]["ratios"]
    ]
    times = [1 / one["median"] for _, one in lines]
    spread = [
        [at - 1 / one["highest"] for at, (_, one) in zip(times, lines, strict=True)],
        [1 / one["lowest"] - at for at, (_, one) in zip(times, lines, strict=True)],
    ]
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.42 * len(lines)), layout="constrained")
    bars = axis.barh(
        *([name for name, _ in lines], [at - 1 for at in times]),
        left=1,
        xerr=spread,
        color=["#b8b8b8" if at > 1 else "#d8a657" for at in times],
        ecolor="#555555",
        capsize=2,
    )
    for bar, at, above in zip(bars, times, spread[1], strict=True):
        end = max(at + above, 1)
        axis.annotate(
            f"{number(at)} x",
            (end, bar.get_y() + bar.get_height() / 2),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axis.axvline(1, color="#1f6f8b", linewidth=2)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(PLAIN)
    axis.set_xlim(0.3, 4 * max(times))
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("How many times as long as Tidegate (the line at 1) others take")
    told = "median of rounds, lowest and highest; plain Prefect's 1,000 files are scaled from 30"
    figure.supxlabel(told, fontsize=7)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def number(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def readable(name: str) -> str:
    return re.sub(r"\d{4,}", lambda found: f"{int(found[0]):,}", name)


def is_ours(name: str) -> bool:
    return not name.startswith(("dlt", "DuckDB", "pandas", "plain Prefect", "Prefect server"))


full = {}
for path in sorted(Path(sys.argv[1]).glob("*.json")):
    found = json.loads(path.read_text(encoding="utf-8"))
    if not found.get("quick") and "environment" in found:
        draw(found, path.with_suffix(".svg"))
        full[found["case"]] = found
if any(full[case]["ratios"] for case in WORK if case in full):
    draw_beside(full, Path(sys.argv[1]) / "beside.svg")
