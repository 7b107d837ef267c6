"""Shared by the Python sides: reading the job, wording and grading problems, timing phases, reporting.

The driver (bench/compare.ts) writes the job as JSON, gives its path as the only argument, and reads the last line.
"""

import contextlib
import json
import math
import os
import sys
import time
from types import SimpleNamespace

import regex

QUESTIONS = {  # as in src/data/prompt.ts
    "builtin": "What is {} × {}?\n",
    "number": "What is {} times {}? Reply with only the number.",
}

# The forms of an answer, as in src/reward/answer.ts. The group is empty if what stands there is no whole number.
INTEGER = r"[+\-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
CONTINUED = r"(?![\p{L}\p{N}_%°]|[.,:]\p{N}|[ \t]+\p{N}|\s*[×*x·÷/^=+−-]\s*\p{N})"
OPENING, CLOSING = r"""[*_`"'“(\[$]{0,4}""", r"""[*_`"'”)\]$]{0,4}"""
IN_WORDS = r"(?!\s+(?:times|multiplied|plus|minus|x)(?![0-9A-Za-z_]))"
MARKED = rf"{OPENING}(?=[+\-−]?[0-9])(?:(?<n>{INTEGER}){CLOSING}{CONTINUED}{IN_WORDS})?"
STATED = [
    regex.compile(rf"(?i)(?<![\p{{L}}\p{{N}}_])answer:\s*(?=[+\-−]?[0-9])(?:(?<n>{INTEGER}){CONTINUED})?"),
    regex.compile(rf"\\boxed\{{\s*(?:(?<n>{INTEGER})\s*\}})?"),
    regex.compile(rf"<answer>\s*(?:(?<n>{INTEGER})\s*</answer>)?"),
]
NATURAL = [
    regex.compile(
        r"(?i)(?<![\p{L}\p{N}_])(?:is|are|equals|(?:equal|equals|comes|amounts) to|gives|makes)[ \t]*:?[ \t\n]*" + MARKED
    ),
    regex.compile(rf"[=≈→][ \t]*{MARKED}"),
    regex.compile(rf"(?:\*\*|__)(?:[ \t]*=)?[ \t]*(?<n>{INTEGER})[ \t]*[.!]?(?:\*\*|__)"),
]
LONE = regex.compile(rf"\s*{OPENING}(?<n>{INTEGER}){CLOSING}[.!]?{CLOSING}\s*")


def read_job():
    """The fields are described in bench/jobs.ts; problems are [a, b]."""
    with open(sys.argv[-1]) as file:
        return SimpleNamespace(**json.load(file))


def question(job, problem):
    return QUESTIONS[job.wording].format(*problem)


def last_match(forms, text):
    """The last match of any of the forms, or None."""
    return max((match for form in forms for match in form.finditer(text)), key=lambda match: match.start(), default=None)


def answer(job, text):
    """The integer that a text gives as its answer, or None; as `parseAnswer` and `parseNaturalAnswer`."""
    found = last_match(STATED, text)
    if found is None and job.reads == "natural":
        found = LONE.fullmatch(text) or last_match(NATURAL, text)
    return int(found["n"].replace(",", "").replace("−", "-")) if found and found["n"] else None


def reward(job, text, problem, finished):
    """As `multiplicationReward` in src/reward/multiplication.ts. Where no completion can end, none counts as cut off."""
    right, value = problem[0] * problem[1], answer(job, text)
    if value == right and (finished or not job.endIds):
        return 1.0
    near = value is not None and value > 0 and abs(value - right) < 0.5 * right
    return 0.3 if near and job.reward == "graded" else 0.0


def optimal_value(rewards, beta1):
    """V* = beta1 * log(mean(exp(r / beta1)))."""
    top = max(rewards)
    return top + beta1 * math.log(sum(math.exp((r - top) / beta1) for r in rewards) / len(rewards))


def learning_rate(job, step, updates):
    """The rate of update `step`, from 1: a linear warm-up, then a cosine, as in src/engine/optim/settings.ts."""
    if step < job.warmupSteps:
        return job.learningRate * step / job.warmupSteps
    done = min(1, (step - job.warmupSteps) / max(1, updates - job.warmupSteps))
    return job.learningRate * (job.decayTo + (1 - job.decayTo) * (1 + math.cos(math.pi * done)) / 2)


def drawn_tokens(job, rows):
    """Of each row of ids, the tokens drawn: up to and including the first end token."""
    ends = set(job.endIds)
    return [row[: next((i + 1 for i, id in enumerate(row) if id in ends), len(row))] for row in rows]


def has_ended(job, ids):
    """Whether a completion, ids up to and including the end token, was not cut off."""
    return ids[-1] in job.endIds


def seeded_uniform(seed):
    """The cheap generator of bench/measure.ts."""
    state = seed
    while True:
        state = (state * 1664525 + 1013904223) % 2**32
        yield state / 2**32


class Report:
    """Seconds of each phase, and what was done in it, so that the driver can check that all sides did the same."""

    def __init__(self):
        self.phases, self.sequences, self.tokens, self.rewards = {}, {}, {}, {}
        # From the start of the process: imports are part of loading.
        self.began = float(os.environ["BENCH_STARTED"])

    def loaded(self):
        self.phases["load"] = time.time() - self.began

    @contextlib.contextmanager
    def phase(self, name):
        began = time.perf_counter()
        yield
        self.phases[name] = time.perf_counter() - began

    def drawn(self, name, lengths):
        """Completions of so many tokens each."""
        self.sequences[name] = self.sequences.get(name, 0) + len(lengths)
        self.tokens[name] = self.tokens.get(name, 0) + sum(lengths)

    def graded(self, name, rewards, sampled=True):
        """Rewards of samples, or of greedy completions; their means are reported together and apart."""
        for key in (name, f"{name}{'Sampled' if sampled else 'Greedy'}"):
            self.rewards.setdefault(key, []).extend(rewards)

    def print(self, **more):
        means = {name: sum(values) / len(values) for name, values in self.rewards.items()}
        facts = dict(phases=self.phases, sequences=self.sequences, tokens=self.tokens, rewards=means, **more)
        print(json.dumps(facts), flush=True)
