"""DiT of diffusers as runs and back: the same numbers, the same noise, and the same pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.data.images import IMAGE
from transduce.errors import UserError
from transduce.exchange import certificate, drawing
from transduce.exchange.files import Files
from transduce.generate.diffuse import DiffuseConfig, diffuse, noise_of
from transduce.model.process.diffusion import Diffusion, signal
from transduce.model.process.flow import Flow
from transduce.model.process.process import Process

diffusers: Any = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install diffusers")
TINY: dict[str, Any] = {
    "num_attention_heads": 2, "attention_head_dim": 4, "in_channels": 1, "num_layers": 1, "sample_size": 8,
    "patch_size": 2, "num_embeds_ada_norm": 3,
}  # fmt: skip
PROCESSES: list[Process] = [
    Diffusion(), Diffusion(predicts="v", noise="cosine", steps=40), Diffusion(predicts="x0", steps=50), Flow(),
]  # fmt: skip
STEPS = 5  # which all these processes have


def theirs(folder: Path, **more: Any) -> Any:
    """Writes a random model of diffusers, no part of which is zero."""
    torch.manual_seed(0)
    model = diffusers.DiTTransformer2DModel(**{**TINY, **more}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape)
    model.save_pretrained(folder)
    return model


def scheduler(folder: Path) -> Any:
    """Returns the scheduler of a folder, as diffusers opens it."""
    name = json.loads((folder / drawing.SCHEDULER).read_text())["_class_name"]
    return getattr(diffusers, name).from_pretrained(folder)


@torch.inference_mode()
def drawn_by(model: Any, plan: Any, given: int, count: int) -> torch.Tensor:
    """Returns what diffusers draws from the noise of the numbers 0, 1, ..."""
    x = torch.stack([torch.randn(1, 8, 8, generator=noise_of(0, number)) for number in range(count)])
    if type(plan).__name__ == drawing.FLOW:  # whose own last step is one of a thousand
        plan.set_timesteps(sigmas=[1 - i / STEPS for i in range(STEPS)])
    else:
        plan.set_timesteps(STEPS)
    for time in plan.timesteps:
        x = plan.step(model(x, time.expand(count).float(), torch.full((count,), given)).sample, time, x).prev_sample
    return x


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: f"{p.kind} {getattr(p, 'predicts', '')}".strip())
def test_in_and_out_again_with_certificates_and_the_same_pictures(process: Process, tmp_path: Path) -> None:
    model = theirs(tmp_path / "in")
    (tmp_path / "in" / drawing.SCHEDULER).write_text(json.dumps(drawing.scheduler_of(process)))
    run = api.import_model(tmp_path / "in", tmp_path / "run")
    assert certificate.read_certificate(run.path)["compared_with"] == "diffusers"
    assert certificate.read_certificate(run.path)["largest_logit_difference"] <= 1e-4
    opened = td.load(run.path, device="cpu")
    assert opened.model.process == process
    ours = diffuse(opened.model, (1, 8, 8), 2, range(3), DiffuseConfig(steps=STEPS), 0, 16)
    expected = drawn_by(model, scheduler(tmp_path / "in"), 2, 3)
    torch.testing.assert_close(ours, expected, atol=1e-3 * float(expected.abs().max()), rtol=0)

    api.export(run.path, tmp_path / "out")
    assert certificate.read_certificate(tmp_path / "out")["largest_logit_difference"] <= 1e-4
    before, after = (Files(tmp_path / x, "diffusion_pytorch_model.safetensors") for x in ("in", "out"))
    assert before.where.keys() == after.where.keys()
    assert all(torch.equal(before.read(key)[0], after.read(key)[0]) for key in before.where)
    plan = scheduler(tmp_path / "out")
    assert type(plan) is type(scheduler(tmp_path / "in"))
    if isinstance(process, Diffusion):
        shares = signal(process.noise, process.steps)[1:].float()
        torch.testing.assert_close(plan.alphas_cumprod, shares, atol=1e-5, rtol=1e-4)


def test_a_run_that_was_trained_here_goes_out_and_comes_back(photos: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {
        "model.width": 8, "model.layers": 1, "model.mixer.heads": 2, "model.embedding.patch": 2, "train.max_steps": 2,
        "model.feedforward.activation": "gelu-tanh", "batch.batch_tokens": 8, "schedule.warmup_steps": 1,
        "train.device": "cpu", "train.ema": 0.5, "train.precision": "fp32", "task.pixels": 8, "task.steps": 4,
    }  # fmt: skip
    run = td.train("draw", {"data.path": str(photos), **small, "model.ends": True}, out=tmp_path, quiet=True)
    api.export(run.path, tmp_path / "out")
    again = td.load(api.import_model(tmp_path / "out", tmp_path / "again").path, device="cpu")
    first = td.load(run.path, device="cpu")
    assert again.readers.columns == first.readers.columns  # of labels and pictures, too
    pairs = zip(first.draw(given=["red"], count=3), again.draw(given=["red"], count=3, steps=4), strict=True)
    assert all((one == other).all() for one, other in pairs)
    plain = td.train("draw", {"data.path": str(photos), **small, "name": "plain"}, out=tmp_path, quiet=True)
    with pytest.raises(UserError, match=r"diffusers has no class that computes this model.*model\.ends=true"):
        api.export(plain.path, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_pipeline_has_its_model_its_noise_and_names_in_folders(tmp_path: Path) -> None:
    theirs(tmp_path / "dit" / "transformer", in_channels=3)
    (tmp_path / "dit" / "scheduler").mkdir()
    (tmp_path / "dit" / "scheduler" / drawing.SCHEDULER).write_text(json.dumps({"prediction_type": "sample"}))
    (tmp_path / "dit" / drawing.INDEX).write_text(json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "owl"}}))
    model = td.load(api.import_model(tmp_path / "dit", tmp_path / "run").path, device="cpu")
    assert model.model.process == Diffusion(predicts="x0")
    assert model.readers["label"].names == ("cat", "dog", "owl")  # type: ignore[attr-defined]
    assert model.readers[IMAGE].size == 3
    assert model.draw(given="owl", steps=2)[0].shape == (8, 8, 3)


@pytest.mark.parametrize(("shape", "plan", "sentence"), [
    ({"in_channels": 4}, {}, "draws codes of 4 channels, for the decoder of an autoencoder"),
    ({}, {"_class_name": drawing.FLOW, "shift": 3.0}, "shifts the times of drawing"),
    ({}, {"beta_schedule": "scaled_linear"}, "scaled_linear noise of 0.0001 to 0.02; read are epsilon"),
    ({}, {"beta_end": 0.1}, "linear noise of 0.0001 to 0.1"),
    ({}, {"prediction_type": "flow_prediction"}, "prediction_type=flow_prediction"),
    ({}, {"trained_betas": [0.1]}, "noise of its own"),
])  # fmt: skip
def test_what_is_not_read_is_said(shape: dict[str, Any], plan: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    theirs(tmp_path / "in", **shape)
    (tmp_path / "in" / drawing.SCHEDULER).write_text(json.dumps(plan))
    with pytest.raises(UserError, match=sentence):
        api.import_model(tmp_path / "in", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_code_of_the_folder_is_never_run(tmp_path: Path) -> None:
    theirs(tmp_path / "dit" / "transformer")
    (tmp_path / "dit" / drawing.INDEX).write_text(json.dumps({"auto_map": {"AutoModel": "evil.Evil"}}))
    with pytest.raises(UserError, match="auto_map, which names code"):
        api.import_model(tmp_path / "dit", tmp_path / "run")


def test_a_run_that_draws_points_is_not_exported(tmp_path: Path) -> None:
    small = {"train.max_steps": 2, "schedule.warmup_steps": 1, "model.width": 8, "model.layers": 1, "task.steps": 2}
    run = td.train("ring", small, out=tmp_path, quiet=True)
    with pytest.raises(UserError, match="no class for task=points; export a run of task=draw"):
        api.export(run.path, tmp_path / "out")
