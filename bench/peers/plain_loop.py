"""Peer: a plain loop over PyTorch and transformers, as in the project that tinyzero began from.

    python plain_loop.py JOB.json

One prompt and one sample at a time, two full copies of the model, an optimiser step for each sample.
"""

import random

import torch
from common import Report, drawn_tokens, has_ended, learning_rate, optimal_value, question, read_job, reward
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging


def main():
    report = Report()
    job = read_job()
    logging.disable_progress_bar()
    torch.manual_seed(job.seed)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    policy, reference = (AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32) for _ in range(2))
    for model in (policy, reference):
        model.generation_config.eos_token_id = job.endIds or None
    optimizer = torch.optim.AdamW(policy.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    report.loaded()

    def complete(phase, model, problem, sampled=True):
        """Ids of prompt and completion, where the completion begins, and what it earns."""
        inputs = tokenizer(question(job, problem), return_tensors="pt")
        drawing = dict(temperature=job.temperature, top_k=0, top_p=1.0) if sampled else {}
        ids = model.generate(
            **inputs, do_sample=sampled, max_new_tokens=job.newTokens, pad_token_id=tokenizer.pad_token_id, **drawing
        )
        start = inputs["input_ids"].shape[1]
        [drawn] = drawn_tokens(job, ids[:, start:].tolist())
        earned = reward(job, tokenizer.decode(drawn, skip_special_tokens=True), problem, has_ended(job, drawn))
        report.drawn(phase, [len(drawn)])
        report.graded(phase, [earned], sampled)
        return ids, start, earned

    def log_prob(model, ids, start):
        logits = model(ids).logits[:, start - 1 : -1] / job.temperature
        return torch.log_softmax(logits, -1).gather(-1, ids[:, start:, None]).sum()

    def evaluate(phase):
        with report.phase(phase):
            for problem in job.heldOut:
                complete(phase, policy, problem, sampled=False)
                for _ in range(job.evalSamples):
                    complete(phase, policy, problem)

    evaluate("evalBefore")

    with report.phase("stage1"):
        v_star = []
        for problem in job.train:
            rewards = [complete("stage1", reference, problem)[2] for _ in range(job.samples)]
            v_star.append(optimal_value(rewards, job.beta1))

    updates = 0
    with report.phase("stage2"):
        for _ in range(job.epochs):
            for i in random.Random(job.seed).sample(job.rows, len(job.rows)):
                ids, start, earned = complete("stage2", policy, job.train[i])
                with torch.no_grad():
                    ref = log_prob(reference, ids, start)
                loss = (job.beta2 * (log_prob(policy, ids, start) - ref) - (earned - v_star[i])).square()
                updates += 1
                optimizer.param_groups[0]["lr"] = learning_rate(job, updates, job.epochs * len(job.rows))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(policy.parameters(), job.maxGradientNorm)
                optimizer.step()

    evaluate("evalAfter")
    with report.phase("save"):
        policy.save_pretrained(job.out)
        tokenizer.save_pretrained(job.out)
    report.print(updates=updates, threads=torch.get_num_threads())


main()
