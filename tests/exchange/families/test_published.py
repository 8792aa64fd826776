"""config.json of published encoders, as it stands there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

from transduce.exchange.checkpoint import described
from transduce.exchange.sentences import SentenceEncoder
from transduce.testing.families import saved

transformers: Any = pytest.importorskip("transformers")

BASE = {
    "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 514,
    "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "transformers_version": "4.8.2",
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "sentence-transformers/all-mpnet-base-v2": {
        **BASE, "_name_or_path": "microsoft/mpnet-base", "architectures": ["MPNetForMaskedLM"], "bos_token_id": 0,
        "eos_token_id": 2, "model_type": "mpnet", "relative_attention_num_buckets": 32, "vocab_size": 30527,
    },
    "almanach/camembert-base": {
        **BASE, "architectures": ["CamembertForMaskedLM"], "bos_token_id": 5, "eos_token_id": 6,
        "model_type": "camembert", "output_past": True, "type_vocab_size": 1, "vocab_size": 32005,
    },
    "FacebookAI/xlm-roberta-base": {
        **BASE, "architectures": ["XLMRobertaForMaskedLM"], "bos_token_id": 0, "eos_token_id": 2,
        "model_type": "xlm-roberta", "output_past": True, "position_embedding_type": "absolute", "type_vocab_size": 1,
        "use_cache": True, "vocab_size": 250002,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_as_many_parameters_as_there(name: str, tmp_path: Path) -> None:
    import json

    said = PUBLISHED[name]
    (tmp_path / "config.json").write_text(json.dumps(said))
    config, vocab_size, family = described(tmp_path)
    with torch.device("meta"):
        ours = config.assemble(vocab_size)
        theirs = getattr(transformers, family.architecture(config))(transformers.AutoConfig.from_pretrained(tmp_path))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert ours.limit == 512


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("name", "headed"), [("MPNet", "MPNetForMaskedLM"), ("Camembert", "CamembertModel")])
def test_folders_of_sentence_encoders_give_the_vectors_of_sentence_transformers(
    name: str, headed: str, tmp_path: Path
) -> None:  # fmt: skip
    import json

    package = pytest.importorskip("sentence_transformers", reason="needs the test extra")
    words = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *(f"w{i}" for i in range(40))]
    sizes = {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 1,
        "vocab_size": len(words), "max_position_embeddings": 64, "initializer_range": 0.2,
    }  # fmt: skip
    saved(f"{name}Config", f"{name}Model", sizes, tmp_path)
    made = tokenizers.Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(words[:5])
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", None, [("<s>", 0), ("</s>", 2)])
    made.save(str(tmp_path / "tokenizer.json"))
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    files: dict[str, Any] = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "cls_token": "<s>",
            "sep_token": "</s>", "unk_token": "[UNK]", "mask_token": "<mask>",
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(kinds)
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 50, "do_lower_case": False},
        "config.json": {**json.loads((tmp_path / "config.json").read_text()), "architectures": [headed]},
    }  # fmt: skip
    for file, data in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(data))
    texts = [" ".join(f"w{(i * j) % 40}" for j in range(1 + 7 * i % 60)) for i in range(24)]
    expected = package.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    np.testing.assert_allclose(SentenceEncoder.read(tmp_path).embed(texts), expected, atol=1e-5)
