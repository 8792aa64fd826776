"""Reads and writes Hugging Face's generation_config.json.

A setting of the file does here what it does in transformers 5, or it is named as not obeyed.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from transduce.errors import UserError
from transduce.generate.config import SAMPLING, Bias, GenerateConfig

NUMBERS = {  # key of Hugging Face -> our name, where both mean the same
    "repetition_penalty": "repetition_penalty", "encoder_repetition_penalty": "source_repetition_penalty",
    "top_h": "top_h", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "typical_p": "typical_p",
    "epsilon_cutoff": "epsilon_cutoff", "eta_cutoff": "eta_cutoff", "length_penalty": "length_penalty",
}  # fmt: skip
COUNTS = {
    "no_repeat_ngram_size": "no_repeat_ngram", "encoder_no_repeat_ngram_size": "source_no_repeat_ngram",
    "min_length": "min_length", "min_new_tokens": "min_new_tokens",
}  # fmt: skip
NONE = {"top_k": 0, "top_p": 1, "typical_p": 1, "epsilon_cutoff": 0, "eta_cutoff": 0}  # these values cut nothing
STOPPING = {"heuristic": False, "full": True, "never": "never"}  # our name -> value of Hugging Face
FLAGS = {"renormalize_logits": "renormalise", "remove_invalid_values": "replace_invalid"}
# Settings that are not obeyed here, and the value, if any, with which each does nothing.
BEYOND: dict[str, Any] = {
    "guidance_scale": 1, "watermarking_config": None, "token_healing": False, "max_time": None, "penalty_alpha": 0,
    "dola_layers": None, "num_beam_groups": 1, "diversity_penalty": 0, "constraints": None, "force_words_ids": None,
    "low_memory": False, "num_return_sequences": 1,
}  # fmt: skip
# Ids that the tokeniser has, and the keys that `settings` looks at by name.
READ = frozenset({
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "temperature", "max_length",
    "max_new_tokens", "early_stopping", "stop_strings", "do_sample", "num_beams", "bad_words_ids", "sequence_bias",
    "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "force_bos_token_to_be_generated",
})  # fmt: skip
# Settings that change no text: further outputs, caches, and speed.
IDLE = frozenset({
    "transformers_version", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "use_cache", "cache_implementation", "cache_config", "max_cache_len", "use_mtp",
    "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind",
    "target_lookbehind", "assistant_ensemble_weight", "speculation_type", "compile_config", "disable_compile",
    "prefill_chunk_size", "continuous_batching_config",
})  # fmt: skip


class Settings(NamedTuple):
    """The settings of a generation_config.json.

    unobeyed: settings that are not obeyed here, as `name=value`.
    unknown: keys that transformers does not have.
    """

    config: GenerateConfig
    unobeyed: tuple[str, ...]
    unknown: tuple[str, ...]

    def notice(self) -> str:
        """Returns a sentence, without its subject, the file, on the settings that are not obeyed; "" if all are."""
        parts = [f"asks for {', '.join(self.unobeyed)}, which is not done here"] if self.unobeyed else []
        parts += [f"has keys that are not known here ({', '.join(self.unknown)})"] if self.unknown else []
        return " and ".join(parts)


def settings(data: Mapping[str, Any], limit: int | None, *, most: int = 128) -> Settings:
    """Reads the contents of a generation_config.json. Raises UserError where a value does not suit its key.

    limit: positions of the model.
    most: new tokens where the file sets no length (transformers then warns and takes 20).
    """
    values: dict[str, Any] = {"length_norm": "power", "length_penalty": 1.0, "early_stopping": early(data)}
    for key, name in {**NUMBERS, **COUNTS}.items():
        value = number(data, key, whole=key in COUNTS or key == "top_k")
        if value is not None and value != NONE.get(key) and not (key.endswith("ngram_size") and value == 0):
            values[name] = value
    for key, name in FLAGS.items():
        values[name] = data.get(key) is True
    for key, name in {"suppress_tokens": "suppress", "begin_suppress_tokens": "begin_suppress"}.items():
        values[name] = ids(data, key)
    values["bad_words"] = tuple(ids({"bad_words_ids": row}, "bad_words_ids") for row in rows(data, "bad_words_ids"))
    values["bias"] = tuple(map(bias, rows(data, "sequence_bias")))
    values["forced_eos"] = ids(data, "forced_eos_token_id")
    begun = data.get("force_bos_token_to_be_generated") is True  # BART before there was an id for it
    values["forced_bos"] = next(iter(ids(data, "bos_token_id" if begun else "forced_bos_token_id")), None)
    name = "exponential_decay_length_penalty"
    values["exponential_decay"] = tuple(number({name: x}, name) or 0.0 for x in rows(data, name)) or None
    values["stop"] = stops(data)
    unobeyed = [f"{key}={data[key]}" for key, idle in BEYOND.items() if data.get(key) not in (None, idle)]
    known = {*NUMBERS, *COUNTS, *FLAGS, *BEYOND, *READ, *IDLE}
    unknown = tuple(key for key in data if key not in known and not key.startswith("_"))
    values |= lengths(data, limit, most)
    if "min_new_tokens" in values:  # which counts in transformers, too, where both are there
        values["min_length"] = 0
    beams = number(data, "num_beams", whole=True) or 1
    if beams > 1000:
        raise UserError(f"num_beams={beams} hypotheses are more than the 1,000 that are allowed; use 5, or 1 for none")
    values["beam_size"] = max(1, beams)
    if data.get("do_sample") is True and beams == 1:
        temperature = number(data, "temperature")
        values["temperature"] = 1.0 if temperature is None else temperature
        values.setdefault("top_k", None if data.get("top_k") == 0 else 50)  # the default of transformers
    elif data.get("do_sample") is True:
        unobeyed.append(f"do_sample=True with num_beams={beams}")
    if not values.get("temperature"):
        values = {name: value for name, value in values.items() if name not in SAMPLING}
    return Settings(GenerateConfig(**values), tuple(unobeyed), unknown)


def write(
    config: GenerateConfig, begins: Sequence[int] = (), barred: Collection[int] = ()
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """Returns a generation_config.json that generates as a config does, and the settings for which it has no key.

    max_new_tokens in the file would overrule the max_length that clients ask for. So it is written as max_length, and
    only where every answer begins with the same ids.

    begins: those ids, of which the prompt is the first.
    barred: ids that are never written.
    """
    usual = GenerateConfig()
    data: dict[str, Any] = {"num_beams": config.beam_size}
    if begins:
        data["max_length"] = min(config.max_new_tokens + 1, config.max_length or config.max_new_tokens + 1)
    for key, name in {**NUMBERS, **COUNTS}.items():
        if (value := getattr(config, name)) != getattr(usual, name) and name != "length_penalty":
            data[key] = value
    data |= {key: True for key, name in FLAGS.items() if getattr(config, name)}
    data |= {
        "suppress_tokens": sorted({*config.suppress, *barred}), "begin_suppress_tokens": list(config.begin_suppress),
        "bad_words_ids": [list(row) for row in config.bad_words], "forced_eos_token_id": list(config.forced_eos),
        "sequence_bias": [[list(one.ids), one.add] for one in config.bias],
        "exponential_decay_length_penalty": list(config.exponential_decay or ()),
    }  # fmt: skip
    data = {key: value for key, value in data.items() if value != []}
    data |= {} if config.forced_bos is None else {"forced_bos_token_id": config.forced_bos}
    missing = [f"{name}={value}" for name in ("max_length_ratio",) if begins and (value := getattr(config, name))]
    missing += [f"stop={list(config.stop)}"] if config.stop else []
    if config.beam_size > 1:
        early, power = config.early_stopping, config.length_norm == "power" or config.length_penalty == 0
        data |= {"length_penalty": config.length_penalty, "early_stopping": STOPPING[early or "full"]}
        missing += [] if power else ["length_norm=gnmt"]
        missing += ["a beam in which what has ended keeps its place"] if early is None else []
    if config.temperature > 0:
        data |= {"do_sample": True, "temperature": config.temperature, "top_k": config.top_k or 0}
    return data, missing


def lengths(data: Mapping[str, Any], limit: int | None, most: int) -> dict[str, int | None]:
    """Returns max_new_tokens and max_length, which counts the prompt too, neither beyond the model's positions.

    Where the file has both keys, max_new_tokens counts. Raises UserError.
    """
    new, whole = number(data, "max_new_tokens", whole=True), number(data, "max_length", whole=True)
    for name, value in (("max_new_tokens", new), ("max_length", whole)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value} leaves no token to write; use at least 1")
    room = None if limit is None else limit + 1  # the last token is not read
    if new is not None or whole is None:
        return {"max_new_tokens": new or most, "max_length": room}
    whole = whole if room is None else min(whole, room)
    return {"max_new_tokens": max(1, whole - 1), "max_length": whole}


def early(data: Mapping[str, Any]) -> str:
    value = data.get("early_stopping")
    if value not in (None, True, False, "never"):
        raise UserError(f"early_stopping={value!r} must be true, false or never")
    return next(name for name, one in STOPPING.items() if one == (value or False))


def number(data: Mapping[str, Any], key: str, *, whole: bool = False) -> Any:
    """Returns the number of a key, or None where the key is missing or null. Raises UserError."""
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
        raise UserError(f"{key}={value!r} is not a number to decode with")
    if whole and value != int(value):
        raise UserError(f"{key}={value} must be a whole number")
    return int(value) if whole else float(value)


def rows(data: Mapping[str, Any], key: str) -> list[Any]:
    """Returns the list of a key, empty where the key is missing or null. Raises UserError."""
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UserError(f"{key}={value!r} must be a list")
    return list(cast("Sequence[Any]", value))


def ids(data: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """Returns the ids of a key, which holds one id or a list. Raises UserError."""
    value = data.get(key)
    values = [value] if isinstance(value, int) else rows(data, key)
    if any(not isinstance(i, int) or isinstance(i, bool) for i in values):
        raise UserError(f"{key}={value!r} must be ids, which are whole numbers")
    return tuple(values)


def bias(pair: Any) -> Bias:
    row = rows({"sequence_bias": pair}, "sequence_bias")
    if len(row) != 2:
        raise UserError(f"sequence_bias holds {pair!r}; each entry must be a list of ids and a number")
    add = number({"sequence_bias": row[1]}, "sequence_bias")
    return Bias(ids=ids({"sequence_bias": row[0]}, "sequence_bias"), add=add or 0.0)


def stops(data: Mapping[str, Any]) -> tuple[str, ...]:
    value = data.get("stop_strings")
    texts = [value] if isinstance(value, str) else rows(data, "stop_strings")
    if any(not isinstance(text, str) for text in texts):
        raise UserError(f"stop_strings={value!r} must be texts")
    return tuple(texts)
