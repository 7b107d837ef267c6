"""The algorithms as their papers and published code define them, written anew in PyTorch and computed in float64.

    python published.py CASES.json

A*PO by Brantley et al. (2025) and the behaviour of the authors' program: V* from the columns of rewards, the mean for
beta1 = 0 and nothing (0) for a negative beta1, the filter of problems whose rewards are all 0, the loss
mean((beta2 (S - S_ref) + V* - r)^2). GRPO, Dr. GRPO, RLOO and REINFORCE as policy gradients. SPO by Xu and Ding (2025) as one
whose baseline is the mean of a Beta distribution per problem, and TBRM by Yuan et al. (2025) as beta2^2 times
(logit of the first token + log-probs of the others - r / beta2 - S_ref)^2. Clipping and AdamW are written out. The rows are those of the trainers' reports. Only the models are Hugging Face's. Files as those of trl_trainers.py,
rounded to float32.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def optimal_values(rewards, beta1):
    """[problems, samples] -> [problems]."""
    if beta1 < 0:
        return torch.zeros(len(rewards), dtype=torch.float64)
    if beta1 == 0:
        return rewards.mean(1)
    return (rewards / beta1).exp().mean(1).log() * beta1


def log_probs(model, rows, temperature):
    """Of the completions of `rows`, pairs of prompt and completion: log-probs [B, T], 0 outside, which tokens count [B, T], and the
    logit of each first token [B]. Padded on the right, which nothing before sees."""
    longest = max(len(prompt) + len(completion) for prompt, completion in rows)
    padded = [prompt + completion + [0] * (longest - len(prompt) - len(completion)) for prompt, completion in rows]
    ids = torch.tensor(padded)
    logits = model(ids, attention_mask=torch.ones_like(ids)).logits[:, :-1] / temperature
    tokens = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    at = torch.arange(1, longest)
    first = torch.tensor([len(prompt) for prompt, _ in rows])[:, None]
    end = torch.tensor([len(prompt) + len(completion) for prompt, completion in rows])[:, None]
    counts = (at >= first) & (at < end)
    chosen = logits.gather(-1, ids[:, 1:, None])[..., 0]
    return torch.where(counts, tokens, 0.0), counts, chosen.gather(1, first - 1)[:, 0]


class Tracker:
    """SPO's values. `last` has, of each problem, the row of its last visit and the log-probs of its tokens then."""

    def __init__(self, problems):
        weight = 1 / (1 - 0.875)
        self.beta = {}
        for at, problem in enumerate(problems):
            mean = (sum(problem["rewards"]) + 0.5) / (len(problem["rewards"]) + 1)
            self.beta[at] = (weight * mean, weight * (1 - mean))
        self.last = {}

    def value(self, at):
        return self.beta[at][0] / sum(self.beta[at])

    def moved(self, model, at, temperature):
        """Mean |log-prob then - now| of the last completion's tokens; None before the first visit."""
        if at not in self.last:
            return None
        row, then = self.last[at]
        with torch.no_grad():
            now, counts, _ = log_probs(model, [row], temperature)
        return (now[counts] - then).abs().mean().item()

    def observe(self, at, reward, moved, row, tokens):
        rho = min(0.96, max(0.875, 2 ** (-moved / 0.06)))
        a, b = self.beta[at]
        self.beta[at] = (rho * a + reward, rho * b + 1 - reward)
        self.last[at] = (row, tokens)


def advantages(case, rewards, v_star, baseline, values):
    """Of one batch; v_star is for A*PO, baseline REINFORCE's, values SPO's."""
    rewards = torch.tensor(rewards, dtype=torch.float64)
    if case["algorithm"] == "tbrm":
        return rewards
    if case["algorithm"] == "spo":
        errors = rewards - torch.tensor(values, dtype=torch.float64)
        return (errors - errors.mean()) / (errors.std() + 1e-8)
    if case["algorithm"] == "apo":
        return rewards - v_star
    if case["algorithm"] == "reinforce":
        return rewards - baseline
    groups = rewards.view(-1, case["groupSize"])
    if case["algorithm"] == "rloo":
        others = groups.sum(1, keepdim=True) - groups
        return (groups - others / (case["groupSize"] - 1)).flatten()
    centred = groups - groups.mean(1, keepdim=True)
    if case["algorithm"] == "grpo":
        centred = centred / (groups.std(1, keepdim=True) + 1e-4)
    return centred.flatten()


def run(case):
    out = Path(case["out"])
    out.mkdir(parents=True, exist_ok=True)
    load = lambda: AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float64, attn_implementation="eager")
    model, reference = load(), load().requires_grad_(False)
    problems = case["problems"]
    rewards = torch.tensor([problem["rewards"] for problem in problems], dtype=torch.float64)
    v_star = optimal_values(rewards, case["beta1"])
    named = dict(model.named_parameters())
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in named.items()}
    report = dict(
        vStar=v_star.tolist(),
        vStarMean=optimal_values(rewards, 0).tolist(),
        vStarNegative=optimal_values(rewards, -1).tolist(),
        kept=[i for i, row in enumerate(rewards) if row.mean() != 0],
        batches=case["batches"], losses=[], norms=[], advantages=[],
    )  # fmt: skip
    baseline, tracker = None, Tracker(problems)
    for step, batch in enumerate(case["batches"], 1):
        earned = [problems[at]["visitRewards"][visit] for at, visit in batch]
        values = [tracker.value(at) for at, _ in batch]
        given = advantages(case, earned, v_star[[at for at, _ in batch]], 0 if baseline is None else baseline, values)
        report["advantages"].append(given.tolist())
        mean = sum(earned) / len(earned)
        baseline = mean if baseline is None else 0.9 * baseline + 0.1 * mean
        rows = [(problems[at]["promptIds"], problems[at]["visits"][visit]) for at, visit in batch]
        with torch.no_grad():
            before, _, _ = log_probs(reference, rows, case["temperature"])
        tokens, counts, first_logit = log_probs(model, rows, case["temperature"])
        delta = (tokens - before).sum(1)
        if case["algorithm"] == "apo":
            losses = (case["beta2"] * delta - given) ** 2
        elif case["algorithm"] == "tbrm":
            first = torch.tensor([len(prompt) - 1 for prompt, _ in rows])[:, None]
            later = tokens.sum(1) - tokens.gather(1, first)[:, 0]
            losses = case["beta2"] ** 2 * (first_logit + later - given / case["beta2"] - before.sum(1)) ** 2
        else:
            losses = -given * delta
        if case["algorithm"] == "spo":
            for i, (at, _) in enumerate(batch):
                then = tokens[i][counts[i]].detach()
                moved = tracker.moved(model, at, case["temperature"])
                moved = (then - before[i][counts[i]]).abs().mean().item() if moved is None else moved
                tracker.observe(at, earned[i], moved, rows[i], then)
        loss = losses.mean()
        model.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in named.values()))
        report["losses"].append(loss.item())
        report["norms"].append(norm.item())
        if step == 1:
            save({name: p.grad for name, p in named.items()}, out / "gradient.safetensors")
        scale = min(1.0, case["maxGradientNorm"] / (norm.item() + 1e-6))
        with torch.no_grad():
            for name, p in named.items():
                m, v = moments[name]
                gradient = p.grad * scale
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.95).add_(0.05 * gradient**2)
                slope = (m / (1 - 0.9**step)) / ((v / (1 - 0.95**step)).sqrt() + case["adamEpsilon"])
                p.sub_(case["learningRate"] * slope)
        if step in case["snapshots"]:
            save(named, out / f"weights-{step}.safetensors")
    (out / "report.json").write_text(json.dumps(report))


def save(tensors, path):
    save_file({name: value.detach().float().clone().contiguous() for name, value in tensors.items()}, path)


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in json.loads(Path(sys.argv[1]).read_text()):
        run(case)
        print(case["name"], file=sys.stderr, flush=True)
