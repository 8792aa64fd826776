"""BigBird of every option that changes the numbers: in, the same numbers, and out again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.model.batch import Batch
from transduce.model.layout import Marks, dense, packed, right_padded
from transduce.testing.families import TOLERANCE, check_bytes, check_logits, ids, saved

pytest.importorskip("transformers")

PLAIN = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 53,
    "max_position_embeddings": 64, "initializer_range": 0.2, "block_size": 2, "num_random_blocks": 1,
}  # fmt: skip
CASES: list[tuple[str, dict[str, Any]]] = [  # texts of 17 tokens, of which those of 14 and less are read whole
    ("ForMaskedLM", PLAIN),
    ("ForMaskedLM", {**PLAIN, "use_bias": False, "num_random_blocks": 3, "block_size": 1, "hidden_act": "relu"}),
    ("Model", {**PLAIN, "layer_norm_eps": 1e-3}),
    ("ForMaskedLM", {**PLAIN, "block_size": 4, "tie_word_embeddings": False}),
    ("Model", {**PLAIN, "attention_type": "original_full", "use_bias": False}),
    ("ForMaskedLM", {**PLAIN, "attention_type": "original_full", "rescale_embeddings": True}),
]


def one_bias(theirs: Any) -> None:
    """An untied head has two, of which nothing computes with one."""
    if getattr(theirs, "cls", None) is not None:
        theirs.cls.predictions.bias.data.copy_(theirs.cls.predictions.decoder.bias.data)


def made(model: str, options: dict[str, Any], folder: Path) -> Any:
    return saved("BigBirdConfig", f"BigBird{model}", options, folder, change=one_bias)


@pytest.fixture(params=CASES, ids=range(len(CASES)))
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(*request.param, tmp_path)


def test_logits_and_gradients_agree(theirs: Any, tmp_path: Path) -> None:
    check_logits(theirs, tmp_path)


def test_out_again_the_same_bytes(theirs: Any, tmp_path: Path) -> None:
    check_bytes(theirs, tmp_path, tmp_path / "out")


def test_two_heads(tmp_path: Path) -> None:
    theirs = made("ForPreTraining", {**PLAIN, "rescale_embeddings": True, "type_vocab_size": 3}, tmp_path)
    found, tokens, types = checkpoint.read(tmp_path), ids(theirs), torch.arange(17) % 3
    layout = dense(3, 17)._replace(marks=Marks(types.expand(3, -1)))
    given = theirs(tokens, token_type_ids=types.expand(3, -1))
    model: Any = found.model
    hidden = model.features(Batch(tokens, layout, tokens))
    torch.testing.assert_close(model.head(hidden), given.prediction_logits, atol=TOLERANCE, rtol=0)
    classes = model.heads["pair"](hidden, layout)
    torch.testing.assert_close(classes, given.seq_relationship_logits, atol=TOLERANCE, rtol=0)
    checkpoint.write(found.model, found.config, found.vocab_size, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(x, after[name]) for name, x in before.items())


@pytest.mark.parametrize("case", [0, 1, 3, 5])
def test_padded_and_packed_rows_are_read_as_alone(case: int, tmp_path: Path) -> None:
    """Their class reads a padded row as one of the padded length, so each text goes there alone, the longest first:
    after a short one it reads all texts whole."""
    theirs = made(*CASES[case], tmp_path)
    model, tokens, lengths = checkpoint.read(tmp_path).model, ids(theirs, 4, 33), [33, 26, 17, 5]
    with torch.no_grad():
        alone = torch.cat([theirs(tokens[[b], :n]).logits[0] for b, n in enumerate(lengths)])
        rows = right_padded(torch.tensor(lengths), 33)
        padded = model.head(model.features(Batch(tokens, rows, tokens)))[rows.valid]
        line = torch.cat([tokens[b, :n] for b, n in enumerate(lengths)])[None]
        together = model.head(model.features(Batch(line, packed([lengths], sum(lengths)), line)))[0]
    torch.testing.assert_close(padded, alone, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"attention_type": "sparse"}, "attention_type='sparse', which is not known"),
        ({"num_random_blocks": 0}, "num_random_blocks=0"),
        ({"block_size": "2"}, "block_size='2'"),
        ({"use_bias": False}, "beyond what this model has, bert.encoder.layer.0.attention.self.key.bias"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"architectures": ["BigBirdForQuestionAnswering"]}, "BigBirdForQuestionAnswering"),
    ],
)
def test_what_is_not_known_is_named(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    made(*CASES[0], tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    with pytest.raises(UserError, match=told):
        checkpoint.read(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    made(*CASES[0], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["bert.encoder.layer.1.attention.self.query.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks bert.encoder.layer.1.attention.self.query.bias"):
        checkpoint.read(tmp_path)
