"""The class of transformers that reads the tokeniser of a folder, from config.json and tokenizer_config.json.

The rules are those of `AutoTokenizer` in transformers 5: most classes build their tokeniser anew from the vocabulary
and from the options in tokenizer_config.json, `PLAIN` takes tokenizer.json as it stands.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAIN = "TokenizersBackend"
REGISTERED: Mapping[str, str] = {
    "albert": "AlbertTokenizer", "bart": "RobertaTokenizer", "bert": "BertTokenizer", "big_bird": "BigBirdTokenizer",
    "camembert": "CamembertTokenizer", "cohere": "CohereTokenizer", "cohere2": "CohereTokenizer",
    "ctrl": "CTRLTokenizer", "deberta": "DebertaTokenizer", "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "BertTokenizer", "electra": "BertTokenizer", "gemma": "GemmaTokenizer", "gemma2": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer", "gpt2": "GPT2Tokenizer", "gpt_neo": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer", "gptj": "GPT2Tokenizer", "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer", "mbart": "MBartTokenizer", "mistral": PLAIN, "mixtral": PLAIN,
    "mpnet": "MPNetTokenizer", "mt5": "T5Tokenizer", "openai-gpt": "OpenAIGPTTokenizer", "opt": "GPT2Tokenizer",
    "pegasus": "PegasusTokenizer", "phi": "GPT2Tokenizer", "phi3": PLAIN, "qwen2": "Qwen2Tokenizer",
    "qwen2_moe": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer", "qwen3_moe": "Qwen2Tokenizer",
    "roberta": "RobertaTokenizer", "switch_transformers": "T5Tokenizer", "t5": "T5Tokenizer",
    "whisper": "WhisperTokenizer", "xlm-roberta": "XLMRobertaTokenizer", "xlnet": "XLNetTokenizer",
}  # fmt: skip
# Names that stand for another class, and names of classes that are not in transformers any more.
ALIASES: Mapping[str, str] = {
    "BartTokenizer": "RobertaTokenizer", "LongformerTokenizer": "RobertaTokenizer", "LEDTokenizer": "RobertaTokenizer",
    "MvpTokenizer": "RobertaTokenizer", "DistilBertTokenizer": "BertTokenizer", "ElectraTokenizer": "BertTokenizer",
    "MobileBertTokenizer": "BertTokenizer", "SqueezeBertTokenizer": "BertTokenizer", "Phi3Tokenizer": "LlamaTokenizer",
    "BloomTokenizer": PLAIN, "MT5Tokenizer": PLAIN, "FalconTokenizer": PLAIN, "PreTrainedTokenizer": PLAIN,
    "PythonBackend": PLAIN,
}  # fmt: skip
# Model types whose folders often name a class that does not fit.
MISNAMED = frozenset({"phi3", "qwen2"})


def class_of(folder: Path, config: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Returns the name of the class. config: config.json; options: tokenizer_config.json."""
    kind, stated = config.get("model_type"), options.get("tokenizer_class") or config.get("tokenizer_class")
    kind = kind if isinstance(kind, str) else ""
    stated = stated.strip().removesuffix("Fast") if isinstance(stated, str) else None
    own = REGISTERED.get(kind)
    if stated == "LlamaTokenizer" and kind not in MISNAMED and byte_level(folder):
        return PLAIN
    if stated is None:
        return own or PLAIN
    if own is None or own == stated:
        return ALIASES.get(stated, stated)
    if own == PLAIN:
        return PLAIN
    name = own if kind in MISNAMED else stated
    return ALIASES.get(name, name)


def byte_level(folder: Path) -> bool:
    """Says whether tokenizer.json cuts text into bytes, as Llama 3 does under the name of Llama 2's class."""
    try:
        return '"ByteLevel"' in (folder / "tokenizer.json").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
