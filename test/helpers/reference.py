"""Answers questions of reference.test.ts with Hugging Face transformers and PyTorch: one JSON request on standard
input, one JSON answer on standard output.

`python reference.py rope > ../fixtures/rope.json` makes the rotary fixture anew.
"""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


def load(folder):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    return model.eval(), {kind: sorted(map(str, names)) for kind, names in info.items() if names}


def compare(original, saved, prompts, text):
    """Whether two folders give the same logits to the last bit, and the same token ids."""
    (a, _), (b, complaints) = load(original), load(saved)
    with torch.no_grad():
        same = all(torch.equal(a(torch.tensor([ids])).logits, b(torch.tensor([ids])).logits) for ids in prompts)
    tokens = [AutoTokenizer.from_pretrained(folder)(text).input_ids for folder in (original, saved)]
    eos = [model.generation_config.eos_token_id for model in (a, b)]
    return {
        "same_logits": same,
        "complaints": complaints,
        "same_ids": tokens[0] == tokens[1],
        "same_end": eos[0] == eos[1],
    }


ROPE_CASES = [
    {"head_dim": 16, "rope_theta": 1e6},
    {"head_dim": 128, "rope_theta": 1e4},
    {"head_dim": 64, "rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.5}},
    {"head_dim": 64, "rope_theta": 1e4, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
    {
        "head_dim": 128,
        "rope_theta": 5e5,
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    {
        "head_dim": 128,
        "rope_theta": 1e6,
        "max_position_embeddings": 131072,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    },
    {
        "head_dim": 24,
        "rope_theta": 1e4,
        "max_position_embeddings": 4096,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 512,
            "beta_fast": 16,
            "beta_slow": 2,
            "truncate": False,
            "mscale": 0.8,
            "mscale_all_dim": 0.5,
        },
    },
    {
        "head_dim": 24,
        "rope_theta": 1e4,
        "max_position_embeddings": 1024,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "attention_factor": 1.25},
    },
    {
        "head_dim": 32,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 2e5, "factor": 2.0},
        "original_max_position_embeddings": 256,
    },
]

BASE = {
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 64,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 2048,
}


def rope():
    cases = []
    for case in ROPE_CASES:
        record = json.loads(json.dumps({**BASE, **case}))
        rotary = LlamaRotaryEmbedding(LlamaConfig.from_dict(json.loads(json.dumps(record))))
        cases.append(
            {
                "config": record,
                "inverse_frequencies": [float(x) for x in rotary.inv_freq],
                "attention_factor": float(rotary.attention_scaling),
            }
        )
    return {"made_with": f"transformers {transformers.__version__}, PyTorch {torch.__version__}", "cases": cases}


if __name__ == "__main__":
    if sys.argv[1:] == ["rope"]:
        json.dump(rope(), sys.stdout, indent=1)
    else:
        json.dump([compare(**case) for case in json.load(sys.stdin)], sys.stdout)
