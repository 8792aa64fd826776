"""Decision Transformers of Hugging Face: the same predictions and gradients, in and out again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce import api
from transduce.errors import UserError
from transduce.exchange import acting, certificate, checkpoint
from transduce.exchange.files import Files
from transduce.testing.families import saved

transformers: Any = pytest.importorskip("transformers")

OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {
        "hidden_size": 12, "n_layer": 2, "n_head": 2, "n_inner": 48, "state_dim": 3, "act_dim": 2, "max_ep_len": 30,
    },
    "without tanh, other sizes": {
        "hidden_size": 10, "n_layer": 1, "n_head": 1, "state_dim": 1, "act_dim": 5, "max_ep_len": 9, "n_inner": 7,
        "action_tanh": False, "activation_function": "gelu_new", "scale_attn_weights": False, "n_positions": 4,
    },
}  # fmt: skip


def make(folder: Path, options: dict[str, Any]) -> Any:
    return saved("DecisionTransformerConfig", "DecisionTransformerModel", options, folder)


@pytest.mark.parametrize("name", OPTIONS)
def test_predictions_and_gradients_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = make(tmp_path, OPTIONS[name])
    opened = checkpoint.read(tmp_path)
    steps = acting.drawn(opened.model)
    ours = acting.predicted.__wrapped__(opened.model, steps)  # type: ignore[attr-defined]
    expected = theirs(
        states=steps.states, actions=steps.actions, rewards=None, returns_to_go=steps.returns, timesteps=steps.times
    )
    expected = torch.cat([expected.action_preds, expected.state_preds, expected.return_preds], -1)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for side in (ours, expected):
        (side * direction).sum().backward()
    gradients = {key: p.grad for key, p in opened.model.named_parameters()}
    written = {k: v for row in opened.family.table(opened.config).rows
               for k, v in zip(row.theirs, row.op.write([gradients[x] for x in row.ours]), strict=True)}  # fmt: skip
    for key, parameter in theirs.named_parameters():
        if key != "encoder.wte.weight":
            torch.testing.assert_close(written[key], parameter.grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", OPTIONS)
def test_in_and_out_again_with_certificates(name: str, tmp_path: Path) -> None:
    make(tmp_path / "in", OPTIONS[name])
    run = api.import_model(tmp_path / "in", tmp_path / "run")
    assert certificate.read_certificate(run.path)["compared_with"] == "transformers"
    assert certificate.read_certificate(run.path)["largest_logit_difference"] <= 1e-4
    api.export(run.path, tmp_path / "out")
    assert certificate.read_certificate(tmp_path / "out")["largest_logit_difference"] <= 1e-4
    before, after = Files(tmp_path / "in"), Files(tmp_path / "out")
    assert before.where.keys() == after.where.keys()
    assert all(torch.equal(before.read(key)[0], after.read(key)[0])
               for key in before.where if key != "encoder.wte.weight")  # fmt: skip
    kept, first = (json.loads((tmp_path / x / "config.json").read_text()) for x in ("out", "in"))
    shared = {key for key in kept if key in first and not key.endswith("token_id")}
    assert {key: first[key] for key in shared} == {key: kept[key] for key in shared}
    states = np.zeros((4, OPTIONS[name]["state_dim"]))
    actions = np.zeros((4, OPTIONS[name]["act_dim"]))
    answer = td.load(run.path, device="cpu").predict([(states, actions, [1.0] * 4)])
    assert np.array(answer).shape == (1, 4, OPTIONS[name]["act_dim"])


def test_a_model_that_was_trained_here_is_opened_there_and_reads_as_before(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [(draw.normal(3, 2, (6, 3)), draw.normal(40, 1, (6, 2)), draw.normal(size=6)) for _ in range(20)]
    np.savez(tmp_path / "a.npz", states=np.concatenate([x[0] for x in rows]), lengths=np.full(20, 6),
             actions=np.concatenate([x[1] for x in rows]), rewards=np.concatenate([x[2] for x in rows]))  # fmt: skip
    small = {"data.path": str(tmp_path / "a.npz"), "model.width": 12, "model.layers": 1, "model.mixer.heads": 2,
             "train.max_steps": 2, "schedule.warmup_steps": 1, "task.context": 5}  # fmt: skip
    run = td.train("act", small, out=tmp_path / "runs", quiet=True)
    api.export(run.path, tmp_path / "out")
    again = td.load(api.import_model(tmp_path / "out", tmp_path / "again").path, device="cpu")
    short = [tuple(x[:5] for x in row) for row in rows[:3]]
    ours, theirs = td.load(run.path, device="cpu").predict(short), again.predict(short)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    more = {**small, "model.mixer": "lstm", "name": "lstm"}
    del more["model.mixer.heads"]
    other = td.train("act", more, out=tmp_path / "runs", quiet=True).path
    with pytest.raises(UserError, match="no class of transformers known here expresses"):
        api.export(other, tmp_path / "other")


def test_other_sizes_and_missing_tensors_are_refused(tmp_path: Path) -> None:
    theirs = make(tmp_path / "a", OPTIONS["usual"])
    config = json.loads((tmp_path / "a/config.json").read_text())
    (tmp_path / "a/config.json").write_text(json.dumps({**config, "state_dim": 4}))
    with pytest.raises(UserError, match=r"embed_state\.weight"):
        checkpoint.read(tmp_path / "a")
    (tmp_path / "a/config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-3}))
    with pytest.raises(UserError, match="layer_norm_epsilon"):
        checkpoint.read(tmp_path / "a")
    assert theirs is not None
