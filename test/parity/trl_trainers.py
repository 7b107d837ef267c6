"""Runs TRL's own trainers on rows that are given: A2POTrainer, GRPOTrainer and RLOOTrainer, from Hugging Face's model classes.

    python trl_trainers.py CASES.json

Nothing of the trainers is replaced but what they draw: `generate` returns the completions of the case, and the reward
function their rewards. For REINFORCE, RLOOTrainer draws pairs: a completion, and a cut-off one, which TRL masks
(`mask_truncated_completions`) and whose reward is the running mean of earlier batches. So the leave-one-out baseline of each
completion is that mean, and the other has no gradient. Everything else is TRL's: V*, the filter of problems, the order of batches, log-probs, advantages,
the loss, clipping, AdamW. Each case's folder receives report.json (V*, kept problems, the rows, loss and gradient norm of
every update), gradient.safetensors (of the first update, before clipping) and weights-N.safetensors.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer


class Rows:
    """Completions in place of sampled ones: of each prompt its stage-1 samples, then one more at every visit."""

    def __init__(self, case, tokenizer):
        self.case, self.pad = case, tokenizer.pad_token_id
        self.index = {tuple(problem["promptIds"]): i for i, problem in enumerate(case["problems"])}
        self.visits = Counter()
        self.batches, self.rewards = [], []
        self.baseline = None

    def generate(self, input_ids, attention_mask, generation_config, **_):
        prompts = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(input_ids, attention_mask)]
        problems = [self.index[prompt] for prompt in prompts]
        samples = generation_config.num_return_sequences or 1
        drawn = []
        if samples > 1:  # stage 1
            for at in problems:
                problem = self.case["problems"][at]
                drawn += zip(problem["samples"], problem["rewards"])
        else:
            rows = []
            pairs = self.case["algorithm"] == "reinforce"
            for at in problems[:: 2 if pairs else 1]:
                problem = self.case["problems"][at]
                visit = self.visits[at]
                self.visits[at] += 1
                rows.append([at, visit])
                drawn.append((problem["visits"][visit], problem["visitRewards"][visit]))
            self.batches.append(rows)
            if pairs:
                earned = [reward for _, reward in drawn]
                other = ([input_ids[0, -1].item()] * self.case["maxNewTokens"], self.baseline or 0.0)
                drawn = [each for row in drawn for each in (row, other)]
                mean = sum(earned) / len(earned)
                self.baseline = mean if self.baseline is None else 0.9 * self.baseline + 0.1 * mean
        self.rewards = [reward for _, reward in drawn]
        width = max(len(ids) for ids, _ in drawn)
        padded = [ids + [self.pad] * (width - len(ids)) for ids, _ in drawn]
        return torch.cat([input_ids.repeat_interleave(samples, 0), torch.tensor(padded)], 1)

    def reward(self, completions, **_):
        assert len(completions) == len(self.rewards)
        return self.rewards


class Snapshots(TrainerCallback):
    def __init__(self, case):
        self.case = case

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step in self.case["snapshots"]:
            save(model.state_dict(), f"{self.case['out']}/weights-{state.global_step}.safetensors")


def save(tensors, path):
    save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, path)


def trainer_of(case, model, tokenizer, rows):
    is_pairs = case["algorithm"] == "reinforce"
    common = dict(
        output_dir=f"{case['out']}/trainer", use_cpu=True, bf16=False, gradient_checkpointing=False, seed=case["seed"],
        per_device_train_batch_size=case["batchSize"] * (2 if is_pairs else 1), max_steps=max(case["snapshots"]), num_train_epochs=1000,
        learning_rate=case["learningRate"], lr_scheduler_type="constant", weight_decay=0.0,
        adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=case["adamEpsilon"], max_grad_norm=case["maxGradientNorm"],
        max_completion_length=case["maxNewTokens"], temperature=case["temperature"], top_k=0, top_p=1.0,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": problem["prompt"]} for problem in case["problems"]])
    given = dict(model=model, reward_funcs=rows.reward, processing_class=tokenizer, train_dataset=data)
    given["callbacks"] = [Snapshots(case)]
    if case["trainer"] == "a2po":
        own = dict(beta1=case["beta1"], beta2=case["beta2"], num_value_samples=case["numSamples"])
        arguments = A2POConfig(**common, **own, filter_all_incorrect=True)
        trainer = A2POTrainer(args=arguments, **given)
        trainer.ref_model.generate = rows.generate
        return trainer
    if case["trainer"] == "rloo":
        own = dict(num_generations=2 if is_pairs else case["groupSize"], mask_truncated_completions=is_pairs)
        return RLOOTrainer(args=RLOOConfig(**common, **own, beta=0.0), **given)
    arguments = GRPOConfig(
        **common, num_generations=case["groupSize"], beta=0.0,
        loss_type=case["lossType"], scale_rewards=case["scaleRewards"],
    )  # fmt: skip
    return GRPOTrainer(args=arguments, **given)


def run(case):
    Path(case["out"]).mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(case["model"], padding_side="left")
    for problem in case["problems"]:
        assert tokenizer(problem["prompt"], add_special_tokens=False).input_ids == problem["promptIds"]
    rows = Rows(case, tokenizer)
    trainer = trainer_of(case, model, tokenizer, rows)
    trainer.model.generate = rows.generate

    norms, losses = [], []
    clip, compute = trainer.accelerator.clip_grad_norm_, trainer.compute_loss

    def clipping(parameters, *more, **options):
        if not norms:
            gradients = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
            save(gradients, f"{case['out']}/gradient.safetensors")
        norm = clip(parameters, *more, **options)
        norms.append(float(norm))
        return norm

    def computing(*more, **options):
        loss = compute(*more, **options)
        losses.append(float(loss))
        return loss

    trainer.accelerator.clip_grad_norm_, trainer.compute_loss = clipping, computing
    trainer.train()

    values = getattr(trainer, "_optimal_values", None)
    kept = [case["problems"].index(p) for p in case["problems"] if p["prompt"] in set(trainer.train_dataset["prompt"])]
    report = dict(
        vStar=values and [values[problem["prompt"]] for problem in case["problems"]],
        kept=kept, batches=rows.batches[: len(losses)], losses=losses, norms=norms,
    )  # fmt: skip
    Path(case["out"], "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in json.loads(Path(sys.argv[1]).read_text()):
        run(case)
        print(case["name"], file=sys.stderr, flush=True)
