"""All kinds of drafts, and what they cannot do."""

import pytest

from transduce.config import from_data, kinds, to_data
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.draft.draft import MOST, DraftConfig
from transduce.model.ops.rows import FEW


def test_all_guesses_and_one_more_are_queries_that_are_answered_alone():
    assert MOST + 1 < FEW


def test_every_kind_is_written_and_read():
    for kind in kinds(DraftConfig.folder):
        data = {"draft": {"kind": kind, **({"run": "runs/small"} if kind == "run" else {}), "tokens": 3}}
        config = from_data(GenerateConfig, data)
        assert config.draft is not None
        assert config.draft.tokens == 3
        assert from_data(GenerateConfig, to_data(config)) == config
    assert from_data(GenerateConfig, {"draft": "lookup"}).draft == kinds(DraftConfig.folder)["lookup"]()


@pytest.mark.parametrize("several", [{"beam_size": 5}, {"temperature": 1.0, "nbest": 2}])
def test_several_texts_of_one_input_are_refused(several: dict):
    with pytest.raises(UserError, match=r"a draft guesses how one text goes on, but .* set both to 1, or draft=null"):
        from_data(GenerateConfig, {"draft": "lookup", **several})
