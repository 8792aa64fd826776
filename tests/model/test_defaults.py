"""What a recipe leaves out means the same in every version: the defaults of every part, as they were published.

A new part or a new key is free, and may be added to `defaults.json`; a default that stands there changes on purpose
only, with a line in CHANGELOG.md.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from transduce.config import Part, kinds, to_data
from transduce.data.loader import BatchConfig
from transduce.model.architecture import LayerConfig

PUBLISHED: dict[str, dict[str, dict[str, Any]]] = json.loads((Path(__file__).parent / "defaults.json").read_text())


def defaults(kind: type[Part]) -> dict[str, Any]:
    """As plain data; nothing for a part that cannot be made without a value."""
    try:
        return json.loads(json.dumps(to_data(kind())))
    except TypeError:
        return {}


def known(now: Any, published: Any) -> Any:
    """What is there now, but for keys that were not there."""
    if not isinstance(published, dict) or not isinstance(now, dict):
        return now
    return {key: known(now.get(key, "gone"), value) for key, value in published.items()}


@pytest.mark.parametrize(("folder", "kind"), [(folder, kind) for folder in PUBLISHED for kind in PUBLISHED[folder]])
def test_what_is_left_out_means_what_it_meant(folder: str, kind: str) -> None:
    others = {"BatchConfig": BatchConfig, "LayerConfig": LayerConfig}
    part: Any = others[kind] if folder == "others" else kinds(folder)[kind]
    assert known(defaults(part), PUBLISHED[folder][kind]) == PUBLISHED[folder][kind]
