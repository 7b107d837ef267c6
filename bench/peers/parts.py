"""One part of the job in PyTorch, by itself: sampling, scoring, or a training step.

    python parts.py PART.json

The part's `code` names the implementation: `transformers`, or `batched` for the hand-written code of batched.py. With
`compiled`, torch.compile makes one function of log-probs and their gradients. The first run, which compiles, is timed
separately.
"""

import json
import os
import sys
import time
from types import SimpleNamespace

import batched
import torch
from common import seeded_uniform


def main():
    with open(sys.argv[1]) as file:
        part = SimpleNamespace(**json.load(file))
    torch.manual_seed(2)
    prepare = {"sample": sampling, "score": scoring, "step": training_step, "update": update}[part.kind]
    run = prepare(part, batched.Model(part.model) if part.code == "batched" else load_transformers(part))
    loaded = time.time() - float(os.environ["BENCH_STARTED"])
    seconds, values = [], []
    for _ in range(1 + part.runs):
        began = time.perf_counter()
        values.append(run())
        seconds.append(time.perf_counter() - began)
    print(json.dumps(dict(loadSeconds=loaded, firstSeconds=seconds[0], seconds=seconds[1:], values=values[:3])))


def load_transformers(part):
    from transformers import AutoModelForCausalLM  # only where it is used: its import takes seconds and memory

    dtype = torch.bfloat16 if part.precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(part.model, dtype=dtype)
    model.generation_config.eos_token_id = None
    return model


def ids(part, first, rows, count):
    """The ids that bench/parts.ts makes: row by row, from a generator of its own."""
    drawn = [seeded_uniform(row + 1) for row in range(first, first + rows)]
    return torch.tensor([[int(next(uniform) * part.vocabulary) for _ in range(count)] for uniform in drawn])


def sampling(part, model):
    prompts = ids(part, 0, part.rows // part.samples, part.promptTokens)
    if part.code == "batched":
        job = SimpleNamespace(newTokens=part.newTokens, endIds=[])
        return lambda: sum(map(len, batched.sample(model, prompts.tolist(), part.samples, 1.0, job)))
    options = dict(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=part.samples,
        max_new_tokens=part.newTokens, pad_token_id=0, attention_mask=torch.ones_like(prompts),
    )

    def run():
        return model.generate(prompts, **options)[:, part.promptTokens :].numel()

    return run


def log_probs(part, model):
    """A function of the parameters alone: log-probs of the completions' tokens, summed by row."""
    prompts = ids(part, 0, part.rows, part.promptTokens)
    rows = torch.cat([prompts, ids(part, part.rows, part.rows, part.newTokens)], 1)
    if part.code == "batched":
        shown = torch.zeros(part.rows, 1, rows.shape[1] - 1)
        bias, mask = batched.causal(model, shown), torch.ones(part.rows, part.newTokens)
        return lambda: batched.completion_log_probs(model, model.params, rows, bias, mask, 1.0)

    def run():
        logits = model(rows, logits_to_keep=part.newTokens + 1, use_cache=False).logits[:, :-1]
        return torch.log_softmax(logits, -1).gather(-1, rows[:, part.promptTokens :, None]).sum((1, 2))

    return run


def scoring(part, model):
    summed = log_probs(part, model)

    @torch.inference_mode()
    def run():
        return summed().mean().item()

    return run


def training_step(part, model):
    """Forward, backward, clipping and AdamW; the loss as in bench/parts.ts."""
    parameters = [*(model.params.values() if part.code == "batched" else model.parameters())]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    summed = log_probs(part, model)
    if part.compiled:
        summed = torch.compile(summed, dynamic=False)

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = (summed() * 1e-3 - 0.5).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return run


def update(part, model):
    """A training step with the reference's forward pass before it; with `loraRank` on adapters, by PEFT."""
    if getattr(part, "loraRank", None) is None:
        reference, policy = load_transformers(part), model
        refer = log_probs(part, reference)
    else:
        from peft import LoraConfig, get_peft_model

        rank = part.loraRank
        policy = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
        bare = log_probs(part, policy)

        def refer():
            with policy.disable_adapter():
                return bare()

    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    summed = log_probs(part, policy)

    def run():
        with torch.inference_mode():
            reference_sums = refer()
        optimizer.zero_grad(set_to_none=True)
        loss = ((summed() - reference_sums) * 1e-3 - 0.5).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return run


main()
