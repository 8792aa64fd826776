"""generation_config.json: every kind of model and every setting, token by token against transformers."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.generate import hugging_face
from transduce.generate.decode import decode
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.score import score
from transduce.model.models import Model
from transduce.testing.families import saved

transformers: Any = pytest.importorskip("transformers")

SIZE = 53
ROTARY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": SIZE, "initializer_range": 0.5,
    "max_position_embeddings": 64, "intermediate_size": 40,
}  # fmt: skip
PLAIN = {key: x for key, x in ROTARY.items() if key != "intermediate_size"}
GROUPED = {**ROTARY, "num_key_value_heads": 2}
HEADED = {**GROUPED, "head_dim": 6}
GPT = {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": SIZE, "n_positions": 64, "initializer_range": 0.5}
NEO = {
    "hidden_size": 24, "num_layers": 2, "num_heads": 4, "vocab_size": SIZE, "max_position_embeddings": 64,
    "initializer_range": 0.5, "attention_types": [[["global", "local"], 1]], "window_size": 5,
}  # fmt: skip
CTRL = {"n_embd": 24, "n_layer": 2, "n_head": 4, "vocab_size": SIZE, "n_positions": 64, "dff": 40}
T5 = {
    "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4, "vocab_size": SIZE,
    "decoder_start_token_id": 0, "initializer_factor": 1.0,
}  # fmt: skip
BART = {
    "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "vocab_size": SIZE, "max_position_embeddings": 64, "init_std": 0.5,
    "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", GPT),
    "openai-gpt": ("OpenAIGPTLMHeadModel", GPT),
    "gptj": ("GPTJForCausalLM", {**GPT, "rotary_dim": 4}),
    "gpt_neo": ("GPTNeoForCausalLM", NEO),
    "gpt_neox": ("GPTNeoXForCausalLM", ROTARY),
    "ctrl": ("CTRLLMHeadModel", CTRL),
    "opt": ("OPTForCausalLM", {**PLAIN, "ffn_dim": 40}),
    "bloom": ("BloomForCausalLM", {"hidden_size": 24, "n_layer": 2, "n_head": 4, "vocab_size": SIZE}),
    "llama": ("LlamaForCausalLM", GROUPED),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 6}),
    "mixtral": ("MixtralForCausalLM", {**GROUPED, "num_local_experts": 3}),
    "qwen2": ("Qwen2ForCausalLM", GROUPED),
    "qwen3": ("Qwen3ForCausalLM", HEADED),
    "gemma": ("GemmaForCausalLM", HEADED),
    "gemma2": ("Gemma2ForCausalLM", {**HEADED, "sliding_window": 6}),
    "gemma3_text": ("Gemma3ForCausalLM", {**HEADED, "sliding_window": 6}),
    "cohere": ("CohereForCausalLM", {**GROUPED, "logit_scale": 1.0}),
    "phi": ("PhiForCausalLM", ROTARY),
    "phi3": ("Phi3ForCausalLM", {**GROUPED, "pad_token_id": 0}),
    "falcon": ("FalconForCausalLM", PLAIN),
    "smollm3": ("SmolLM3ForCausalLM", GROUPED),
    "t5": ("T5ForConditionalGeneration", T5),
    "mt5": ("MT5ForConditionalGeneration", T5),
    "bart": ("BartForConditionalGeneration", BART),
    "mbart": ("MBartForConditionalGeneration", BART),
    "marian": ("MarianMTModel", {**BART, "decoder_start_token_id": 0}),
    "pegasus": ("PegasusForConditionalGeneration", {**BART, "decoder_start_token_id": 0}),
    "m2m_100": ("M2M100ForConditionalGeneration", BART),
}
WHOLE = ("gpt2", "t5", "bart")
MANY = list(range(2, 30))  # ends, so that hypotheses of random models come to one
BEAMS = {"num_beams": 4, "eos_token_id": MANY}
SETTINGS: dict[str, dict[str, Any]] = {
    "max_length": {"max_new_tokens": None, "max_length": 15},
    "max_length of the default": {"max_new_tokens": None, "max_length": 20},
    "new tokens before max_length": {"max_new_tokens": 5, "max_length": 40},
    "repetition_penalty": {"repetition_penalty": 1.8},
    "a reward for repetition": {"repetition_penalty": 0.6},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.7},
    "no_repeat_ngram_size 1": {"no_repeat_ngram_size": 1},
    "no_repeat_ngram_size 2": {"no_repeat_ngram_size": 2},
    "no_repeat_ngram_size 0": {"no_repeat_ngram_size": 0},
    "encoder_no_repeat_ngram_size 1": {"encoder_no_repeat_ngram_size": 1},
    "encoder_no_repeat_ngram_size 2": {"encoder_no_repeat_ngram_size": 2},
    "min_length": {"min_length": 10, "eos_token_id": MANY},
    "min_new_tokens": {"min_new_tokens": 9, "eos_token_id": MANY},
    "min_new_tokens before min_length": {"min_new_tokens": 3, "min_length": 12, "eos_token_id": MANY},
    "suppress_tokens": {"suppress_tokens": list(range(20, 53))},
    "suppress_tokens beyond the table": {"suppress_tokens": [*range(20, 50), 99]},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(20, 53))},
    "bad_words_ids": {"bad_words_ids": [[i] for i in range(20, 53)]},
    "bad_words_ids of several": {"bad_words_ids": [[i, j] for i in range(25, 53) for j in range(25, 53, 2)] + [[2]]},
    "sequence_bias": {"sequence_bias": [[[i], 6.0] for i in (7, 9)] + [[[7, i], -9.0] for i in (7, 9, 30)]},
    "forced_eos_token_id": {"forced_eos_token_id": 2},
    "forced_eos_token_id, several": {"forced_eos_token_id": [9, 2], "eos_token_id": [2, 9]},
    "forced_bos_token_id": {"forced_bos_token_id": 17, "begin_suppress_tokens": list(range(20, 53))},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": [3, 1.4]},
    "remove_invalid_values": {"remove_invalid_values": True, "suppress_tokens": [20]},
    "several ends": {"eos_token_id": [2, *range(30, 53)]},
    "several together": {
        "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 4, "suppress_tokens": [5, 6, 7],
        "begin_suppress_tokens": [8, 9], "bad_words_ids": [[10], [11, 12]], "forced_eos_token_id": 2,
        "eos_token_id": MANY, "encoder_no_repeat_ngram_size": 3,
    },
    "what acts on sampling alone": {"top_k": 3, "temperature": 0.3, "top_p": 0.4},
}  # fmt: skip
SEARCHES: dict[str, dict[str, Any]] = {
    "beams": {"num_beams": 4},
    "beams that end": BEAMS,
    "one end, twelve beams": {"num_beams": 12},
    "length_penalty 0": {**BEAMS, "length_penalty": 0.0},
    "length_penalty 2": {**BEAMS, "length_penalty": 2.0},
    "length_penalty -1": {**BEAMS, "length_penalty": -1.0},
    "early_stopping": {**BEAMS, "early_stopping": True},
    "early_stopping never": {**BEAMS, "early_stopping": "never", "length_penalty": 1.5},
    "early_stopping never, no penalty": {**BEAMS, "early_stopping": "never", "length_penalty": 0.0},
    "early_stopping and a penalty": {**BEAMS, "early_stopping": True, "length_penalty": 3.0},
    "renormalize_logits": {**BEAMS, "renormalize_logits": True, "suppress_tokens": list(range(20, 45))},
    "repetition_penalty in a beam": {**BEAMS, "repetition_penalty": 1.6},
    "n-grams in a beam": {"num_beams": 3, "no_repeat_ngram_size": 2},
    "min_length in a beam": {**BEAMS, "min_length": 9},
    "max_length in a beam": {**BEAMS, "max_new_tokens": None, "max_length": 14},
    "exponential decay in a beam": {**BEAMS, "exponential_decay_length_penalty": [2, 1.3]},
    "forced ends in a beam": {"num_beams": 4, "forced_eos_token_id": 2},
    "bad words in a beam": {**BEAMS, "bad_words_ids": [[i, j] for i in range(30, 53) for j in range(3, 30)]},
    "forced_bos in a beam": {**BEAMS, "forced_bos_token_id": 40, "length_penalty": 2.0},
}


class Ids(NamedTuple):
    """A vocabulary without text."""

    bos: int
    eos: int
    ends: tuple[int, ...] = ()

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


class Pair(NamedTuple):
    """One random model, as transformers and as we compute it."""

    theirs: Any
    ours: Model

    def vocabulary(self, data: dict[str, Any]) -> Ids:
        ends = data.get("eos_token_id", 2)
        ends = [ends] if isinstance(ends, int) else ends
        return Ids(data["decoder_start_token_id"] if self.ours.takes_source else 1, ends[0], tuple(ends[1:]))

    def given(self, rows: list[list[int]]) -> dict[str, list[list[int]]]:
        return {"source": [[*row, 2] for row in rows]} if self.ours.takes_source else {"prompt": rows}


PROMPTS = [[7, 30, 7, 30, 12], [33], [45, 46, 45, 8, 9, 45, 46]]


def made(kind: str, folder: Path) -> Pair:
    name, options = MODELS[kind]
    config = getattr(transformers, name).config_class.__name__
    return Pair(saved(config, name, options, folder), checkpoint.read(folder).model)


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["gpt2", "bart"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(request.param, tmp_path_factory.mktemp("model"))


def settings(pair: Pair, said: dict[str, Any]) -> dict[str, Any]:
    start = pair.theirs.config.decoder_start_token_id if pair.ours.takes_source else None
    marks = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": start}
    data = {**marks, "max_new_tokens": 12, **said}
    return {key: value for key, value in data.items() if value is not None}


def written(pair: Pair, row: list[int], data: dict[str, Any], **more: Any) -> Any:
    """What transformers writes for one input."""
    x = torch.tensor([[*row, 2] if pair.ours.takes_source else row])
    config = transformers.GenerationConfig(**data, **more)
    pair.theirs.generation_config = config
    with torch.inference_mode():
        return pair.theirs.generate(x, attention_mask=torch.ones_like(x))


def tokens(pair: Pair, row: list[int], ids: list[int], ends: tuple[int, ...]) -> tuple[list[int], bool]:
    """The new ids without their end and what pads them, and whether they came to one."""
    new = ids[1 if pair.ours.takes_source else len(row) :]
    end = next((i for i, token in enumerate(new) if token in ends), None)
    return (new, False) if end is None else (new[:end], True)


def check(pair: Pair, said: dict[str, Any]) -> list[Hypothesis]:
    data = settings(pair, said)
    vocabulary, config = pair.vocabulary(data), hugging_face.settings(data, pair.ours.limit).config
    prompts = PROMPTS if pair.theirs.config.model_type in WHOLE else PROMPTS[:2]
    found = [row[0] for row in decode(pair.ours, vocabulary, config, **pair.given(prompts))]
    for row, best in zip(prompts, found, strict=True):
        expected = tokens(pair, row, written(pair, row, data)[0].tolist(), (vocabulary.eos, *vocabulary.ends))
        assert (best.ids, best.finished) == expected, (row, said)
    return found


def asked_of(pair: Pair, settings: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """All settings of a few kinds of models, a third of the others, each setting with as many kinds as another."""
    kind = pair.theirs.config.model_type
    return list(settings.values())[0 if kind in WHOLE else list(MODELS).index(kind) % 3 :: 1 if kind in WHOLE else 3]


def test_every_kind_of_model_writes_what_transformers_writes_by_every_setting(pair: Pair):
    for said in asked_of(pair, SETTINGS):
        check(pair, said)


def test_every_kind_of_model_searches_as_transformers_does(pair: Pair):
    for said in asked_of(pair, SEARCHES):
        check(pair, said)


@pytest.mark.parametrize("said", SEARCHES.values(), ids=SEARCHES)
def test_the_n_best_are_those_of_transformers_in_order(either: Pair, said: dict[str, Any]):
    data = settings(either, said)
    vocabulary, config = either.vocabulary(data), hugging_face.settings(data, either.ours.limit).config
    config = replace(config, nbest=3)
    for row, found in zip(PROMPTS, decode(either.ours, vocabulary, config, **either.given(PROMPTS)), strict=True):
        ends = (vocabulary.eos, *vocabulary.ends)
        expected = written(either, row, data, num_return_sequences=3).tolist()
        assert [(h.ids, h.finished) for h in found] == [tokens(either, row, ids, ends) for ids in expected]


@pytest.mark.parametrize(
    "said",
    [
        said
        for name, said in SETTINGS.items()
        if not name.startswith(("encoder", "max_length", "min_length", "forced_bos"))
    ]
    + [SEARCHES["beams that end"], SEARCHES["early_stopping"]],
)
def test_a_batch_of_prompts_of_other_lengths_is_that_of_transformers(either: Pair, said: dict[str, Any]):
    """Padded on the left as transformers wants it; what counts padding there, such as max_length, is left out."""
    data = settings(either, said)
    vocabulary, config = either.vocabulary(data), hugging_face.settings(data, either.ours.limit).config
    rows = [[*row, 2] for row in PROMPTS] if either.ours.takes_source else PROMPTS
    width = max(map(len, rows))
    pads = [[0] * (width - len(row)) for row in rows]
    sides = [(row, pad) if either.ours.takes_source else (pad, row) for row, pad in zip(rows, pads, strict=True)]
    x = torch.tensor([[*a, *b] for a, b in sides])
    either.theirs.generation_config = transformers.GenerationConfig(**data)
    with torch.inference_mode():
        expected = either.theirs.generate(x, attention_mask=(x > 0).long())[
            :, 1 if either.ours.takes_source else width :
        ]
    ends = (vocabulary.eos, *vocabulary.ends)
    for best, new in zip(
        decode(either.ours, vocabulary, config, **either.given(PROMPTS)), expected.tolist(), strict=True
    ):
        end = next((i for i, token in enumerate(new) if token in ends), None)
        assert best[0].ids == new[:end]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {"max_new_tokens": 128, "max_length": 65, "length_norm": "power", "length_penalty": 1.0}),
        ({"max_new_tokens": 100, "max_length": 30}, {"max_new_tokens": 100, "max_length": 65}),
        ({"max_length": 30}, {"max_new_tokens": 29, "max_length": 30}),
        ({"max_length": 512}, {"max_new_tokens": 64, "max_length": 65}),
        ({"do_sample": True}, {"temperature": 1.0, "top_k": 50}),
        ({"do_sample": True, "top_k": 0, "top_p": 1.0, "typical_p": 1.0}, {"temperature": 1.0, "top_k": None}),
        (
            {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "min_p": 0.1},
            {"top_k": 50, "top_p": 0.9, "min_p": 0.1},
        ),
        ({"do_sample": True, "temperature": 0.0, "top_k": 9}, {"temperature": 0.0, "top_k": None}),
        ({"stop_strings": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"stop_strings": "a"}, {"stop": ("a",)}),
        ({"force_bos_token_to_be_generated": True, "bos_token_id": 7}, {"forced_bos": 7}),
        ({"repetition_penalty": None, "bad_words_ids": None}, {"repetition_penalty": 1.0, "bad_words": ()}),
    ],
)
def test_what_a_file_holds_is_read(data: dict[str, Any], expected: dict[str, Any]):
    found = hugging_face.settings(data, 64)
    assert {name: getattr(found.config, name) for name in expected} == expected
    assert found.notice() == ""


@pytest.mark.parametrize(
    ("data", "notice"),
    [
        ({"guidance_scale": 1.5}, "asks for guidance_scale=1.5, which is not done here"),
        ({"penalty_alpha": 0.6, "num_beam_groups": 2}, "asks for penalty_alpha=0.6, num_beam_groups=2, which is not"),
        ({"do_sample": True, "num_beams": 4}, "asks for do_sample=True with num_beams=4, which is not done here"),
        ({"repetition_penality": 1.5}, r"has keys that are not known here \(repetition_penality\)"),
        ({"max_time": 3, "x": 1}, r"asks for max_time=3, which is not done here and has keys that .* \(x\)"),
    ],
)
def test_what_is_not_obeyed_is_named(data: dict[str, Any], notice: str):
    found = hugging_face.settings(data, None).notice()
    assert re.match(notice, found)


def test_every_setting_of_transformers_is_obeyed_or_named():
    known = {*hugging_face.NUMBERS, *hugging_face.COUNTS, *hugging_face.FLAGS, *hugging_face.BEYOND}
    known |= hugging_face.READ | hugging_face.IDLE
    settings = {key for key in transformers.GenerationConfig().to_dict() if not key.startswith("_")}
    assert settings <= known


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 leaves no token to write"),
        ({"max_length": -1}, "max_length=-1 leaves no token"),
        ({"repetition_penalty": "much"}, "repetition_penalty='much' is not a number"),
        ({"repetition_penalty": 0}, "repetition_penalty=0.0 must be a positive number"),
        ({"no_repeat_ngram_size": 2.5}, "no_repeat_ngram_size=2.5 must be a whole number"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram=-2 must be at least 1"),
        ({"suppress_tokens": ["a"]}, "suppress_tokens=.* must be ids"),
        ({"suppress_tokens": [-3]}, "suppress holds a negative number"),
        ({"bad_words_ids": [[]]}, "bad_words and bias hold a row without ids"),
        ({"bad_words_ids": 3}, "bad_words_ids=3 must be a list"),
        ({"sequence_bias": [[[1]]]}, "each entry must be a list of ids and a number"),
        ({"exponential_decay_length_penalty": [1]}, "exponential_decay=.* must be .* a length and a factor"),
        ({"exponential_decay_length_penalty": [1, "a"]}, "exponential_decay_length_penalty='a' is not a number"),
        ({"early_stopping": "soon"}, "early_stopping='soon' must be true, false or never"),
        ({"stop_strings": [1]}, "stop_strings=.* must be texts"),
        ({"num_beams": 5000}, "num_beams=5000 hypotheses"),
        ({"length_penalty": 99.0}, "length_penalty=99.0 is not between -10 and 10"),
    ],
)
def test_what_is_no_value_of_its_key_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        hugging_face.settings(data, None)


@pytest.mark.parametrize("said", [{"max_length": 5}, {"max_length": 7, "num_beams": 3}])
def test_a_prompt_that_leaves_no_token_is_refused_as_transformers_refuses_it(either: Pair, said: dict[str, Any]):
    if either.ours.takes_source:
        pytest.skip("the prompt of an answer is one token")
    data = settings(either, {"max_new_tokens": None, **said})
    config = hugging_face.settings(data, either.ours.limit).config
    with pytest.raises(UserError, match=r"and max_length=. counts them too, .* set max_new_tokens=20"):
        decode(either.ours, either.vocabulary(data), config, prompt=[PROMPTS[2]])
    with pytest.raises(ValueError, match="max_length"):
        written(either, PROMPTS[2], data)


@pytest.mark.parametrize(
    ("said", "message"),
    [({"bad_words_ids": [[99]]}, "bad_words holds the id 99, but the model's table has 53 rows"),
     ({"forced_eos_token_id": 53}, "forced_bos and forced_eos holds the id 53"),
     ({"sequence_bias": [[[3, 77], 1.0]]}, "bias holds the id 77")],
)  # fmt: skip
def test_ids_beyond_the_table_are_refused(either: Pair, said: dict[str, Any], message: str):
    data = settings(either, said)
    config = hugging_face.settings(data, either.ours.limit).config
    with pytest.raises(UserError, match=message):
        decode(either.ours, either.vocabulary(data), config, **either.given(PROMPTS))


@pytest.mark.parametrize("said", [SETTINGS["several together"], {**SEARCHES["repetition_penalty in a beam"]}])
def test_the_score_is_log_p_of_the_model_whatever_the_rules(either: Pair, said: dict[str, Any]):
    data = settings(either, {key: x for key, x in said.items() if key != "forced_eos_token_id"})
    vocabulary, config = either.vocabulary(data), hugging_face.settings(data, either.ours.limit).config
    for row, (best,) in zip(PROMPTS, decode(either.ours, vocabulary, config, **either.given(PROMPTS)), strict=True):
        end = [] if not best.finished else [vocabulary.eos if best.end is None else best.end]
        prompts = None if either.ours.takes_source else [row]
        sources = [[*row, 2]] if either.ours.takes_source else None
        (again,) = score(
            either.ours, vocabulary, targets=[best.ids + end], sources=sources, prompts=prompts, ends=False
        )
        assert best.score == pytest.approx(again.total, abs=1e-4)
        assert best.length == len(again.tokens)
        assert best.per_token == pytest.approx(again.total / len(again.tokens), abs=1e-4)


def test_of_a_forced_beginning_nothing_is_counted(either: Pair):
    data = settings(either, {"forced_bos_token_id": 17, "num_beams": 3})
    vocabulary, config = either.vocabulary(data), hugging_face.settings(data, either.ours.limit).config
    rows = [[33], [7, 30]]
    for row, (best,) in zip(rows, decode(either.ours, vocabulary, config, **either.given(rows)), strict=True):
        sources = [[*row, 2]] if either.ours.takes_source else None
        start = [vocabulary.bos] if sources else row
        forced = [17] * (len(start) == 1)  # it stands second or nowhere
        target = [*best.ids[len(forced) :], *([vocabulary.eos] if best.finished else [])]
        (again,) = score(
            either.ours, vocabulary, targets=[target], sources=sources, prompts=[[*start, *forced]], ends=False
        )
        assert best.ids[: len(forced)] == forced
        assert best.score == pytest.approx(again.total, abs=1e-4)
