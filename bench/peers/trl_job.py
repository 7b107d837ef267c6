"""Peer: TRL's own trainers, as their documentation uses them.

    python trl_job.py a2po|grpo JOB.json

`a2po` is the same algorithm, in TRL's experimental A2POTrainer; `grpo` is GRPOTrainer with as many rollouts and updates,
GROUP rollouts of a problem in each, and no stage 1. Both are configured to do the job and nothing else: float32, no
gradient checkpoints, nothing saved or logged during training, no problem left out. If the job never ends completions
early, the model has no end token, so `generate` stops at the token limit at no extra cost. TRL evaluates by the loss of
one sample; accuracy is measured here as its users do, with transformers' batched `generate`.
"""

import functools
import os
import sys

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import transformers.trainer
from common import Report, drawn_tokens, has_ended, question, read_job, reward
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.a2po import A2POConfig, A2POTrainer

GROUP = 4


def trainer_of(name, job, **given):
    shared = dict(
        output_dir=job.out, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=job.seed,
        per_device_train_batch_size=job.batchSize,
        learning_rate=job.learningRate, warmup_steps=job.warmupSteps,
        lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr_rate": job.decayTo},
        adam_beta1=0.9, adam_beta2=0.95, weight_decay=0.0, max_grad_norm=job.maxGradientNorm,
        max_completion_length=job.newTokens, temperature=job.temperature, top_k=0,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    if name == "grpo":
        arguments = GRPOConfig(**shared, num_train_epochs=job.epochs / GROUP, num_generations=GROUP)
        return GRPOTrainer(args=arguments, **given)
    own = dict(num_value_samples=job.samples, beta1=job.beta1, beta2=job.beta2, filter_all_incorrect=False)
    return A2POTrainer(args=A2POConfig(**shared, num_train_epochs=job.epochs, **own), **given)


def main():
    report = Report()
    job = read_job()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    model.generation_config.eos_token_id = job.endIds or None
    if job.freeze != "none":  # as trainedSpecs in src/model/network/params.ts
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            table.requires_grad_(False)
    if job.freeze == "mlp":
        for name, weight in model.named_parameters():
            if ".mlp." in name:
                weight.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(job.model, padding_side="left")
    phase, sampled, ended = "evalBefore", True, []

    def prompt(problem):
        text = question(job, problem)
        return [{"role": "user", "content": text}] if tokenizer.chat_template else text

    def data(problems):
        return Dataset.from_list([{"prompt": prompt(each), "problem": each} for each in problems])

    def graded(prompts, completions, problem, **_):
        """Rewards of the completions drawn last: texts, or messages after a conversation."""
        texts = [each if isinstance(each, str) else each[0]["content"] for each in completions]
        rewards = [reward(job, *each) for each in zip(texts, problem, ended, strict=True)]
        report.graded(phase, rewards, sampled)
        return rewards

    trainer = trainer_of(
        sys.argv[1], job, model=model, reward_funcs=graded, processing_class=tokenizer,
        train_dataset=data([job.train[i] for i in job.rows]),
    )  # fmt: skip

    def watched(generate):
        @functools.wraps(generate)
        def wrapped(input_ids, **options):
            nonlocal ended
            ids = generate(input_ids=input_ids, **options)
            drawn = drawn_tokens(job, ids[:, input_ids.shape[1] :].tolist())
            report.drawn(phase, [len(row) for row in drawn])
            ended = [has_ended(job, row) for row in drawn]
            return ids

        return wrapped

    if not job.endIds:  # otherwise the trainer would set the model's end token to the tokenizer's again
        transformers.trainer.align_special_tokens = lambda *_: None
    models = [trainer.model] if trainer.ref_model is None else [trainer.model, trainer.ref_model]
    for each in models:
        each.generate = watched(each.generate)
    report.loaded()

    def evaluate():
        nonlocal sampled
        for samples, sampled in ((1, False), (job.evalSamples, True)):
            if not job.heldOut:
                continue
            prompts = [prompt(each) for each in job.heldOut]
            if tokenizer.chat_template:
                prompts = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, tokenize=False)
            inputs = tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
            drawing = dict(temperature=job.temperature, top_k=0, top_p=1.0) if sampled else {}
            config = GenerationConfig(
                max_new_tokens=job.newTokens, do_sample=sampled, num_return_sequences=samples,
                pad_token_id=tokenizer.pad_token_id, **drawing,
            )  # fmt: skip
            ids = model.generate(**inputs, generation_config=config)
            texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            graded([], texts, [each for each in job.heldOut for _ in range(samples)])

    with report.phase(phase):
        evaluate()
    if sys.argv[1] == "a2po":
        phase = "stage1"
        with report.phase(phase):  # the first step of train(), on each problem once, and timed separately
            rows, trainer.train_dataset = trainer.train_dataset, data(job.train)
            trainer._estimate_optimal_values()
            trainer.train_dataset = rows
    phase = "stage2"
    with report.phase(phase):
        trainer.train()
    phase = "evalAfter"
    with report.phase(phase):
        evaluate()
    with report.phase("save"):
        trainer.save_model(job.out)
    report.print(updates=trainer.state.global_step, threads=torch.get_num_threads())


main()
