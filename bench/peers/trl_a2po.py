"""Peer: the same algorithm with TRL's experimental A2POTrainer, as its documentation uses it.

    python trl_a2po.py JOB.json

Configured to do the job and nothing else: float32, no gradient checkpoints, nothing saved or logged during training, no
problem left out. If the job never ends completions early, the model has no end token, so `generate` stops at the token
limit at no extra cost. TRL evaluates by the loss of one sample; accuracy is measured here as its users do, with
transformers' batched `generate`.
"""

import functools
import os

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import transformers.trainer
from common import Report, first_tokens, question, read_job, reward
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging
from trl.experimental.a2po import A2POConfig, A2POTrainer


def main():
    report = Report()
    job = read_job()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    model.generation_config.eos_token_id = job.endId
    tokenizer = AutoTokenizer.from_pretrained(job.model, padding_side="left")
    phase = "evalBefore"

    def graded(prompts, completions, problem, **_):
        rewards = [reward(text, each) for text, each in zip(completions, problem)]
        report.graded(phase, rewards)
        return rewards

    arguments = A2POConfig(
        output_dir=job.out, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=job.seed,
        per_device_train_batch_size=job.batchSize, num_train_epochs=job.epochs,
        learning_rate=job.learningRate, warmup_steps=job.warmupSteps,
        lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr_rate": job.decayTo},
        adam_beta1=0.9, adam_beta2=0.95, weight_decay=0.0, max_grad_norm=job.maxGradientNorm,
        max_completion_length=job.newTokens, temperature=job.temperature, top_k=0,
        num_value_samples=job.samples, beta1=job.beta1, beta2=job.beta2, filter_all_incorrect=False,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
    )
    trainer = A2POTrainer(
        model=model, args=arguments, reward_funcs=graded, processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": question(each), "problem": each} for each in job.train]),
    )

    def counting(generate):
        @functools.wraps(generate)
        def wrapped(input_ids, **options):
            ids = generate(input_ids=input_ids, **options)
            report.drawn(phase, first_tokens(ids[:, input_ids.shape[1] :].tolist(), job.endId))
            return ids

        return wrapped

    if job.endId is None:  # otherwise the trainer would set the model's end token to the tokenizer's again
        transformers.trainer.align_special_tokens = lambda *_: None
    for each in (trainer.model, trainer.ref_model):
        each.generate = counting(each.generate)
    report.loaded()

    def evaluate():
        if not job.heldOut:
            return
        for samples, sampled in ((1, False), (job.evalSamples, True)):
            inputs = tokenizer([question(each) for each in job.heldOut], padding=True, return_tensors="pt")
            drawing = dict(temperature=job.temperature, top_k=0, top_p=1.0) if sampled else {}
            config = GenerationConfig(
                max_new_tokens=job.newTokens, do_sample=sampled, num_return_sequences=samples,
                pad_token_id=tokenizer.pad_token_id, **drawing,
            )
            ids = model.generate(**inputs, generation_config=config)
            texts = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            graded([], texts, [each for each in job.heldOut for _ in range(samples)])

    with report.phase(phase):
        evaluate()
    phase = "stage1"
    with report.phase(phase):
        trainer._estimate_optimal_values()  # the first step of train(), timed separately
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
