/**
 * @file The commands: names, options, examples, and how to load their code when they run. To add a command, add an entry here
 * and a file in commands/ that exports `run`.
 */
import { sftDefaults } from '../options/defaults.js';
import { evaluationOptionNames, samplingOptionNames, sftOptionNames, trainingOptionNames } from '../options/names.js';
import type { OptionName } from '../options/table.js';
import { type CommandSpec, command } from './command-spec.js';

/** Options of every command that computes. */
const engineOptions = ['engine', 'install'] as const satisfies readonly OptionName[];

const sampling = { help: 'divides the logits before the softmax; 0 is greedy' } as const;
const modelOrRun = { default: 'builtin' } as const;
const theModel = { default: 'the model' } as const;

export const commands: readonly CommandSpec[] = [
  command({
    words: ['train'],
    summary: 'train a model with A*PO and show on held-out problems what it learned',
    details:
      'Evaluates the model, samples every training problem to estimate its optimal value V* (stage 1), checks whether training can learn something, trains (stage 2), evaluates again, and writes everything to the run folder. Ctrl-C saves the run; the printed command resumes it.',
    options: [...trainingOptionNames, 'out', 'resume', 'dryRun', ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      reference: theModel,
      temperature: { group: 'Stage 1', help: 'divides the logits before the softmax, in both stages' },
      maxNewTokens: { group: 'Stage 1', help: 'longest completion, in both stages' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      microBatch: { default: 'by model and memory' },
      out: { help: 'folder of the run', default: 'runs/MODEL-DATE-TIME' },
    },
    examples: [
      ['train', 'the built-in model, about half a minute'],
      ['train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16', 'a model from the Hugging Face hub'],
      ['train --preset seed --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --dry-run', 'what the original needs'],
      ['train --problems problems.jsonl --model Qwen/Qwen2.5-0.5B-Instruct', 'your own problems, see docs/tasks.md'],
      ['train --resume runs/mine', 'resume an interrupted run'],
    ],
    load: () => import('./commands/train.js'),
  }),
  command({
    words: ['sft'],
    summary: 'teach a model from examples: supervised training on prompts with their completions',
    details:
      'A line of --data is {"prompt": …, "completion": …}, each a text or token ids, or {"messages": [{"role": …, "content": …}, …]}, of which every turn of the assistant is learned. The loss counts completions and their end token only. A share of the lines is held out, and the loss on them is measured before and after. Writes everything to the run folder, which `tinyzero train` takes as its --model. Ctrl-C saves and says how to continue.',
    options: [...sftOptionNames, 'out', 'resume', 'dryRun', ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      seed: { group: 'Data', help: 'chooses the held-out lines and their order in training' },
      epochs: { group: 'Training', help: 'how often every line is seen', default: String(sftDefaults.epochs) },
      batchSize: { group: 'Training', help: 'lines of one update', default: String(sftDefaults.batchSize) },
      microBatch: { group: 'Training', default: 'by model and memory' },
      lr: { group: 'Training' },
      warmup: { group: 'Training' },
      loraRank: { group: 'Training' },
      loraAlpha: { group: 'Training' },
      loraTargets: { group: 'Training' },
      evalEvery: { help: 'measure the held-out loss every so many updates; 0 for never' },
      out: { help: 'folder of the run', default: 'runs/sft-MODEL-DATE-TIME' },
    },
    examples: [
      ['sft --data examples/worked.jsonl --out runs/worked', 'teach the built-in model to show its work'],
      ['sft --data examples.jsonl --model Qwen/Qwen2.5-0.5B --lora-rank 16', 'adapters of a model from the hub'],
      ['sft --data examples.jsonl --model Qwen/Qwen2.5-0.5B --dry-run', 'what that would need'],
      ['sft --resume runs/worked', 'continue a run that was stopped'],
    ],
    load: () => import('./commands/sft.js'),
  }),
  command({
    words: ['eval'],
    summary: 'measure a model on held-out problems: exact match, pass@k, format, truncation, with intervals',
    details:
      'For a run folder, the trained model is measured, on the problems and with the sampling of that run unless flags change them: the result equals what `tinyzero train` measured after training.',
    options: [...evaluationOptionNames, ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      compare: { help: 'another model to measure on the same problems, or the JSON file of an evaluation' },
      samples: { help: 'samples per problem', default: '64' },
      temperature: { help: 'divides the logits before the softmax' },
    },
    examples: [
      ['eval --model runs/mine', 'the model that a run trained'],
      ['eval --model runs/mine --compare builtin', 'the same against the model it came from, with paired tests'],
      ['eval --samples 8 --json', 'the built-in model, as JSON'],
    ],
    load: () => import('./commands/eval.js'),
  }),
  command({
    words: ['report'],
    summary: 'write the report of a run, one HTML file: what it learned, how, what it cost, how to repeat it',
    details:
      'Reads the files in the run folder, finished or not, and writes report.html there; `tinyzero train` does this at the end. With --compare, it overlays the curves and accuracies of more runs, tests the differences between them and lists the options that differ.',
    operands: '<folder>',
    options: ['compareRuns', 'open', 'out', 'json'],
    texts: {
      compareRuns: { group: 'Output' },
      out: { help: 'the HTML file', default: 'report.html in the run folder' },
    },
    examples: [
      ['report runs/mine --open', 'see what the run learned'],
      ['report runs/mine --compare runs/other runs/third --out three.html', 'three runs in one report'],
    ],
    load: () => import('./commands/report.js'),
  }),
  command({
    words: ['estimate-vstar'],
    summary: 'stage 1 alone: sample every training problem and write v_star_dict.json',
    details:
      'Resumes an existing file. With --from, V* for another beta1 or for fewer samples is derived from the rewards of a file, without sampling.',
    options: [...samplingOptionNames, 'fromVStar', 'shard', 'out', ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      reference: theModel,
      temperature: { group: 'Stage 1', help: 'divides the logits before the softmax' },
      maxNewTokens: { group: 'Stage 1' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      out: { help: 'the file', default: 'v_star_dict.json' },
    },
    examples: [
      ['estimate-vstar --out v_star_dict.json', 'for `tinyzero train --v-star v_star_dict.json`'],
      ['estimate-vstar --from v_star_dict.json --beta1 0.1 --out sharper.json', 'another beta1 from the same rewards'],
      ['estimate-vstar --shard 2/4 --out part-2.json', 'the second quarter of the problems, on one of four machines'],
    ],
    load: () => import('./commands/estimate-vstar.js'),
  }),
  command({
    words: ['merge-vstar'],
    summary: 'join the parts of V* that several machines made with --shard',
    operands: '<files...>',
    options: ['out', 'partial', 'json'],
    texts: { out: { help: 'the file', default: 'v_star_dict.json' } },
    examples: [
      ['merge-vstar part-1.json part-2.json --out v_star_dict.json', 'one file from two'],
      ['merge-vstar part-*.json', 'into v_star_dict.json in this folder'],
    ],
    load: async () => ({ run: (await import('./commands/estimate-vstar.js')).merge }),
  }),
  command({
    words: ['merge'],
    summary: 'merge an adapter into its base model: a full model folder, in float32',
    operands: '<folder>',
    options: ['out', 'json'],
    examples: [
      ['merge runs/lora --out merged', 'the trained adapter of a run as a full model'],
      ['merge adapter --out merged --json', "any LoRA adapter in PEFT's format"],
    ],
    load: () => import('./commands/merge.js'),
  }),
  command({
    words: ['export'],
    summary: 'write a model in the form that other programs run: GGUF, ONNX, or a page for a browser',
    details:
      'Takes a run, a checkpoint, an adapter (which is merged into its base), a hub id, a GGUF file or a built-in model. --check asks 20 multiplications of the model and of its export, greedily, where it is for: in node-llama-cpp, in @huggingface/transformers, or with the code of the page. With f32 one different token ends in exit code 1; for narrower numbers the differences are told. docs/export.md says what each form carries.',
    operands: '<checkpoint>',
    options: ['to', 'dtype', 'check', 'reference', 'out', ...engineOptions, 'json'],
    texts: {
      to: { default: 'gguf' },
      dtype: { default: 'f16 for gguf, f32 for onnx, as stored for web' },
      reference: {
        group: 'Output',
        help: 'with --to web: the model that the page shows beside it',
        default: 'what the run began from',
      },
      out: { help: 'the folder', default: 'exports/NAME-FORM' },
    },
    examples: [
      ['export runs/mine --to gguf', 'the trained model of a run as one file, in float16'],
      ['export runs/mine --to onnx --dtype q8 --out site/model', 'for transformers.js, in bytes'],
      ['export runs/mine --to web', 'a folder for any static server: the model before and after, side by side'],
      ['export builtin --to onnx --check', 'the built-in model, compared in transformers.js'],
    ],
    load: () => import('./commands/export.js'),
  }),
  command({
    words: ['push'],
    summary: 'upload a model to the Hugging Face hub, with a model card made from its run',
    details:
      'Creates the repository where it is missing and commits the files of the model with a README.md: what was trained, the verdict, the table before and after, the command. Asks first unless --yes is given. The token comes from HF_TOKEN or `hf auth login`, the hub from HF_ENDPOINT.',
    operands: '<org/name>',
    options: ['model', 'private', 'yes', 'json'],
    texts: { model: { help: 'the run, the checkpoint or the adapter to upload' } },
    examples: [
      ['push me/multiplier --model runs/mine', 'the trained model of a run; asks first'],
      ['push me/multiplier --model runs/mine --private --yes', 'without a question, for a script'],
    ],
    load: () => import('./commands/push.js'),
  }),
  command({
    words: ['runs'],
    summary: 'list runs: when, which model, accuracy before and after, progress, finished or not',
    details: 'Lists runs/, or the given folder. Only reads, so it can be used while a run is in progress.',
    operands: '[folder]',
    options: ['json'],
    examples: [
      ['runs', 'the runs in runs/, the newest first'],
      ['runs experiments --json', 'the runs in another folder, as JSON'],
    ],
    load: () => import('./commands/runs.js'),
  }),
  command({
    words: ['pretrain'],
    summary: 'make a built-in model from scratch, by next-token training on worked multiplications',
    options: ['corpus', 'out', 'force', 'steps', ...engineOptions, 'json'],
    texts: {
      out: { help: 'folder of the model', default: 'a new one in runs/' },
      force: { group: 'Output', help: 'replace the contents of the folder' },
      steps: { default: 'the recipe, 2120' },
    },
    examples: [
      ['pretrain', 'into a new folder in runs/; about ten minutes'],
      ['pretrain --steps 50 --out /tmp/try', 'a quick try'],
    ],
    load: () => import('./commands/pretrain.js'),
  }),
  command({
    words: ['doctor'],
    summary: 'check this machine: Node, engine, speed, gradients, disk; say what to do about each problem',
    options: [...engineOptions, 'model', 'json'],
    texts: { model: { help: 'also check this model' } },
    examples: [
      ['doctor', 'check everything, with the engine that commands would use'],
      ['doctor --engine wasm --json', 'the same for the WebAssembly engine, as JSON'],
    ],
    load: () => import('./commands/doctor.js'),
  }),
  command({
    words: ['generate'],
    summary: 'complete a prompt, or a file of prompts, with a model',
    details:
      'Text is printed as it is drawn. Sampling follows the flags, then the generation_config.json of the model, then the plain softmax; a model that recommends no sampling is greedy. A completion depends on model, prompt, seed and sampling alone, not on what else is generated with it. A line of --input is {"prompt": text or token ids}; with --json a line of output is { prompt, promptIds, completions: [{ ids, text, logProbs, finishReason }] }, where log-probs are of the softmax at the temperature, before top-p and top-k.',
    options: [
      'model',
      'prompt',
      'input',
      'chat',
      'promptStyle',
      'temperature',
      'topP',
      'topK',
      'maxNewTokens',
      'samples',
      'seed',
      'precision',
      'json',
      ...engineOptions,
    ],
    texts: {
      model: modelOrRun,
      temperature: { ...sampling, default: 'as the model recommends' },
      topP: { default: 'as the model recommends' },
      topK: { default: 'as the model recommends' },
      maxNewTokens: { default: '256' },
      samples: { default: '1' },
    },
    examples: [
      ['generate --prompt "What is 7 × 8?"', 'the built-in model'],
      ['generate --model Qwen/Qwen2.5-0.5B-Instruct --chat --prompt "What is 7 × 12?"', 'an answer, as it is drawn'],
      ['generate --model runs/mine --input prompts.jsonl --samples 4 --json', 'four completions of each prompt'],
    ],
    load: () => import('./commands/generate.js'),
  }),
  command({
    words: ['play'],
    summary: 'ask one or two models questions interactively and see the rewards of their answers',
    details:
      'A multiplication such as `7 x 8` or `7*8` is asked as the model knows it and graded; any other text is asked as it stands. Answers are greedy unless --temperature says otherwise. Arrow keys bring back earlier lines, Ctrl-C stops an answer, Ctrl-D leaves. Lines may also come through a pipe; with --json a line of output is { input, completions: [{ model, prompt, text, finished, tokens, reward, exact, parsed, parts }] }.',
    options: [
      'model',
      'compare',
      'preset',
      'temperature',
      'maxNewTokens',
      'seed',
      'reward',
      'precision',
      ...engineOptions,
      'json',
    ],
    texts: {
      model: modelOrRun,
      temperature: { ...sampling, default: '0' },
    },
    examples: [
      ['play --model runs/mine --compare builtin', 'what training changed, answer by answer'],
      ['play --temperature 1 --seed 3', 'samples of the built-in model'],
      ['play --json <<< "7 x 8"', 'as JSON'],
    ],
    load: () => import('./commands/play.js'),
  }),
  command({
    words: ['score'],
    summary: 'compute the log-prob of every token in given completions',
    details:
      'A line of --input is {"prompt": …, "completion": …}, each a text or token ids; the completion is tokenized on its own and follows the prompt, and "eos": true appends the end token. A line of output, in the same order, is { promptIds, completionIds, logProbs, sum }. The output is JSON with and without --json.',
    options: ['model', 'input', 'chat', 'promptStyle', 'temperature', 'precision', ...engineOptions, 'json'],
    texts: {
      model: modelOrRun,
      temperature: { help: 'divides the logits before the softmax; above 0', default: '1' },
    },
    examples: [
      ['score --model runs/mine --input answers.jsonl', 'one line of JSON for each line'],
      [
        'score --model runs/mine --input - --temperature 0.7 < answers.jsonl',
        'at the temperature they were sampled at',
      ],
    ],
    load: () => import('./commands/score.js'),
  }),
  command({
    words: ['engine', 'install'],
    summary: 'install native TensorFlow into the cache (274 MB download, 860 MB on disk)',
    details:
      "TensorFlow's library comes from the Python package index by way of pip, or else from the place that tfjs-node's own installer takes it from. Node modules are never changed. Where neither is available, tinyzero runs on WebAssembly.",
    options: ['gpu', 'from', 'reinstall', 'json'],
    examples: [
      ['engine install', 'the CPU build'],
      ['engine install --from tensorflow_cpu.whl', 'from a wheel on disk, without a network'],
    ],
    load: async () => ({ run: (await import('./commands/engine.js')).install }),
  }),
  command({
    words: ['engine', 'status'],
    summary: 'say which native engine is installed, and what a stopped install left behind',
    options: ['json'],
    examples: [
      ['engine status', 'one line, and what to do'],
      ['engine status --json', 'for a program to read'],
    ],
    load: async () => ({ run: (await import('./commands/engine.js')).status }),
  }),
  command({
    words: ['engine', 'remove'],
    summary: 'remove the native engine and its downloads from the cache',
    options: ['json'],
    examples: [
      ['engine remove', 'free disk space'],
      ['engine remove --json', 'say which folder was removed, for a program to read'],
    ],
    load: async () => ({ run: (await import('./commands/engine.js')).remove }),
  }),
];

/** Summaries of command groups. */
export const groups: Readonly<Record<string, string>> = {
  engine: 'install, show or remove the native TensorFlow engine',
};
