import pytest
import yaml

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.generate.config import Bias, GenerateConfig

REFUSED = [
    ({"beam_size": 0}, "beam_size=0 must be at least 1"),
    ({"nbest": 0}, "nbest=0 must be at least 1"),
    ({"max_new_tokens": 0}, "max_new_tokens=0 must be at least 1"),
    ({"max_length_ratio": -1.0}, "max_length_ratio=-1.0 must not be negative"),
    ({"length_penalty": 11.0}, "length_penalty=11.0 is not between -10 and 10"),
    ({"temperature": -1.0}, "temperature=-1.0 must be 0"),
    ({"temperature": float("nan")}, "temperature=nan must be 0"),
    ({"temperature": 1.0, "top_k": 0}, "top_k=0 leaves no token"),
    ({"temperature": 1.0, "top_p": 0.0}, "top_p=0.0 must be above 0"),
    ({"temperature": 1.0, "min_p": 1.5}, "min_p=1.5 must be between 0 and 1"),
    ({"temperature": 1.0, "beam_size": 4}, "use beam_size=1 and nbest=4"),
    ({"top_k": 5}, "top_k acts on sampling, but temperature=0 does not sample; set temperature=1"),
    ({"top_p": 0.5}, "top_p acts on sampling"),
    ({"min_p": 0.5}, "min_p acts on sampling"),
    ({"nbest": 3, "beam_size": 2}, "set beam_size=3"),
    ({"stop": ("a", "")}, "a stop text is empty"),
    ({"stop": ("a", "\udcff")}, r"the stop text '\\udcff' is not UTF-8"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_what_cannot_be_is_refused_with_what_to_do(values: dict, message: str):
    with pytest.raises(UserError, match=message):
        GenerateConfig(**values)


def test_a_config_survives_plain_data():
    config = GenerateConfig(temperature=0.8, top_k=40, top_p=0.9, min_p=0.05, nbest=3, stop=("\n\n",), seed=4)
    assert from_data(GenerateConfig, to_data(config)) == config


@pytest.mark.parametrize("early", [None, "heuristic", "full", "never"])
def test_a_config_with_rules_survives_a_file(early):
    config = GenerateConfig(
        beam_size=4, early_stopping=early, length_norm="power", bad_words=((1, 2), (3,)), suppress=(5,), forced_bos=4,
        bias=(Bias(ids=(1, 2), add=-0.5),), forced_eos=(2,), exponential_decay=(3.0, 1.5), max_length=20,
        renormalise=True,
    )  # fmt: skip
    assert from_data(GenerateConfig, yaml.safe_load(yaml.safe_dump(to_data(config)))) == config
