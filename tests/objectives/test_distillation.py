"""Distillation: against its formula, and as a training that goes on bit for bit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import transduce as td
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.models import Model
from transduce.objectives.distillation import DistillationConfig, compared
from transduce.runs.run import Run
from transduce.training.teaching import NAME

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 16,
    "model.mixer.heads": 2, "batch.max_length": 16, "batch.batch_tokens": 128, "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 1, "schedule.steps": 4, "train.max_steps": 4,
    "train.log_every": 1, "train.validate_every": 2, "train.threads": 1,
    "train.device": "cpu", "train.precision": "fp32",
}  # fmt: skip


def stack(kind: Any, seed: int, width: int = 12, **more: Any) -> Model:
    return kind(width=width, layers=1, mixer=AttentionConfig(heads=3), **more).build(23, seed).eval()


@torch.no_grad()
def test_each_part_is_its_formula_whatever_stands_beside_it() -> None:
    student, teacher = stack(DecoderConfig, 0), stack(DecoderConfig, 1)
    layout = right_padded(torch.tensor([9, 4]), 9)
    ids = torch.randint(0, 23, (2, 9), generator=torch.Generator().manual_seed(0))
    targets = ids.roll(-1, 1).masked_fill(~layout.valid, -1)
    batch = Batch(ids, layout, targets)
    soft, apart = compared(student, student.features(batch), teacher, batch, 3.0)
    assert apart is not None
    kl = cosine = 0.0
    for i in range(2):
        for t in range(int(layout.valid[i].sum())):
            x, y = (m.features(batch)[i, t] for m in (student, teacher))
            p, q = ((m.token_head(z).double() / 3).softmax(-1) for m, z in ((teacher, y), (student, x)))
            kl += float((p * (p.log() - q.log())).sum())
            cosine += 1 - float(F.cosine_similarity(x.double(), y.double(), dim=0))
    assert float(soft) == pytest.approx(kl, rel=1e-4)
    assert float(apart) == pytest.approx(cosine, rel=1e-4)
    alone = [Batch(ids[i : i + 1, :n], dense(1, n), targets[i : i + 1, :n]) for i, n in enumerate((9, 4))]
    parts = [compared(student, student.features(one), teacher, one, 3.0) for one in alone]
    assert float(sum(part[0] for part in parts)) == pytest.approx(kl, rel=1e-4)
    same, none = compared(student, student.features(batch), student, batch, 2.0)
    assert float(same) == pytest.approx(0, abs=1e-5)
    assert none is not None
    assert float(none) == pytest.approx(0, abs=1e-4)


@torch.no_grad()
def test_rows_of_classes_and_other_widths() -> None:
    head = ClassesHeadConfig(classes=3, pool=("mean",))
    student, teacher = stack(EncoderConfig, 0, head=head), stack(EncoderConfig, 1, width=24, head=head)
    ids = torch.randint(0, 23, (3, 5), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, right_padded(torch.tensor([5, 5, 2]), 5), torch.tensor([0, 2, -1]))
    soft, apart = compared(student, student.features(batch), teacher, batch, 1.0)
    own, theirs = (m.pooled_head(m.features(batch), batch.layout)[:2].log_softmax(-1) for m in (student, teacher))
    assert float(soft) == pytest.approx(float((theirs.exp() * (theirs - own)).sum()), rel=1e-5)
    assert apart is None


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("taught")
    (out / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    over = {"data.path": str(out / "text.txt"), **SMALL, "name": "teacher", "model.layers": 2}
    return td.train("pretrain-mlm", over, out=out, quiet=True).path


def over(teacher: Path, **more: Any) -> dict[str, Any]:
    text = {"data.path": str(teacher.parent / "text.txt"), "objective": "distillation"}
    return {**SMALL, **text, "objective.teacher": str(teacher), **more}


def test_a_training_goes_on_to_the_same_weights_and_keeps_the_hash(teacher: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in teacher.rglob("*.safetensors")}
    values = over(teacher)
    td.train("pretrain-mlm", {**values, "train.max_steps": 2, "name": "run"}, out=tmp_path, quiet=True)
    run = td.train("pretrain-mlm", {**values, "name": "run"}, out=tmp_path, quiet=True)
    whole = td.train("pretrain-mlm", {**values, "name": "whole"}, out=tmp_path, quiet=True)
    one, other = ((made.path / "last/model.safetensors").read_bytes() for made in (run, whole))
    assert one == other
    assert before == {path: path.read_bytes() for path in teacher.rglob("*.safetensors")}
    kept = json.loads((run.path / NAME).read_text())
    assert kept["run"] == str(teacher)
    assert len(kept["sha256"]) == 64
    assert any("teacher_kl" in line for line in Run(run.path).metrics)
    moved = Path(shutil.copytree(teacher, tmp_path / "moved", symlinks=True))
    shutil.rmtree(moved)
    assert td.load(run.path, device="cpu").evaluate("valid").loss > 0


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"objective.teacher": ""}, "learns from a trained run; set objective.teacher=RUN"),
        ({"objective.teacher": "nowhere"}, "objective.teacher=nowhere is no run with a checkpoint"),
        ({"model.width": 8}, "has hidden states of 16 features, this model of 8; set objective.cosine=0"),
        ({"model.kind": "decoder", "model.head": "linear"}, "is a EncoderOnly, this model a Decoder; take one kind"),
        ({"objective.of": "ppo"}, "objective.of=ppo has no targets"),
        ({"objective.of": "masked"}, "objective.of=masked is no other objective"),
        ({"objective.temperature": 0}, "temperature=0.0 must be more than 0"),
        ({"tokenizer": {"kind": "byte"}}, "has another tokeniser than this model; add start="),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    more: dict[str, Any], sentence: str, teacher: Path, tmp_path: Path
) -> None:  # fmt: skip
    with pytest.raises(UserError, match=sentence):
        td.train("pretrain-mlm", over(teacher, **more), out=tmp_path, quiet=True)


def test_a_teacher_that_changed_is_refused(teacher: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(teacher, tmp_path / "moved", symlinks=True))
    values = over(moved, **{"data.path": str(teacher.parent / "text.txt"), "name": "run"})
    td.train("pretrain-mlm", {**values, "train.max_steps": 2}, out=tmp_path, quiet=True)
    done = moved / "best" / "DONE"
    done.write_text(done.read_text() + " ")
    with pytest.raises(UserError, match="weights have changed since it began; put them back, or choose another name"):
        td.train("pretrain-mlm", values, out=tmp_path, quiet=True)
    assert DistillationConfig(teacher="x").kind == "distillation"
