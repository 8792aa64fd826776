"""`transduce explain`, and KEY=? in the place of a value."""

import json

import pytest

from transduce.config import descriptions
from transduce.runs.recipe import Recipe


def test_a_key_is_explained(cli) -> None:
    found = cli("explain", "train.clip")
    assert found == (0, "train.clip: a number or null, default 1.0\n  largest norm of the gradient (null: any).\n", "")
    assert "\n  choices: auto, fp32, bf16\n" in cli("explain", "train.precision").out
    assert cli("explain", "data.path").out.startswith("data.path: text, required\n")


def test_a_part_is_explained_by_its_kinds(cli) -> None:
    out = cli("explain", "model.mixer").out
    assert out.startswith("model.mixer: a part, chosen by its kind, default attention\n")
    assert "\n  gated-delta            S_t = a_t" in out
    assert "\nkeys of attention\n" in out
    assert "\n  heads     query heads.\n" in out


def test_without_a_key_all_sections_are_listed(cli) -> None:
    lines = cli("explain").out.splitlines()
    assert [line.split()[0] for line in lines] == list(descriptions(Recipe))
    assert [one["name"] for one in json.loads(cli("explain", "--json").out)] == list(descriptions(Recipe))


def test_an_unknown_key_is_one_sentence(cli) -> None:
    found = cli("explain", "model.mixer.haeds")
    assert found == (2, "", "transduce: there is no key `model.mixer.haeds`; did you mean `model.mixer.heads`?\n")


def test_the_schema_is_that_of_recipes(cli) -> None:
    found = cli("explain", "--schema").out
    assert found == cli("recipes", "schema").out
    clip = json.loads(found)["$defs"]["TrainConfig"]["properties"]["clip"]
    assert clip == {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "description": "largest norm of the gradient (None: any).",
        "default": 1.0,
    }


@pytest.mark.parametrize("command", ["train", "plan", "doctor", "prepare"])
def test_a_question_in_the_place_of_a_value_is_answered_and_nothing_is_done(cli, tmp_path, command: str) -> None:
    found = cli(command, "dates", "train.clip=?", "--model.width", "?")
    assert (found.code, found.err) == (0, "")
    assert found.out == cli("explain", "train.clip").out + cli("explain", "model.width").out
    assert not list(tmp_path.iterdir())
    parsed = json.loads(cli(command, "train.clip=?", "--json").out)
    assert [one["name"] for one in parsed] == ["train.clip"]
    assert cli(command, "train.klip=?").code == 2


def test_a_question_is_of_the_kinds_that_the_recipe_chooses(cli) -> None:
    assert "default 1\n" in cli("train", "dates", "model.mixer=additive", "model.mixer.heads=?").out
    assert "default 4\n" in cli("train", "dates", "model.mixer.heads=?").out
    assert "train.txt" in cli("train", "text", "data.path=?").out  # which the recipe needs
