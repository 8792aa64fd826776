"""The table of the parts is that of the parts: what it says of each, and what each costs, is read and counted anew."""

import json
from pathlib import Path

import pytest

from transduce.config import kinds
from transduce.errors import UserError
from transduce.inspect import listed
from transduce.inspect.listed import FOLDERS, TABLE, as_table, one
from transduce.inspect.parts import described, parts


def test_the_table_is_what_is_counted() -> None:
    """`python -m transduce.inspect.listed` writes it anew."""
    rows = {(row.key, row.kind): row for row in map(described, parts())}
    assert set(rows) == {(key, kind) for key, folder in FOLDERS.items() for kind in kinds(folder)}
    ours = {(row["key"], row["kind"]): row for row in json.loads(TABLE.read_text("utf-8"))["parts"]}
    for name, row in ours.items():
        assert listed.of_data(row) == rows[name]
    if set(ours) == set(rows):  # else a part has come, and all are counted where they are listed
        assert TABLE.read_text("utf-8") == as_table(rows.values())


def test_where_a_kind_has_come_all_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = json.loads(TABLE.read_text("utf-8"))
    data["kinds"]["norm"].remove("rms-norm")
    data["parts"] = [row for row in data["parts"] if row["kind"] != "rms-norm"]
    monkeypatch.setattr(listed, "TABLE", tmp_path / "parts.json")
    listed.TABLE.write_text(json.dumps(data))
    monkeypatch.setattr("transduce.inspect.parts.mixer_costs", lambda _: (None, None))
    assert ("norm", "rms-norm") in {(row.key, row.kind) for row in listed.listed()}


def test_a_part_is_found_by_its_name_or_the_next_one_is_told() -> None:
    assert one("mixer.delta") == one("delta")
    assert one("delta").text.startswith(one("delta").formula.split("  ")[0])
    assert one("delta").flops is not None
    with pytest.raises(UserError, match=r"`none` is a kind of mixer and .*; write mixer\.none"):
        one("none")
    with pytest.raises(UserError, match="there is no part `detla`; did you mean `delta`"):
        one("detla")
