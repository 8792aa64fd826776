"""What is written fits a regular expression or a JSON schema, for any model, however it is chosen."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.rows import Request, Rows
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.text.bpe import Bpe
from transduce.text.byte import Byte
from transduce.text.char import Char
from transduce.text.tokenizer import Tokenizer
from transduce.text.word import Word

pytest.importorskip("llguidance", reason="the extra `forms` is not installed")

TEXT = ['{"name": "Ann", "age": 31}', "0123456789 -+.,:[]{}", "the quick brown fox, é ü 猫", '"true" "false" null'] * 9
TOKENIZERS = {"byte": Byte(), "bpe": Bpe(vocab_size=300), "char": Char()}
CODE = r"[a-c]{2}-[0-9]{3}"
SCHEMA = {
    "type": "object", "required": ["age"], "additionalProperties": False,
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
}  # fmt: skip
WAYS = ({}, {"beam_size": 3, "nbest": 2}, {"temperature": 1.0, "nbest": 3})


def made(name: str) -> Tokenizer:
    return TOKENIZERS[name].train(iter(TEXT))


def bodies(size: int) -> dict[str, Any]:
    configs = {
        "attention": DecoderConfig(width=32, layers=1),
        "lstm": DecoderConfig(width=32, layers=1, mixer=LSTMConfig()),
        "with a source": EncoderDecoderConfig(width=32, layers=1),
    }
    return {name: config.build(size, seed=3).eval() for name, config in configs.items()}


@pytest.mark.parametrize("way", WAYS, ids=["greedy", "beams", "drawn"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_text_fits_the_expression(name: str, way: dict[str, Any]) -> None:
    tokenizer = made(name)
    config = GenerateConfig(max_new_tokens=20, regex=CODE, **way)
    for body, model in bodies(tokenizer.vocab_size).items():
        given = [tokenizer.encode("the fox"), tokenizer.encode("a")]
        rows = decode(model, tokenizer, config, **({"source": given} if body == "with a source" else {"prompt": given}))
        for h in (h for row in rows for h in row):
            assert h.finished, body
            assert re.fullmatch(CODE, tokenizer.decode(h.ids)), (body, tokenizer.decode(h.ids))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_text_fits_the_schema(name: str) -> None:
    tokenizer = made(name)
    config = GenerateConfig(max_new_tokens=60, json_schema=json.dumps(SCHEMA), temperature=1.0, nbest=4, seed=5)
    model = bodies(tokenizer.vocab_size)["attention"]
    texts = [tokenizer.decode(h.ids) for h in decode(model, tokenizer, config, prompt=[[5, 6]])[0] if h.finished]
    assert texts
    for text in texts:
        assert 0 <= json.loads(text)["age"] <= 99


def test_beams_that_outnumber_the_texts() -> None:
    tokenizer = made("char")
    for model in bodies(tokenizer.vocab_size).values():
        given = {"source" if hasattr(model, "encoder") else "prompt": [[5, 6]]}
        rows = decode(
            model, tokenizer, GenerateConfig(max_new_tokens=9, regex="12(3|4)", beam_size=5, nbest=5), **given
        )
        assert {tokenizer.decode(h.ids) for h in rows[0]} == {"123", "124"}


def test_characters_of_several_bytes_are_written_in_parts() -> None:
    tokenizer = made("byte")
    model = bodies(tokenizer.vocab_size)["attention"]
    rows = decode(model, tokenizer, GenerateConfig(max_new_tokens=9, regex="[猫é]{2}"), prompt=[[5]])
    assert re.fullmatch("[猫é]{2}", tokenizer.decode(rows[0][0].ids))


def test_rows_that_come_and_go_write_what_is_written_alone() -> None:
    tokenizer = made("bpe")
    model, config = bodies(tokenizer.vocab_size)["attention"], GenerateConfig(max_new_tokens=20, regex=CODE)
    prompts = [tokenizer.encode("the fox"), tokenizer.encode("a"), [7]]
    rows = Rows(model, tokenizer)
    growing = [rows.admit(Request(prompt, config, 20)) for prompt in prompts]
    while any(not one.over for one in growing):
        rows.step()
    alone = [decode(model, tokenizer, config, prompt=[prompt], alike=True)[0] for prompt in prompts]
    assert [one.hypotheses[0].ids for one in growing] == [row[0].ids for row in alone]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"regex": "[a-"}, "regex cannot be followed"), ({"json_schema": "{"}, "json_schema cannot be followed"),
        ({"json_schema": '{"type": "colour"}'}, "json_schema cannot be followed"),
        ({"regex": "a", "json_schema": "{}"}, "give one of them"),
    ],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(form: dict[str, str], message: str) -> None:
    tokenizer = made("char")
    model = bodies(tokenizer.vocab_size)["attention"]
    with pytest.raises(UserError, match=message) as error:
        decode(model, tokenizer, GenerateConfig(**form), prompt=[[5]])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("form", ["\u03a9+", "1\u03a9"])
def test_what_the_tokeniser_cannot_write_is_told(form: str) -> None:
    tokenizer = made("char")
    model = bodies(tokenizer.vocab_size)["attention"]
    with pytest.raises(UserError, match="a form of characters that the tokeniser lacks") as error:
        decode(model, tokenizer, GenerateConfig(regex=form), prompt=[[5]])
    assert "<state>" not in str(error.value)


def test_a_recipe_with_a_form_that_is_none_is_refused_before_a_step(tmp_path: Path) -> None:
    small = {"data.train_size": 40, "data.valid_size": 4, "data.test_size": 4, "train.max_steps": 500}
    with pytest.raises(UserError, match="regex cannot be followed"):
        td.train("dates", {**small, "generate.regex": "[a-"}, out=tmp_path, quiet=True)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_tokeniser_of_whole_words_is_refused() -> None:
    tokenizer = Word().train(iter(TEXT))
    model = bodies(tokenizer.vocab_size)["attention"]
    with pytest.raises(UserError, match="whole words"):
        decode(model, tokenizer, GenerateConfig(regex="a+"), prompt=[[5]])
