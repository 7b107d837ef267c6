"""Shared by the Python sides: reading the job, wording and grading problems, timing phases, reporting.

The driver (bench/compare.ts) writes the job as JSON, gives its path as the only argument, and reads the last line.
"""

import contextlib
import json
import math
import os
import re
import sys
import time
from types import SimpleNamespace

# As src/reward/answer.ts: a number that continues (`84.5`, `84x`, `84 + 1`) is no answer.
ANSWER = re.compile(r"(?<!\w)answer:\s*(?=\d)(?:(\d+)(?![\w%°]|[.,:]\d|[ \t]+\d|\s*[×*x·÷/^=+−-]\s*\d))?")


def read_job():
    """The fields are described in bench/jobs.ts; problems are [a, b]."""
    with open(sys.argv[1]) as file:
        return SimpleNamespace(**json.load(file))


def question(problem):
    return f"What is {problem[0]} × {problem[1]}?\n"


def reward(text, problem):
    """1 if the last stated answer is right, 0.3 if it is positive and off by less than half the right one, else 0."""
    stated = ANSWER.findall(text)
    if not stated or not stated[-1]:
        return 0.0
    right, value = problem[0] * problem[1], int(stated[-1])
    return 1.0 if value == right else 0.3 if value > 0 and abs(value - right) < 0.5 * right else 0.0


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


def first_tokens(rows, end_id):
    """Tokens drawn in each row of ids: up to and including the end token."""
    return [row.index(end_id) + 1 if end_id in row else len(row) for row in rows]


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

    def graded(self, name, rewards):
        self.rewards.setdefault(name, []).extend(rewards)

    def print(self, **more):
        means = {name: sum(values) / len(values) for name, values in self.rewards.items()}
        facts = dict(phases=self.phases, sequences=self.sequences, tokens=self.tokens, rewards=means, **more)
        print(json.dumps(facts), flush=True)
