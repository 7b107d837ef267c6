/**
 * @file The commands: their words, options and examples, and where their code is, which is loaded only when one runs.
 * To add a command, add an entry here and a file in commands/ that exports `run`.
 */
import {
  type CommonOptionName,
  evaluationOptionNames,
  type OptionName,
  type OptionValues,
  samplingOptionNames,
  trainingOptionNames,
} from '../options/table.js';

export interface CommandSpec {
  /** Words after `tinyzero`: `['engine', 'install']`. */
  readonly words: readonly string[];
  readonly summary: string;
  /** Paragraphs for the command's own help. */
  readonly details?: string;
  /** Besides those that every command takes. */
  readonly options: readonly OptionName[];
  /** The arguments that belong to no option, such as `<files...>` or `[folder]`; absent where there may be none. */
  readonly operands?: string;
  /** Command lines without `tinyzero`, each with what it does. */
  readonly examples: readonly (readonly [command: string, what: string])[];
  readonly load: () => Promise<{ run: Run<never> }>;
}

/** `given`: options that had a flag, the rest being defaults or from the environment. */
type Run<Values> = (values: Values, operands: readonly string[], given: ReadonlySet<OptionName>) => Promise<number>;

/** Ties `run`'s parameter to the options that are listed. `run` resolves to the exit code. */
function command<Name extends OptionName>(
  spec: Omit<CommandSpec, 'options' | 'load'> & {
    readonly options: readonly Name[];
    readonly load: () => Promise<{ run: Run<OptionValues<Name | CommonOptionName>> }>;
  },
): CommandSpec {
  return spec;
}

/** Options of every command that computes. */
export const engineOptions = ['engine', 'install'] as const satisfies readonly OptionName[];

export const commands: readonly CommandSpec[] = [
  command({
    words: ['train'],
    summary: 'train a model with A*PO and show on held-out problems what it learned',
    details:
      'Evaluates the model, samples every training problem to estimate its optimal value V* (stage 1), says whether training can learn from that, trains (stage 2), evaluates again, and leaves everything in the run folder. Ctrl-C saves and says how to go on.',
    options: [...trainingOptionNames, 'out', 'resume', 'dryRun', ...engineOptions, 'json'],
    examples: [
      ['train', 'the built-in model, about half a minute'],
      ['train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16', 'a model of the Hugging Face hub'],
      ['train --preset seed --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --dry-run', 'would that fit here?'],
      ['train --problems problems.jsonl --model Qwen/Qwen2.5-0.5B-Instruct', 'problems of your own, see docs/tasks.md'],
      ['train --resume runs/builtin-20260131-120000', 'go on with a run that was stopped'],
    ],
    load: () => import('./commands/train.js'),
  }),
  command({
    words: ['eval'],
    summary: 'measure a model on held-out problems: exact match, pass@k, format, truncation, with intervals',
    details:
      'Of a run folder its trained model is measured, on the problems and with the sampling of that run wherever no flag says otherwise: what `train` measured after training comes out again.',
    options: [...evaluationOptionNames, ...engineOptions, 'json'],
    examples: [
      ['eval --checkpoint runs/mine', 'the model that a run trained'],
      ['eval --checkpoint runs/mine --compare builtin', 'the same against the model it came from, with paired tests'],
      ['eval --checkpoint builtin --samples 8 --json', 'for a program to read'],
    ],
    load: () => import('./commands/eval.js'),
  }),
  command({
    words: ['report'],
    summary: 'make the report of a run, one HTML file: what it learned, how, what it cost, how to repeat it',
    details:
      'Reads the files in the run folder, finished or not, and writes report.html there; `train` does so at its end. With --compare the curves and accuracies of more runs are laid over it, with tests between them and the options in which they differ.',
    operands: '<folder>',
    options: ['compareRuns', 'open', 'out', 'json'],
    examples: [
      ['report runs/a --open', 'see what the run learned'],
      ['report runs/a --compare runs/b runs/c --out abc.html', 'three runs in one report, in a file of its own'],
    ],
    load: () => import('./commands/report.js'),
  }),
  command({
    words: ['estimate-vstar'],
    summary: 'stage 1 alone: sample every training problem and write v_star_dict.json',
    details:
      'Goes on with the file where it is there already. With --from, another beta1 or fewer samples are derived from the rewards of a file without sampling.',
    options: [...samplingOptionNames, 'from', 'shard', 'out', ...engineOptions, 'json'],
    examples: [
      ['estimate-vstar --out v_star_dict.json', 'for `train --v-star v_star_dict.json`'],
      ['estimate-vstar --from v_star_dict.json --beta1 0.1 --out sharper.json', 'another beta1 from the same rewards'],
      ['estimate-vstar --shard 2/4 --out part-2.json', 'the second quarter of the problems, on one of four machines'],
    ],
    load: () => import('./commands/estimate-vstar.js'),
  }),
  command({
    words: ['merge-vstar'],
    summary: 'join the parts that `estimate-vstar --shard` made',
    operands: '<files...>',
    options: ['out', 'partial', 'json'],
    examples: [
      ['merge-vstar part-1.json part-2.json --out v_star_dict.json', 'one file from two'],
      ['merge-vstar part-*.json', 'into v_star_dict.json in this folder'],
    ],
    load: () => import('./commands/merge-vstar.js'),
  }),
  command({
    words: ['runs'],
    summary: 'list runs: when, which model, accuracy before and after, how far, finished or not',
    details: 'Looks into runs/, or the given folder. Only reads; runs that are going on may be listed.',
    operands: '[folder]',
    options: ['json'],
    examples: [
      ['runs', 'the runs in runs/, the newest first'],
      ['runs experiments --json', 'those in another folder, for a program to read'],
    ],
    load: () => import('./commands/runs.js'),
  }),
  command({
    words: ['pretrain'],
    summary: 'make a built-in model from nothing, by next-token training on worked multiplications',
    options: ['corpus', 'out', 'force', 'steps', ...engineOptions, 'json'],
    examples: [
      ['pretrain', 'into a new folder in runs/; about ten minutes'],
      ['pretrain --steps 50 --out /tmp/try', 'a quick try'],
    ],
    load: () => import('./commands/pretrain.js'),
  }),
  command({
    words: ['doctor'],
    summary: 'check this machine: Node, engine, speed, gradients, disk; says what to do about each problem',
    options: [...engineOptions, 'model', 'json'],
    examples: [
      ['doctor', 'check everything, with the engine that would run'],
      ['doctor --engine wasm --json', 'the same for the WebAssembly engine, for a program to read'],
    ],
    load: () => import('./commands/doctor.js'),
  }),
  command({
    words: ['generate'],
    summary: 'complete a prompt, or a file of prompts, with a model',
    details:
      'Text is printed as it is drawn. Sampling follows the flags, then the generation_config.json of the model, then the plain softmax; a model that recommends no sampling is greedy. A completion depends on model, prompt, seed and sampling alone, not on what else is generated with it. A line of --input is {"prompt": text or token ids}; with --json a line of output is { prompt, promptIds, completions: [{ ids, text, logProbs, finishReason }] }, where log-probs are of the softmax at the temperature, before top-p and top-k. Without flags a prompt gets one completion of up to 256 tokens.',
    options: [
      ...(['model', 'prompt', 'input', 'chat', 'promptStyle', 'temperature', 'topP', 'topK'] as const),
      ...(['maxNewTokens', 'samples', 'seed', 'precision', 'json'] as const),
      ...engineOptions,
    ],
    examples: [
      ['generate --model Qwen/Qwen2.5-0.5B-Instruct --chat --prompt "What is 7 × 12?"', 'an answer, as it is drawn'],
      ['generate --model runs/a/final --input prompts.jsonl --samples 4 --json', 'four completions of each prompt'],
    ],
    load: () => import('./commands/generate.js'),
  }),
  command({
    words: ['play'],
    summary: 'ask a model at a prompt, alone or beside another, and see what its answers earn',
    details:
      'A multiplication such as `7 x 8` or `7*8` is asked as the model knows it and graded; any other text is asked as it stands. Answers are greedy unless --temperature says otherwise. Arrow keys bring back earlier lines, Ctrl-C stops an answer, Ctrl-D leaves. Lines may also come through a pipe; with --json a line of output is { input, completions: [{ model, prompt, text, finished, tokens, reward, exact, parsed, parts }] }.',
    options: [
      ...(['checkpoint', 'compare', 'preset', 'temperature', 'maxNewTokens', 'seed', 'reward', 'precision'] as const),
      ...engineOptions,
      'json',
    ],
    examples: [
      ['play --checkpoint runs/mine --compare builtin', 'what training changed, answer by answer'],
      ['play --temperature 1 --seed 3', 'samples of the built-in model'],
      ["play --json <<< '7 x 8'", 'for a program to read'],
    ],
    load: () => import('./commands/play.js'),
  }),
  command({
    words: ['score'],
    summary: 'compute the log-prob of every token of given completions',
    details:
      'A line of --input is {"prompt": …, "completion": …}, each a text or token ids; the completion is tokenized on its own and follows the prompt, and "eos": true appends the end token. A line of output, in the same order, is { promptIds, completionIds, logProbs, sum }. The temperature is 1 without the flag. The output is JSON with and without --json.',
    options: [
      ...(['model', 'input', 'chat', 'promptStyle', 'temperature', 'precision'] as const),
      ...engineOptions,
      'json',
    ],
    examples: [
      ['score --model runs/a/final --input answers.jsonl', 'one line of JSON for each line'],
      [
        'score --model runs/a/final --input - --temperature 0.7 < answers.jsonl',
        'at the temperature it was sampled at',
      ],
    ],
    load: () => import('./commands/score.js'),
  }),
  command({
    words: ['engine', 'install'],
    summary: 'install native TensorFlow into the cache (274 MB download, 860 MB on disk)',
    details:
      "TensorFlow's library comes from the Python package index by way of pip, or else from the place that tfjs-node's own installer takes it from. Node modules are never changed. Where neither can be had, tinyzero runs on WebAssembly.",
    options: ['gpu', 'from', 'force', 'json'],
    examples: [
      ['engine install', 'the CPU build'],
      ['engine install --from tensorflow_cpu.whl', 'from a wheel on disk, without a network'],
    ],
    load: () => import('./commands/engine-install.js'),
  }),
  command({
    words: ['engine', 'status'],
    summary: 'say which native engine is installed, and what a stopped install left behind',
    options: ['json'],
    examples: [
      ['engine status', 'one line, and what to do'],
      ['engine status --json', 'for a program to read'],
    ],
    load: () => import('./commands/engine-status.js'),
  }),
  command({
    words: ['engine', 'remove'],
    summary: 'remove the native engine and its downloads from the cache',
    options: ['json'],
    examples: [
      ['engine remove', 'free the disk space'],
      ['engine remove && tinyzero engine install --gpu', 'change to the CUDA build'],
    ],
    load: () => import('./commands/engine-remove.js'),
  }),
];

/** Summaries of command groups. */
export const groups: Readonly<Record<string, string>> = {
  engine: 'install, show or remove the native TensorFlow engine',
};
