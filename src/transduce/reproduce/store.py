"""Results on disk: one file per experiment and seed, written as soon as it is measured."""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch

from transduce.config import to_data
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Measurements, finite
from transduce.reproduce.provenance import Code, changed, traced

WRITTEN = {"seed", "measurements", "seconds", "threads", "versions"}
UNKNOWN = "code that the result does not name"


@dataclass(frozen=True)
class Store:
    """A folder of results: NAME/seed-0.json and NAME.png. Beside it, FOLDER.md tells of all."""

    folder: Path

    def path(self, name: str, seed: int) -> Path:
        return self.folder / name / f"seed-{seed}.json"

    def result(self, experiment: Experiment, seed: int) -> dict[str, Any] | None:
        """Returns what was measured with these settings for these marks, by whatever code; None: nothing."""
        try:
            result: Any = json.loads(self.path(experiment.kind, seed).read_text("utf-8"))
            whole = all(mark.what in result["measurements"] for mark in experiment.marks) and result.keys() >= WRITTEN
            return result if whole and result["hash"] == experiment.hash else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def results(self, experiment: Experiment) -> list[dict[str, Any]]:
        """Returns the results of the experiment's seeds that have been measured."""
        results = (self.result(experiment, seed) for seed in experiment.seeds)
        return [result for result in results if result is not None]

    def older(self, experiment: Experiment) -> list[str]:
        """Returns the files that have changed since the experiment was measured, in a way that may change numbers."""
        return sorted({file for result in self.results(experiment) for file in changed_since(result)})

    def measured(self, experiment: Experiment) -> list[Measurements]:
        return [result["measurements"] for result in self.results(experiment)]

    def measure(self, experiment: Experiment, seed: int, data: Path | None) -> dict[str, Any]:
        """Runs one seed and writes what it gave, and by what code."""
        torch.manual_seed(seed)
        began = time.perf_counter()
        measurements, code = traced(lambda: finite(experiment.measure(seed, data)))
        result = {
            "experiment": experiment.kind,
            "seed": seed,
            "data": None if data is None else data.resolve().name,
            "hash": experiment.hash,
            "settings": to_data(experiment),
            "measurements": measurements,
            "seconds": round(time.perf_counter() - began, 1),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "code": code,
        }
        write(self.path(experiment.kind, seed), json.dumps(result, indent=1, allow_nan=False) + "\n")
        return result

    def draw(self, experiment: Experiment) -> Path | None:
        """Draws the seeds that have been measured (None: none has been)."""
        results, path = self.measured(experiment), self.picture(experiment)
        if not results:
            return None
        beside = path.with_name(f".{path.name}")
        experiment.plot(results).savefig(beside, format="png")
        beside.replace(path)
        return path

    def picture(self, experiment: Experiment) -> Path:
        return self.folder / f"{experiment.kind}.png"


def changed_since(result: dict[str, Any]) -> list[str]:
    """Returns the files that are no longer those that a result was computed by."""
    try:
        return changed(cast("Code", result["code"])) if result["code"] else [UNKNOWN]
    except (KeyError, TypeError, AttributeError, ValueError):  # an older result, or a damaged one
        return [UNKNOWN]


def write(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def versions(packages: Sequence[str] = ("transduce", "torch", "scikit-learn")) -> dict[str, str]:
    """Returns versions of what the numbers may depend on."""
    installed = {"python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
