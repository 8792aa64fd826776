"""The config and the readers of a run are used as they were written, or not at all."""

from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.runs.seal import HASHES, require_sealed, seal, write_config

NAMES = ("config.yaml", "tokenizer", "readers")


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    for name in ("config.yaml", "tokenizer/tokenizer.json", "readers/label.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    seal(tmp_path)
    require_sealed(tmp_path, *NAMES)
    return tmp_path


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer/tokenizer.json", "readers/label.json"])
@pytest.mark.parametrize("damage", [lambda p: p.write_text("other"), lambda p: p.unlink()], ids=["changed", "gone"])
def test_every_file_counts(name: str, damage, sealed: Path) -> None:
    damage(sealed / name)
    with pytest.raises(UserError, match=f"{name}.*restore it from a copy, or remove {HASHES}"):
        require_sealed(sealed, *NAMES)
    others = [other for other in NAMES if other != name.split("/")[0]]
    require_sealed(sealed, *others)  # only what is asked for
    (sealed / HASHES).unlink()
    require_sealed(sealed, *NAMES)  # an older run has none


def test_another_config_takes_the_hashes_away_first(sealed: Path) -> None:
    write_config(sealed, "config.yaml")
    assert (sealed / HASHES).exists()  # the same text: nothing happened
    write_config(sealed, "name: other")
    assert not (sealed / HASHES).exists()
    assert (sealed / "config.yaml").read_text() == "name: other"
