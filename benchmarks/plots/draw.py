"""Draw each full result as an SVG beside it.

draw.py FOLDER_WITH_RESULTS
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# The same numbers give the same file.
mpl.rcParams["svg.hashsalt"] = "tidegate"
mpl.rcParams["font.size"] = 9

from matplotlib import pyplot as plt  # noqa: E402  the backend must be chosen first

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
        names = [series["name"] for series in all_series]
        medians = [series["median"] for series in all_series]
        below = [max(0.0, one["median"] - one["lowest"]) for one in all_series]
        above = [max(0.0, one["highest"] - one["median"]) for one in all_series]
        colours = ["#1f6f8b" if is_ours(name) else "#b8b8b8" for name in names]
        bars = axis.barh(names, medians, xerr=[below, above], color=colours, ecolor="#555555", capsize=2)
        axis.bar_label(bars, labels=[f" {one:,.3g} {unit}" for one in medians], padding=4)
        axis.invert_yaxis()
        axis.set_xlim(0, 1.25 * max(one["highest"] for one in all_series))
        axis.spines[["top", "right"]].set_visible(False)
    measured = result["environment"]
    figure.suptitle(TITLES.get(result["case"], result["case"]))
    figure.supxlabel(f"median, lowest and highest; {measured['cpus']} cores, {measured['cpu']}", fontsize=7)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def is_ours(name: str) -> bool:
    return not name.startswith(("dlt", "DuckDB", "pandas", "plain Prefect", "Prefect server"))


for path in sorted(Path(sys.argv[1]).glob("*.json")):
    found = json.loads(path.read_text(encoding="utf-8"))
    if not found.get("quick") and "environment" in found:
        draw(found, path.with_suffix(".svg"))
