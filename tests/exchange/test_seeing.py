"""Vision Transformers of Hugging Face: the same logits, gradients and pixels from files, in and out again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

import transduce as td
from transduce import api
from transduce.errors import UserError
from transduce.exchange import certificate, checkpoint, processor, seeing
from transduce.exchange.families.vit import ViT
from transduce.exchange.files import Files
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.testing.families import saved

transformers: Any = pytest.importorskip("transformers")

SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
CLASSES = {"id2label": {0: "cat", 1: "dog", 2: "bird"}, "label2id": {"cat": 0, "dog": 1, "bird": 2}}
OPTIONS: dict[str, dict[str, Any]] = {
    "square": {"image_size": 8, "patch_size": 4, **CLASSES},
    "wide, grey, gelu_new, no bias": {
        "image_size": [8, 12], "patch_size": 4, "num_channels": 1, "hidden_act": "gelu_new", "qkv_bias": False,
        "layer_norm_eps": 1e-3, **CLASSES,
    },
}  # fmt: skip
Made = Callable[..., Path]


def make(folder: Path, options: dict[str, Any], model: str = "ViTForImageClassification", **reads: Any) -> Any:
    theirs = saved("ViTConfig", model, {**SIZES, **options}, folder)
    size = options["image_size"]
    height, width = (size, size) if isinstance(size, int) else size
    channels = options.get("num_channels", 3)
    said = {"image_mean": [0.4, 0.5, 0.6][:channels], "image_std": [0.2, 0.3, 0.25][:channels]}
    reads = {"size": {"height": height, "width": width}, **said, **reads}
    transformers.ViTImageProcessorPil(**reads).save_pretrained(folder)
    return theirs


@pytest.mark.parametrize("model", ["ViTForImageClassification", "ViTModel"])
@pytest.mark.parametrize("name", OPTIONS)
def test_logits_and_gradients_are_those_of_transformers(name: str, model: str, tmp_path: Path) -> None:
    theirs = make(tmp_path, OPTIONS[name], model)
    opened = checkpoint.read(tmp_path)
    ours, layout = opened.model, dense(3, 1)
    channels, (height, width) = opened.vocab_size, ours.towers()[0].embed.picture
    some = torch.randn(3, channels, height, width, generator=torch.Generator().manual_seed(0))
    hidden, given = ours.features(Batch(some, layout, some)), theirs(some)
    if model == "ViTModel":
        pairs = [
            (hidden, given.last_hidden_state),
            (ours.heads["pooled"](hidden, ours.arranged(layout)), given.pooler_output),
        ]
    else:
        pairs = [(ours.pooled_head(hidden, ours.arranged(layout)), given.logits)]
    for mine, expected in pairs:
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=0)
    for side in (0, 1):
        sum(F.cross_entropy(pair[side].flatten(0, -2), torch.ones(len(pair[side].flatten(0, -2)), dtype=torch.int64))
            for pair in pairs).backward()  # type: ignore[union-attr]  # fmt: skip
    gradients = {key: p.grad for key, p in ours.named_parameters()}
    theirs_by_name = {key: p.grad for key, p in theirs.named_parameters()}
    written = {k: v for row in opened.family.table(opened.config).rows
               for k, v in zip(row.theirs, row.op.write([gradients[x] for x in row.ours]), strict=True)}  # fmt: skip
    embedding = next(key for key in theirs_by_name if key.endswith("patch_embeddings.projection.weight"))
    prefix = embedding.removesuffix("embeddings.patch_embeddings.projection.weight")
    for key in ("cls_token", "position_embeddings", "patch_embeddings.projection.weight"):
        mine, expected = written[f"vit.embeddings.{key}"], theirs_by_name[f"{prefix}embeddings.{key}"]
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-3)
    sizes = [sum(float(x.square().sum()) for x in some.values()) for some in (written, theirs_by_name)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)


@pytest.mark.parametrize("model", ["ViTForImageClassification", "ViTModel"])
@pytest.mark.parametrize("name", OPTIONS)
def test_written_again_it_is_the_same_to_the_byte(name: str, model: str, tmp_path: Path) -> None:
    theirs = make(tmp_path / "in", OPTIONS[name], model)
    opened = checkpoint.read(tmp_path / "in", None)
    assert isinstance(opened.family, ViT)
    checkpoint.write(opened.model, opened.config, opened.vocab_size, tmp_path / "out", None)
    before, after = Files(tmp_path / "in"), Files(tmp_path / "out")
    assert before.where.keys() == after.where.keys()
    assert all(torch.equal(before.read(key)[0], after.read(key)[0]) for key in before.where)
    kept = json.loads((tmp_path / "out" / "config.json").read_text())
    said = json.loads((tmp_path / "in" / "config.json").read_text())
    assert {key: said[key] for key in kept if key in said} == {key: kept[key] for key in kept if key in said}
    assert type(theirs).from_pretrained(tmp_path / "out").config.qkv_bias == theirs.config.qkv_bias


@pytest.mark.parametrize("name", OPTIONS)
def test_imported_it_sees_files_as_transformers_does_and_is_exported_again(name: str, tmp_path: Path) -> None:
    theirs = make(tmp_path / "in", OPTIONS[name])
    run = api.import_model(tmp_path / "in", tmp_path / "run")
    said = certificate.read_certificate(run.path)
    assert said["compared_with"] == "transformers"
    assert said["largest_logit_difference"] <= 1e-4
    assert said["largest_pixel_difference"] <= 1e-6
    model = td.load(run.path, device="cpu")
    files = []
    for i, size in enumerate([(40, 31), (8, 8), (9, 100)]):
        files.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)).save(files[-1])
    mode = "L" if theirs.config.num_channels == 1 else "RGB"
    images = [np.atleast_3d(np.asarray(Image.open(file).convert(mode))) for file in files]
    how = {"return_tensors": "pt", "input_data_format": "channels_last"}
    pixels = transformers.ViTImageProcessorPil.from_pretrained(tmp_path / "in")(images, **how)
    expected = theirs(pixels["pixel_values"]).logits.softmax(-1).detach()
    for answer, row in zip(model.classify(files), expected, strict=True):
        assert answer.label == CLASSES["id2label"][int(row.argmax())]
        assert answer.probability == pytest.approx(float(row.max()), abs=1e-4)
    api.export(run.path, tmp_path / "out")
    assert certificate.read_certificate(tmp_path / "out")["largest_pixel_difference"] <= 1e-6
    assert load_file(tmp_path / "out/model.safetensors").keys() == load_file(tmp_path / "in/model.safetensors").keys()
    again = json.loads((tmp_path / "out" / "config.json").read_text())
    assert again["id2label"] == {"0": "cat", "1": "dog", "2": "bird"}
    api.import_model(tmp_path / "out", tmp_path / "second")


def test_a_model_that_was_trained_here_is_opened_there(photos: Path, tmp_path: Path) -> None:
    """Also where pictures keep their proportions: the middle is taken by both."""
    small = {
        "model.width": 12, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 20,
        "model.embedding.class_token": True, "model.head.pool": ["first"], "batch.batch_tokens": 12,
        "model.positions": {"kind": "learned", "limit": 5}, "model.embedding.patch": 4, "task.pixels": 8,
        "train.max_steps": 2, "schedule.warmup_steps": 1, "train.threads": 1, "train.device": "cpu",
    }  # fmt: skip
    run = td.train("see", {"data.path": str(photos), **small}, out=tmp_path / "runs", quiet=True)
    api.export(run.path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / processor.NAME).read_text())["do_center_crop"] is True
    again = td.load(api.import_model(tmp_path / "out", tmp_path / "again").path, device="cpu")
    files = sorted((photos / "valid").glob("*/*.png"))
    pairs = zip(again.classify(files), td.load(run.path, device="cpu").classify(files), strict=True)
    for one, other in pairs:
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-5)
    tuned = td.train(str(run.path), {"data.path": str(photos), "train.max_steps": 3}, out=tmp_path / "runs", quiet=True)
    assert td.load(tuned.path, device="cpu").classify(files[0]).label in ("red", "green", "grey")


def changed(folder: Path, name: str, **values: Any) -> None:
    said = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**said, **values}))


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("config.json", {"patch_size": 3}, "only square patches that leave no rest"),
        ("config.json", {"patch_size": "x"}, "must be a side, or a height and a width"),
        ("config.json", {"pooler_act": "gelu"}, "pooler_act='gelu'"),
        ("config.json", {"id2label": {"0": "a", "1": "a", "2": "b"}}, "calls two classes 'a'"),
        ("preprocessor_config.json", {"do_resize": False}, "do_resize=False, but only True"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "only 1/255"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 9}}, "only height and width, or a crop"),
        ("preprocessor_config.json", {"resample": 5}, "resample=5"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "3 numbers, one for each channel"),
        ("preprocessor_config.json", {"do_pad": True}, "do_pad, which is not known"),
        ("preprocessor_config.json", {"size": 16}, "pictures are read in 16 x 16"),
    ],
)
def test_what_is_not_read_here_is_refused(name: str, values: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    make(tmp_path / "in", OPTIONS["square"])
    changed(tmp_path / "in", name, **values)
    with pytest.raises(UserError, match=sentence):
        api.import_model(tmp_path / "in", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "in", OPTIONS["square"])
    tensors = load_file(tmp_path / "in" / "model.safetensors")
    key = "vit.embeddings.patch_embeddings.projection.weight"
    for odd in (tensors[key][:, :, :2], tensors[key].flatten(1)[:, 1:]):
        save_file({**tensors, key: odd.contiguous()}, tmp_path / "in" / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match="projection"):
            checkpoint.read(tmp_path / "in")
    (tmp_path / "in" / processor.NAME).unlink()
    save_file(tensors, tmp_path / "in" / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"has no preprocessor_config\.json"):
        api.import_model(tmp_path / "in", tmp_path / "run")
    shutil.rmtree(tmp_path / "in")
    make(tmp_path / "in", OPTIONS["square"], "ViTModel")
    with pytest.raises(UserError, match="has no classes and tells nothing"):
        api.import_model(tmp_path / "in", tmp_path / "run")


def test_a_certificate_sees_other_pixels_and_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "in", OPTIONS["square"])
    contents = seeing.read_folder(tmp_path / "in")
    reader = contents.readers["image"]
    changed(tmp_path / "in", processor.NAME, image_mean=[0.4, 0.5, 0.601])
    with pytest.raises(UserError, match="reads pictures otherwise than transformers"):
        seeing.certify(contents.model, reader, tmp_path / "in", tmp_path, "the run", {})  # type: ignore[arg-type]
    changed(tmp_path / "in", processor.NAME, image_mean=[0.4, 0.5, 0.6])
    with torch.no_grad():
        contents.model.get_parameter("head.output.bias").add_(0.01)
    with pytest.raises(UserError, match="computes other logits than transformers"):
        seeing.certify(contents.model, reader, tmp_path / "in", tmp_path, "the run", {})  # type: ignore[arg-type]
    monkeypatch.setattr(certificate, "has_transformers", lambda: False)
    with pytest.raises(UserError, match="computes other logits than a second reading"):
        seeing.certify(contents.model, reader, tmp_path / "in", tmp_path, "the run", {})  # type: ignore[arg-type]
