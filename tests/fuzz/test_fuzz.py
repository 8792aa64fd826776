"""Random configs, sizes, command lines, data, tokenisers and damages: every command ends well, or with a sentence.

`pytest tests/fuzz --fuzz-cases 2000` takes its time; `python tests/fuzz/drive.py KIND NUMBER` runs one case alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVE = Path(__file__).with_name("drive.py")
SECONDS = 60  # of a case on a busy machine; ten of the processor are a failure


def drive(kind: str, first: int, cases: int) -> tuple[list[dict[str, Any]], str]:
    """Runs cases in a process of its own. Returns what it wrote, and how it ended if that was not by itself."""
    command = [sys.executable, str(DRIVE), kind, str(first), str(cases)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        try:
            out, err = process.communicate(timeout=60 + SECONDS * cases)
            end = (
                ""
                if process.returncode == 0
                else f"status {process.returncode}: {err[-1500:].decode('utf-8', 'replace')}"
            )
        except subprocess.TimeoutExpired:
            process.kill()
            (out, _), end = process.communicate(), "it did not end"
    return [json.loads(line) for line in out.splitlines() if line.startswith(b'{"seed"')], end


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["configs", "sizes", "words", "data_files", "tokenisers", "damages"])
def test_every_command_ends_well_or_with_a_sentence(kind: str, request: pytest.FixtureRequest) -> None:
    first, cases = request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-cases")
    number, faults = first, list[str]()
    while number < first + cases:
        rows, end = drive(kind, number, first + cases - number)
        words = {row["seed"]: row["words"] for row in rows if "words" in row}
        ended = {row["seed"]: row["fault"] for row in rows if "fault" in row}
        faults += [f"{kind} {n}: {words[n]}\n{fault}" for n, fault in ended.items() if fault]
        assert words, f"{kind} does not begin: {end}"
        number = max(words) + 1
        if end and max(words) not in ended:
            faults.append(f"{kind} {max(words)}: {words[max(words)]}\nended the process: {end}")
    assert not faults, "\n\n".join(faults)
