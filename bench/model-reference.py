"""The work of bench/model.ts in PyTorch and transformers, on the same checkpoint config with random weights.

    python -m venv venv && venv/bin/pip install torch transformers
    venv/bin/python bench/model-reference.py          # the last line is JSON

Each case runs in a process of its own, with its peak memory: loading (bfloat16 on disk, float32 in memory), scoring 4
completions (16 + 48 tokens), generating 4 x 64 tokens with the cache, and a training step (forward, backward, clipping,
AdamW) of the same loss.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time

CONFIG = dict(
    attention_dropout=0, bos_token_id=151643, eos_token_id=151643, hidden_act="silu", hidden_size=896,
    initializer_range=0.02, intermediate_size=4864, max_position_embeddings=32768, max_window_layers=24,
    num_attention_heads=14, num_hidden_layers=24, num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=1e6,
    sliding_window=32768, tie_word_embeddings=True, use_cache=True, use_sliding_window=False, vocab_size=151936,
)
ROWS, PROMPT, COMPLETION, NEW = 4, 16, 48, 64


def make(folder):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    Qwen2ForCausalLM(Qwen2Config(**CONFIG)).to(torch.bfloat16).save_pretrained(folder)


def run(case, folder):
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    began = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if case == "load":
        return {"loadSeconds": time.perf_counter() - began}
    ids = torch.randint(0, CONFIG["vocab_size"], (ROWS, PROMPT + COMPLETION))

    def log_probs():
        # Logits on the completion only, as tinyzero does.
        logits = model(ids, logits_to_keep=COMPLETION + 1, use_cache=False).logits[:, :-1]
        return torch.log_softmax(logits, -1).gather(-1, ids[:, PROMPT:, None])[..., 0]

    def score():
        with torch.inference_mode():
            return log_probs()

    def generate():
        prompt = ids[:, :PROMPT]
        return model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            max_new_tokens=NEW, min_new_tokens=NEW, pad_token_id=0,
        )

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = (log_probs().sum(1) * 1e-3 - 0.5).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    if case == "step":
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.0)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        {"score": score, "generate": generate, "step": step}[case]()
        seconds.append(time.perf_counter() - began)
    tokens = ROWS * (NEW if case == "generate" else PROMPT + COMPLETION)
    return {"firstSeconds": seconds[0], "secondSeconds": seconds[1], "tokensPerSecond": tokens / seconds[1]}


def main():
    if len(sys.argv) == 3:
        case, folder = sys.argv[1:]
        figures = run(case, folder)
        figures["peakGigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(folder)
        results = {}
        for case in ["load", "score", "generate", "step"]:
            command = [sys.executable, os.path.abspath(__file__), case, folder]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            results[case] = json.loads(output.strip().splitlines()[-1])
            print(case.ljust(10), "   ".join(f"{key} {value:.2f}" for key, value in results[case].items()), flush=True)
        print(json.dumps({"cores": os.cpu_count(), "results": results}))


main()
