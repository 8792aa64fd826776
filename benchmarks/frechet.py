"""The Fréchet distance of drawn pictures from real ones, in the features of a classifier.   Heusel et al. 2017, eq. 6.

    python benchmarks/frechet.py RUN REAL DRAWN [--split valid]

RUN was trained by `transduce train see`; its features are what its head makes classes of. REAL and DRAWN are data as
`see` reads them (folders of classes, idx files); of REAL the split is taken, of DRAWN all. Printed are |m - n|^2 +
tr(S + R - 2 (S R)^1/2) of the means and covariances of both, the same of the other split of REAL, below which no
drawing can be expected to be, and the share of drawn pictures that RUN gives the label of their folder.
"""

import argparse
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import transduce as td
from transduce.data.columns import Columns
from transduce.data.images import IMAGE, Images
from transduce.data.pictured import Pictured, PictureRows
from transduce.tasks.classifying import LABEL
from transduce.tasks.seeing import AT_ONCE
from transduce.transducer import Transducer


@torch.inference_mode()
def features(model: Transducer, columns: Columns) -> tuple[NDArray[np.float64], float]:
    """Returns (N, F), and the share of pictures that are told rightly."""
    readers, head = model.readers, cast(Any, model.model.pooled_head)
    targets = readers[LABEL].encode(columns[LABEL], LABEL)
    rows = PictureRows(Pictured(columns[IMAGE], targets, cast(Any, readers[IMAGE]), IMAGE, None), AT_ONCE)
    vectors, right = list[Tensor](), 0
    for group in rows.fixed():
        batch = rows.build(group)
        vectors.append(head.vector(model.model.features(batch), model.model.arranged(batch.layout)))
        right += int((head.output(vectors[-1]).argmax(-1) == batch.targets).sum())
    x = torch.cat(vectors).double().numpy()
    return x, right / len(x)


def frechet(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Returns the distance of two normal distributions with the means and covariances of the rows."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, axes = np.linalg.eigh(a)
    root = (axes * np.sqrt(values.clip(0))) @ axes.T
    both = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()  # the trace of (a b)^1/2
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(a) + np.trace(b) - 2 * both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("real")
    parser.add_argument("drawn")
    parser.add_argument("--split", default="valid", choices=["train", "valid", "test"])
    args = parser.parse_args()
    model = td.load(args.run, device="cpu")
    splits = Images(path=args.real).load((IMAGE, LABEL))
    other = "train" if args.split == "valid" else "valid"
    drawn = Images(path=args.drawn, valid_fraction=0.0).load((IMAGE, LABEL))["train"]
    (real, _), (same, _), (made, right) = (features(model, one) for one in (splits[args.split], splits[other], drawn))
    print(f"{args.drawn}: {len(made):,} pictures, {100 * right:.2f} % as asked for, Fréchet {frechet(made, real):.4g}")
    print(f"{args.real}, {other} from {args.split}: Fréchet {frechet(same, real):.4g}")


if __name__ == "__main__":
    main()
