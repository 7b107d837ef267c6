"""Peer: A*PO in plain PyTorch, batched throughout and as fast as we know how to write it. The strongest peer.

    python batched.py JOB.json

No transformers: weights are read from the Hugging Face folder and written back to one. What makes it fast: a prompt is
prefilled once for all of its samples; keys lie transposed in a cache that is written in place; q, k and v are one
product, gate and up another, residual sums part of the products; rotary embedding is one complex product, because the
rows of the q and k weights are reordered so that pairs are neighbours; one uniform number draws a token; finished rows
leave the batch; log-probs are computed on completions only; AdamW is fused.
"""

import json
import multiprocessing
import shutil
from pathlib import Path

import torch
import torch.nn.functional as F
from common import Report, has_ended, learning_rate, optimal_value, question, read_job, reward
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

MASKED = -1e9
POSITIONS = 1024  # the longest sequence
ROWS = 256  # sequences that are sampled side by side: their caches fit the processor's


class Model:
    """Sizes of the model, and its parameters as a flat dict in the form in which they are used."""

    def __init__(self, folder):
        self.folder = Path(folder)
        config = json.loads((self.folder / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.kv, self.width = config["num_key_value_heads"], config["hidden_size"]
        self.group, self.eps = self.heads // self.kv, config["rms_norm_eps"]
        self.head = config.get("head_dim") or self.width // self.heads
        frequencies = config["rope_theta"] ** -(torch.arange(0, self.head, 2) / self.head)
        angles = torch.arange(POSITIONS)[:, None] * frequencies
        turn = torch.polar(torch.ones_like(angles), angles)
        # For a group's query heads, key and value: [position, G + 2, C / 2]. Queries are scaled on the way.
        heads = [turn * self.head**-0.5] * self.group + [turn, torch.ones_like(turn)]
        self.rotation = torch.stack(heads, 1)
        stored = {name: value.float() for name, value in load_file(self.folder / "model.safetensors").items()}
        self.params = {name: value.requires_grad_() for name, value in self.fuse(stored).items()}
        self.small = sum(value.numel() for value in stored.values()) < 10_000_000

    def pairs(self, value, inverse=False):
        """Reorders the rows of each head: i and i + C / 2, which rotate together, become neighbours."""
        parts = value.unflatten(0, (-1, self.head // 2, 2) if inverse else (-1, 2, self.head // 2))
        return parts.transpose(1, 2).reshape(value.shape)

    def fuse(self, stored):
        """From Hugging Face's names and shapes; the rows of q, k and v are in groups of G queries, a key, a value."""
        params = {"embed": stored["model.embed_tokens.weight"], "norm": stored["model.norm.weight"]}
        for i in range(self.layers):
            at, mlp = f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
            for kind in ("weight", "bias"):
                q, k, v = (stored[f"{at}.{x}_proj.{kind}"] for x in "qkv")
                groups = [x.unflatten(0, (self.kv, -1)) for x in (self.pairs(q), self.pairs(k), v)]
                params[f"{i}.qkv.{kind}"] = torch.cat(groups, 1).flatten(0, 1)
            params[f"{i}.o"] = stored[f"{at}.o_proj.weight"]
            params[f"{i}.up"] = torch.cat([stored[f"{mlp}.{x}_proj.weight"] for x in ("gate", "up")])
            params[f"{i}.down"] = stored[f"{mlp}.down_proj.weight"]
            params[f"{i}.norm1"] = stored[f"model.layers.{i}.input_layernorm.weight"]
            params[f"{i}.norm2"] = stored[f"model.layers.{i}.post_attention_layernorm.weight"]
        return params

    def save(self, folder):
        """The inverse of `fuse`, with the other files of the folder."""
        p = {name: value.detach() for name, value in self.params.items()}
        stored = {"model.embed_tokens.weight": p["embed"], "model.norm.weight": p["norm"]}
        for i in range(self.layers):
            at, mlp = f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
            for kind in ("weight", "bias"):
                groups = p[f"{i}.qkv.{kind}"].unflatten(0, (self.kv, self.group + 2, self.head))
                q, k, v = (x.flatten(0, 2) for x in groups.split([self.group, 1, 1], 1))
                stored |= {
                    f"{at}.q_proj.{kind}": self.pairs(q, inverse=True),
                    f"{at}.k_proj.{kind}": self.pairs(k, inverse=True),
                    f"{at}.v_proj.{kind}": v,
                }
            stored[f"{at}.o_proj.weight"], stored[f"{mlp}.down_proj.weight"] = p[f"{i}.o"], p[f"{i}.down"]
            stored[f"{mlp}.gate_proj.weight"], stored[f"{mlp}.up_proj.weight"] = p[f"{i}.up"].chunk(2)
            stored[f"model.layers.{i}.input_layernorm.weight"] = p[f"{i}.norm1"]
            stored[f"model.layers.{i}.post_attention_layernorm.weight"] = p[f"{i}.norm2"]
        Path(folder).mkdir(parents=True)
        stored = {name: value.clone() for name, value in stored.items()}
        save_file(stored, f"{folder}/model.safetensors", {"format": "pt"})
        for file in self.folder.glob("*.json"):
            shutil.copy(file, folder)

    def rms(self, x, weight):
        return F.rms_norm(x, (self.width,), weight, self.eps)

    def rotated(self, qkv, rotation):
        """Queries, keys and values side by side, [..., K, G + 2, C], at the positions of `rotation`."""
        pairs = qkv.unflatten(-1, (self.kv, self.group + 2, self.head // 2, 2))
        return torch.view_as_real(torch.view_as_complex(pairs) * rotation).flatten(-2)

    def states(self, params, ids, bias, keep=None):
        """Final states [B, T, D] of left-padded `ids`; `keep(layer, k, v)` sees keys and values, [B, K, T, C]."""
        B, T = ids.shape
        x = F.embedding(ids, params["embed"])
        for i in range(self.layers):
            qkv = F.linear(self.rms(x, params[f"{i}.norm1"]), params[f"{i}.qkv.weight"], params[f"{i}.qkv.bias"])
            qkv = self.rotated(qkv, self.rotation[:T, None]).permute(0, 2, 3, 1, 4)  # [B, K, G + 2, T, C]
            k, v = qkv[:, :, -2], qkv[:, :, -1]
            if keep:
                keep(i, k, v)
            # The query heads of a group are rows of one matrix: [B K, G T, C].
            q, k, v = (y.reshape(B * self.kv, -1, self.head) for y in (qkv[:, :, :-2], k, v))
            mixed = torch.bmm(torch.baddbmm(bias, q, k.transpose(1, 2)).softmax(-1), v)
            mixed = mixed.view(B, self.heads, T, self.head).transpose(1, 2).reshape(B, T, -1)
            x = x + F.linear(mixed, params[f"{i}.o"])
            gate, up = F.linear(self.rms(x, params[f"{i}.norm2"]), params[f"{i}.up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, params[f"{i}.down"])
        return self.rms(x, params["norm"])

    def decode(self, tokens, position, keys, values, bias):
        """Logits [B, V] after `tokens` [B] at `position`; keys [L, B K, C, S] and values [L, B K, S, C] are written."""
        p, B, seen = self.params, len(tokens), slice(None, position + 1)
        x = F.embedding(tokens, p["embed"])
        for i in range(self.layers):
            qkv = torch.addmm(p[f"{i}.qkv.bias"], self.rms(x, p[f"{i}.norm1"]), p[f"{i}.qkv.weight"].t())
            qkv = self.rotated(qkv, self.rotation[position]).flatten(0, 1)  # [B K, G + 2, C]
            keys[i, :, :, position] = qkv[:, -2]
            values[i, :, position] = qkv[:, -1]
            q, k = qkv[:, :-2], keys[i, :, :, seen]
            scores = torch.bmm(q, k) if bias is None else torch.baddbmm(bias[:, :, seen], q, k)
            mixed = torch.bmm(scores.softmax(-1), values[i, :, seen]).view(B, -1)
            x.addmm_(mixed, p[f"{i}.o"].t())
            gate, up = torch.mm(self.rms(x, p[f"{i}.norm2"]), p[f"{i}.up"].t()).chunk(2, -1)
            x.addmm_(F.silu(gate).mul_(up), p[f"{i}.down"].t())
        return torch.mm(self.rms(x, p["norm"]), p["embed"].t())


def left_padded(rows):
    """ids [B, T] and the bias [B, 1, T] that hides the padding."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    pads = torch.tensor([longest - len(row) for row in rows])
    return ids, torch.where(torch.arange(longest) < pads[:, None], MASKED, 0.0)[:, None]


def draw(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits / temperature, -1).cumsum(-1)
    uniform = torch.rand(len(logits), 1, generator=generator) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, uniform, right=True)[:, 0].clamp_(max=logits.shape[1] - 1)


def sample(model, prompts, samples, temperature, job):
    """`samples` completions of each prompt, one prompt's after the other's: lists of ids, the end token included."""
    size = max(1, ROWS // samples)
    starts = range(0, len(prompts), size)
    seeds = torch.randint(2**31, (len(starts),)).tolist()
    parts = [(model, prompts[i : i + size], samples, temperature, job, seed) for i, seed in zip(starts, seeds)]
    threads = torch.get_num_threads()
    if not model.small:
        return [row for part in parts for row in sample_batch(*part)]
    # Threads slow small operations down, so each core samples its own batches, in processes that share the weights.
    torch.set_num_threads(1)
    try:
        if len(parts) == 1 or threads == 1:
            return [row for part in parts for row in sample_batch(*part)]
        with multiprocessing.get_context("fork").Pool(threads) as pool:
            return [row for rows in pool.starmap(sample_batch, parts, 1) for row in rows]
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def sample_batch(model, prompts, samples, temperature, job, seed):
    generator = torch.Generator().manual_seed(seed)
    ids, bias = left_padded(prompts)
    P, T = ids.shape
    B, K, S = P * samples, model.kv, T + job.newTokens
    keys = torch.empty(model.layers, B * K, model.head, S)
    values = torch.empty(model.layers, B * K, S, model.head)

    def keep(i, k, v):
        k, v = (y.repeat_interleave(samples, 0).flatten(0, 1) for y in (k, v))
        keys[i, :, :, :T], values[i, :, :T] = k.transpose(1, 2), v

    states = model.states(model.params, ids, causal(model, bias), keep)
    logits = (states[:, -1] @ model.params["embed"].t()).repeat_interleave(samples, 0)
    bias = F.pad(bias, (0, job.newTokens)).repeat_interleave(samples * K, 0) if bias.any() else None
    out = torch.empty(B, job.newTokens, dtype=torch.long)
    lengths = torch.full((B,), job.newTokens)
    rows = torch.arange(B)
    for n in range(job.newTokens):
        tokens = draw(logits, temperature, generator)
        out[rows, n] = tokens
        if job.endIds:
            going = ~torch.isin(tokens, torch.tensor(job.endIds))
            lengths[rows[~going]] = lengths[rows[~going]].clamp(max=n + 1)
            alive = int((lengths[rows] > n + 1).sum())
            if alive == 0:
                break
            if alive < 0.8 * len(rows):  # finished rows leave when they are worth the copy
                kept = (lengths[rows] > n + 1).nonzero()[:, 0]
                rows, tokens = rows[kept], tokens[kept]
                heads = (kept[:, None] * K + torch.arange(K)).flatten()
                keys, values = keys[:, heads], values[:, heads]
                bias = None if bias is None else bias[heads]
        if n + 1 < job.newTokens:
            logits = model.decode(tokens, T + n, keys, values, bias)
    return [row[:length] for row, length in zip(out.tolist(), lengths.tolist())]


def causal(model, bias):
    """Adds "nothing looks ahead" to a padding bias [B, 1, T]: [B K, G T, T] as scores are laid out."""
    B, _, T = bias.shape
    both = bias + torch.full((T, T), MASKED).triu(1)
    return both[:, None, None].expand(B, model.kv, model.group, T, T).reshape(B * model.kv, model.group * T, T)


def completion_log_probs(model, params, ids, bias, mask, temperature):
    """Sums over each row's completion, [B]."""
    width = mask.shape[1]
    states = model.states(params, ids[:, :-1], bias)[:, -width:]
    logits = F.linear(states, params["embed"]).flatten(0, 1) / temperature
    losses = F.cross_entropy(logits, ids[:, -width:].flatten(), reduction="none")
    return -(losses.view(mask.shape) * mask).sum(1)


def update(model, reference, optimizer, rollouts, job):
    """One step on the A*PO loss: mean of (beta2 * (S - S_ref) - (r - V*))^2."""
    width = max(len(row.completion) for row in rollouts)
    prompts, bias = left_padded([row.prompt for row in rollouts])
    tails = [row.completion + [0] * (width - len(row.completion)) for row in rollouts]
    mask = (torch.arange(width) < torch.tensor([len(row.completion) for row in rollouts])[:, None]).float()
    ids = torch.cat([prompts, torch.tensor(tails)], 1)
    bias = causal(model, F.pad(bias, (0, width - 1)))
    with torch.no_grad():
        ref = completion_log_probs(model, reference, ids, bias, mask, job.temperature)
    advantages = torch.tensor([row.reward - row.v_star for row in rollouts])
    delta = completion_log_probs(model, model.params, ids, bias, mask, job.temperature) - ref
    loss = (job.beta2 * delta - advantages).square().mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.params.values(), job.maxGradientNorm, foreach=True)
    optimizer.step()


class Rollout:
    def __init__(self, prompt, completion, reward, v_star):
        self.prompt, self.completion, self.reward, self.v_star = prompt, completion, reward, v_star


def main():
    report = Report()
    job = read_job()
    torch.manual_seed(job.seed)
    model = Model(job.model)
    tokenizer = Tokenizer.from_file(f"{job.model}/tokenizer.json")
    report.loaded()

    def graded(name, problems, samples, temperature):
        """Completions and their rewards, `samples` of each problem."""
        prompts = [tokenizer.encode(question(job, problem)).ids for problem in problems]
        completions = sample(model, prompts, samples, temperature, job)
        texts = tokenizer.decode_batch(completions, skip_special_tokens=True)
        rewards = [
            reward(job, text, problems[i // samples], has_ended(job, ids))
            for i, (text, ids) in enumerate(zip(texts, completions))
        ]
        report.drawn(name, [len(ids) for ids in completions])
        report.graded(name, rewards, temperature > 0)
        return prompts, completions, rewards

    def evaluate(name):
        if not job.heldOut:
            return
        with report.phase(name):
            graded(name, job.heldOut, 1, 0)
            graded(name, job.heldOut, job.evalSamples, job.temperature)

    evaluate("evalBefore")

    with report.phase("stage1"):
        _, _, rewards = graded("stage1", job.train, job.samples, job.temperature)
        groups = [rewards[i : i + job.samples] for i in range(0, len(rewards), job.samples)]
        v_star = [optimal_value(group, job.beta1) for group in groups]

    with report.phase("stage2"):
        reference = {name: value.detach().clone() for name, value in model.params.items()}
        optimizer = torch.optim.AdamW(model.params.values(), betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        rows = torch.tensor(job.rows)
        order = torch.cat([rows[torch.randperm(len(rows))] for _ in range(job.epochs)])
        batches = order.split(job.batchSize)
        for step, batch in enumerate(batches, 1):
            optimizer.param_groups[0]["lr"] = learning_rate(job, step, len(batches))
            prompts, completions, rewards = graded("stage2", [job.train[i] for i in batch], 1, job.temperature)
            values = [v_star[i] for i in batch]
            update(model, reference, optimizer, [*map(Rollout, prompts, completions, rewards, values)], job)

    evaluate("evalAfter")
    with report.phase("save"):
        model.save(job.out)
    report.print(updates=len(batches), threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
