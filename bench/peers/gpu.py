"""The work of bench/gpu.ts in PyTorch and transformers, on the first GPU (or the processor if there is none).

    python gpu.py WORK

WORK is JSON, described there. Weights are random. Sampling: `generate` with its cache. An update: A*PO's loss with a
reference, float32 weights, products in bfloat16 by autocast, AdamW.
"""

import json
import sys
import time
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main():
    work = SimpleNamespace(**json.loads(sys.argv[1]))
    torch.manual_seed(1)
    sampling = sample(work)
    print(json.dumps(dict(sampling=sampling, updateSeconds=update(work))))


def build(work, dtype):
    config = Qwen2Config(**{k: v for k, v in work.model.items() if k not in ("torch_dtype", "architectures")})
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model


def wait():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def timed(run, runs):
    """Median seconds of `runs` runs after a first one."""
    seconds = []
    for _ in range(1 + runs):
        wait()
        began = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds[1:])[runs // 2]


def sample(work):
    model = build(work, torch.bfloat16 if work.precision == "bf16" else torch.float32).eval()
    model.generation_config.eos_token_id = None
    result = {}
    for count in work.sequences:
        prompts = torch.randint(0, work.model["vocab_size"], (count, work.promptTokens), device=DEVICE)
        options = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=work.newTokens, pad_token_id=0)
        options["attention_mask"] = torch.ones_like(prompts)
        seconds = timed(lambda: model.generate(prompts, **options), work.runs)
        result[count] = count * work.newTokens / seconds
        print(f"PyTorch: {count} sequences, {result[count]:.0f} tokens/s", file=sys.stderr, flush=True)
    return result


def update(work):
    model, reference = build(work, torch.float32), build(work, torch.float32).eval()
    reference.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.0, fused=DEVICE == "cuda")
    rows = torch.randint(0, work.model["vocab_size"], (work.rows, work.promptTokens + work.newTokens), device=DEVICE)
    advantages = torch.tensor([0.5, -0.5] * (work.rows // 2) + [0.5] * (work.rows % 2), device=DEVICE)
    autocast = torch.autocast(DEVICE, torch.bfloat16, enabled=work.precision == "bf16")

    def log_probs(of):
        with autocast:
            logits = of(rows, logits_to_keep=work.newTokens + 1, use_cache=False).logits[:, :-1]
        targets = rows[:, work.promptTokens :]
        return -torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none").view(
            work.rows, -1
        ).sum(1)

    def run():
        with torch.no_grad():
            before = log_probs(reference)
        loss = (1e-3 * (log_probs(model) - before) - advantages).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return timed(run, work.runs)


main()
