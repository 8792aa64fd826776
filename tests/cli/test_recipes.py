import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import transduce
from transduce import recipes
from transduce.config import to_data
from transduce.data.readers.actions import Actions
from transduce.data.readers.labels import Labels
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.points import Points
from transduce.data.readers.reader import Readers
from transduce.data.readers.returns import Returns
from transduce.data.readers.vectors import Vectors
from transduce.errors import UserError
from transduce.recipes import architectures
from transduce.runs import assumed
from transduce.text.char import Char
from transduce.worlds.graph import GraphConfig

PATH = set(recipes.names()) - {"dates", "ring", "sums"}


def overrides(name: str) -> dict[str, Any]:
    return {"data.path": "somewhere"} if name in PATH else {}


def test_ls_starts_with_the_default_and_says_what_each_does(cli: Any) -> None:
    first, second = cli("recipes", "ls").out.split("\n\n")
    title, *listed = second.splitlines()
    assert title == "Architectures, for model=NAME in any recipe:"
    names = [line.split()[0] for line in first.splitlines()]
    assert names[0] == "dates"
    assert {"multi30k", "shakespeare", "pairs", "text", "sutskever-2014", "transformer-base-2017"} <= set(names)
    assert [line.split()[0] for line in listed] == architectures.names()
    lines = [*first.splitlines(), *listed]
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_whole_and_says_nothing_unknown(name: str) -> None:
    recipe = transduce.recipe(name, overrides(name))
    assert recipe.name == name
    labels, pictures = Labels(names=("a", "b")), Pictures(height=28, width=28, channels=1)
    episodes = {"states": Vectors(mean=(0.0,)), "actions": Actions(classes=2), "rewards": Returns()}
    others = {
        "tags": labels,
        "image": pictures,
        "point": Points(mean=(0.0, 0.0), deviation=(1.0, 1.0)),
        "sound": LogMel(mels=40),
        **episodes,
    }
    text = Char().train(["abc"]) if recipe.task.kind in ("transcribe", "match", "caption", "illustrate") else None
    readers = Readers(text, {"label": labels, "labels": labels, **others})
    model = recipe.task.shaped(recipe.model, readers).build(300)
    assert model.takes_source == (recipe.task.kind in ("translate", "denoise", "minimum-risk", "caption"))


def test_the_ten_million_parameters() -> None:
    model = transduce.recipe("shakespeare-10m", {"data.path": "x"}).model.build(4 + 65)
    assert 10.6e6 < sum(p.numel() for p in model.parameters()) < 10.8e6


@pytest.mark.parametrize("name", sorted(PATH - {"act", "plan"}))
def test_a_recipe_without_its_files_says_what_it_needs(cli: Any, name: str) -> None:
    found = cli("train", name)
    assert found.code == 2
    assert found.err.startswith(f"transduce: recipe `{name}` needs ")
    assert found.err.endswith("; add data.path=...\n")


def test_episodes_come_from_files_or_from_a_world(cli: Any) -> None:
    assert cli("train", "act").err.endswith("name files, data.path=..., or a world: world=graph\n")
    short, long = ({key: "graph", f"{key}.seed": 3} for key in ("world", "data.world"))
    assert transduce.recipe("act", short) == transduce.recipe("act", long)
    assert to_data(transduce.recipe("act", short).task)["world"] == to_data(GraphConfig(seed=3))


def test_show_prints_the_file_with_its_comments(cli: Any) -> None:
    out = cli("recipes", "show", "dates").out
    assert out.startswith("# ")
    assert yaml.safe_load(out)["name"] == "dates"


def test_an_unknown_recipe_names_the_nearest(cli: Any) -> None:
    assert cli("recipes", "show", "date").err == (
        "transduce: there is no recipe `date`; did you mean `dates`?; `transduce recipes ls` lists them\n"
    )
    assert "did you mean `multi30k`?" in cli("train", "multi3k").err
    assert cli("train", "nothing-like.yaml").code == 2
    Path("mine.yaml").write_text("base: dates\n", "utf-8")
    assert "there is no recipe or file `mine`; did you mean `mine.yaml`?" in cli("train", "mine").err


def test_cp_makes_a_file_that_trains_the_same_and_never_overwrites(cli: Any, tmp_path: Path) -> None:
    assert cli("recipes", "cp", "dates").out == "dates.yaml\n"
    assert transduce.recipe("dates.yaml") == transduce.recipe("dates")
    assert cli("recipes", "cp", "dates", "sub.yaml").code == 0
    assert transduce.recipe("sub.yaml") == transduce.recipe("dates", {"name": "sub"})
    assert Path("sub.yaml").read_text("utf-8").count("#") == Path("dates.yaml").read_text("utf-8").count("#")
    again = cli("recipes", "cp", "dates")
    assert again.code == 2
    assert again.err == (
        "transduce: dates.yaml exists already; give another name: transduce recipes cp dates FILE.yaml\n"
    )
    (tmp_path / "folder").mkdir()
    assert cli("recipes", "cp", "dates", "folder").out == "folder/dates.yaml\n"
    assert cli("recipes", "cp", "dates", "no/such/folder.yaml").err.startswith(
        "transduce: no/such/folder.yaml: no such"
    )


def test_a_file_may_start_from_a_recipe_or_another_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: dates\nmodel: {width: 64}\n", "utf-8")
    (tmp_path / "more.yaml").write_text("base: mine.yaml\nname: other\nmodel: {layers: 1}\n", "utf-8")
    mine = transduce.recipe(str(tmp_path / "mine.yaml"))
    more = transduce.recipe(str(tmp_path / "more.yaml"), {"train.max_steps": 700})
    assert mine.name == "mine"
    assert mine.model.width == more.model.width == 64
    assert (more.name, more.model.layers, more.train.max_steps) == ("other", 1, 700)
    assert mine.data == transduce.recipe("dates").data


def test_a_base_gives_what_the_recipe_needs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: multi30k\ndata: {{path: {tmp_path}, source: en, target: fr}}\n", "utf-8")
    assert (
        transduce.recipe(str(file)).data
        == transduce.recipe("multi30k", {"data.path": str(tmp_path), "data.source": "en", "data.target": "fr"}).data
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"model: [1\n", r"file\.yaml, line 2, column 1 is not YAML: .*expected ',' or '\]'"),
        (b"# nothing\n", r"file\.yaml is empty; `transduce recipes cp` makes a recipe"),
        (b"- 1\n", r"file\.yaml holds list, but a recipe is a mapping"),
        (b"name: \xff\n", r"file\.yaml is not UTF-8 \(byte 6\); save it as UTF-8"),
        (b"base: file.yaml\n", r"are based on each other; remove one `base`"),
        (b"base: datse\n", r"there is no recipe or file `datse`; did you mean `dates`\?"),
        (b"base: dates\nmodle: {}\n", r"unknown key `modle`; did you mean `model`\?"),
        (b"[" * 10**5, r"file\.yaml is nested too deeply"),
        *((b"base: dates\nneeds: %b\n" % x, r"`needs` of recipe .* must map") for x in (b"", b"5", b"[a]")),
        (b"base: dates\nneeds: {data.path: your files}\n", r"needs your files; add data\.path="),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "file.yaml").write_bytes(content)
    with pytest.raises(UserError, match=told):
        transduce.recipe(str(tmp_path / "file.yaml"))


def test_no_key_of_a_kind_that_was_not_chosen_is_suggested(cli: Any) -> None:
    assert "did you mean `data.locales`?" in cli("train", "dates", "locales=en").err
    assert "data.locales" not in cli("train", "pairs", "data.path=x", "locales=en").err
    assert "did you mean `data.header`?" in cli("train", "pairs", "data.path=x", "header=true").err


@pytest.mark.parametrize("value", ["2026-13-45", "[" * 10**5])
def test_a_value_that_yaml_cannot_read_is_text(value: str) -> None:
    assert transduce.recipe("dates", {"name": value}).name == value


def test_the_order_of_overrides_does_not_lose_the_keys_of_a_new_kind() -> None:
    pairs = [("data.path", "a"), ("data.source", "x"), ("data.target", "y"), ("data.kind", "parallel")]
    assert transduce.recipe("dates", pairs) == transduce.recipe("dates", reversed(pairs))


def test_the_schema_knows_every_key_of_every_recipe(cli: Any) -> None:
    schema = json.loads(cli("recipes", "schema").out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["$ref"] == "#/$defs/Recipe"
    for name in recipes.names():
        assert yaml.safe_load(recipes.text(name)).keys() <= schema["$defs"]["Recipe"]["properties"].keys()


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("a.tsv", "x\ty\n", "pairs data.path=a.tsv"),
        ("a b.csv", "x,y\n", "pairs 'data.path=a b.csv'"),
        ("a.txt", "x\ty\nz\tw\n", "pairs data.path=a.txt"),
        ("a.txt", "a book\n\nof two lines", "text data.path=a.txt"),
        ("a.jsonl", '{"text": "x"}\n', "text data.path=a.jsonl data.unit=line"),
        (
            "a.jsonl",
            '{"id": 1, "q": "x", "a": "y"}\n',
            "pairs data.path=a.jsonl data.source_field=q data.target_field=a",
        ),
        ("d/train.tsv", "x\ty\n", "pairs data.path=d"),
        ("d/one.txt", "x\n", "text data.path=d"),
    ],
)
def test_data_in_the_place_of_a_recipe_are_told_the_recipe_that_fits(
    cli: Any, tmp_path: Path, name: str, content: str, command: str
) -> None:
    """And that one reads them: what is printed can be typed."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content * 3 if "\n" in content[:-1] else content, "utf-8")
    for verb in ("train", "plan", "doctor"):
        found = cli(verb, name.split("/")[0])
        assert (found.code, found.out) == (2, "")
        assert found.err.endswith(
            f" is data, and what comes first is a recipe; this one would fit: transduce train {command}\n"
        )
    recipe, *words = shlex.split(command)
    transduce.recipe(recipe, [("data.valid_fraction", "0"), *overrides_of(words)]).data.load()


def test_a_folder_of_two_languages_a_run_and_a_published_model_are_told_apart(cli: Any, tmp_path: Path) -> None:
    for name in ("par/train.de", "par/train.en", "run/config.yaml", "model/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    fits = "pairs data.path=par data.kind=parallel data.source=de data.target=en"
    assert cli("train", "par").err.endswith(f"transduce train {fits}\n")
    recipe = transduce.recipe("pairs", [("data.valid_fraction", "0"), *overrides_of(list[str](fits.split()[1:]))])
    assert list(recipe.data.load()["train"]["target"]) == ["x"]
    no_weights = "run has a config.yaml, but no checkpoints to start from; its recipe is run/config.yaml"
    assert no_weights in cli("train", "run").err
    assert "a recipe starts from it with start=model" in cli("train", "model").err


@pytest.mark.parametrize(("data", "model", "objective"), [
    ("{kind: pairs, path: x}", "encoder-decoder", "translation"),
    ("{kind: parallel, path: x, source: de, target: en}", "encoder-decoder", "translation"),
    ("dates", "encoder-decoder", "translation"),
    ("{kind: text, path: x}", "decoder", "next-token"),
    ("{kind: text, path: x, unit: line}", "encoder", "masked-lm"),
])  # fmt: skip
def test_a_recipe_without_an_objective_learns_what_its_data_are_for(
    tmp_path: Path, data: str, model: str, objective: str
) -> None:
    file = tmp_path / "own.yaml"
    shape = f"{{kind: {model}, width: 16, layers: 1, mixer: {{kind: attention, heads: 2}}}}"
    file.write_text(f"data: {data}\ntokenizer: char\nmodel: {shape}\n")
    assert transduce.recipe(str(file)).objective.kind == objective
    file.write_text(f"data: {data}\ntokenizer: char\nmodel: transformer-base-2017\n")
    translates = objective == "translation"
    assert transduce.recipe(str(file)).model.kind == ("encoder-decoder" if translates else "decoder")


@pytest.mark.parametrize("name", ["pairs", "text", "multi30k", "shakespeare"])
def test_a_copied_template_says_where_its_path_belongs(cli: Any, tmp_path: Path, name: str) -> None:
    assert cli("recipes", "cp", name, "own.yaml").code == 0
    found = cli("train", "own.yaml")
    assert found.err == (
        "transduce: data.path of own.yaml is empty; write where your data are behind `path:`, or add data.path=...\n"
    )
    source = Path("own.yaml").read_text("utf-8")
    assert source.count("\n  path: ") == 1
    Path("own.yaml").write_text(source.replace("\n  path: ", "\n  path: mine  "), "utf-8")
    assert transduce.recipe("own.yaml") == transduce.recipe(name, {"data.path": "mine", "name": "own"})
    old = recipes.text(name)  # a copy of before, filled in where it said what it needs
    (tmp_path / "there").mkdir()
    Path("old.yaml").write_text(re.sub("data.path: .*", "data.path: there", old), "utf-8")
    assert transduce.recipe("old.yaml").data == transduce.recipe(name, {"data.path": "there"}).data


def overrides_of(words: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (word.partition("=") for word in words)]


@pytest.mark.parametrize("kind", ["mixture", "dates", "sums", "ring"])
def test_a_recipe_needs_no_key_that_data_of_another_kind_have_not(kind: str) -> None:
    sources = {"a": {"kind": "text", "path": "a.txt"}, "b": {"kind": "text", "path": "b.txt"}}
    more = [("data.of", sources)] if kind == "mixture" else []
    data = recipes.read("text" if more else "pairs", [("data.kind", kind), *more], shape=assumed.shape)["data"]
    assert data["kind"] == kind
    with pytest.raises(UserError, match=r"needs your file.*add data\.path"):
        recipes.read("pairs", [("data.kind", "parallel")], shape=assumed.shape)
