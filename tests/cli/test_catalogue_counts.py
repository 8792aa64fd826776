"""`transduce catalogue params`, `counts`, and what `show` says of sizes."""

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bert-base", ["110,106,428  parameters; another count gives the same", "592,130  heads.pair", "training "]),
        ("t5-small", ["decoder cross attention", "for a token of the source"]),
        ("switch-base-128", ["active      224,083,200 for a token"]),
        ("ernie-thu", ["617,772  entity stream fusion only"]),
        ("gpt-3-125m", ["notes       the bands of every second layer are not published"]),
        ("gpt-neo-125m", ["memory ", "bytes for all 2,048"]),
    ],
)
def test_params(cli, name: str, says: list[str]) -> None:
    found = cli("catalogue", "params", name)
    assert found.code == 0
    for words in says:
        assert words in found.out


def test_params_of_what_cannot_be_built(cli) -> None:
    found = cli("catalogue", "params", "chatgpt")
    assert (found.code, found.out) == (2, "")
    assert "not published" in found.err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("llama-7b", "6,738,415,616 counted (as LlamaForCausalLM), +0.6%"),
        ("vicuna-7b", "6,738,415,616 counted"),
        ("anthropic-lm-13m", "12,582,912 counted of attention and feed-forwards alone"),
        ("vit-b-16", "counted by others"),
    ],
)
def test_show_counts(cli, name: str, says: str) -> None:
    assert says in " ".join(cli("catalogue", "show", name).out.split())


def test_counts_writes_the_table(cli, tmp_path: Path) -> None:
    assert cli("catalogue", "counts", "--out", str(tmp_path / "c.md")).code == 0
    assert len([x for x in (tmp_path / "c.md").read_text().splitlines() if x.startswith("| ")]) == 194
