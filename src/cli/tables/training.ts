/** @file Commands that train a model, or compute a part of training. */
import { sftDefaults } from '../../options/defaults.js';
import {
  estimationOptionNames,
  samplingOptionNames,
  sftOptionNames,
  trainingOptionNames,
} from '../../options/names.js';
import { type CommandSpec, command } from '../command-spec.js';
import {
  engineOptions,
  modelOrRun,
  pageOptions,
  pageTexts,
  remoteDryRun,
  resultCommandOptions,
  runCommandOptions,
  theModel,
} from './shared.js';

export const trainingCommands: readonly CommandSpec[] = [
  command({
    words: ['train'],
    summary: 'train a model with A*PO and show on held-out problems what it learned',
    details:
      'Evaluates the model, samples every training problem to estimate its optimal value V* (stage 1), checks whether training can learn anything, trains (stage 2), evaluates again, and writes everything to the run folder. Ctrl-C saves the run; the printed command resumes it.',
    options: [...trainingOptionNames, ...runCommandOptions, 'workers'],
    texts: {
      model: modelOrRun,
      reference: theModel,
      temperature: { group: 'Stage 1', help: 'divides the logits before the softmax, in both stages' },
      maxNewTokens: { group: 'Stage 1', help: 'longest completion, in both stages' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      microBatch: { default: 'by model and memory' },
      out: { help: 'folder of the run', default: 'runs/MODEL-DATE-TIME' },
      ...pageTexts,
    },
    examples: [
      ['train', 'the built-in model, some ten seconds'],
      ['train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16', 'a model from the Hugging Face hub'],
      [
        'train --preset seed --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --dry-run',
        'what the original project needs',
      ],
      ['train --problems problems.jsonl --model Qwen/Qwen2.5-0.5B-Instruct', 'your own problems, see docs/tasks.md'],
      ['train --seeds 1..5 --out runs/five', 'five runs, with mean, spread and a test over all; see docs/many-runs.md'],
      [
        'train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16 --on modal --gpu H100 --dry-run',
        'what a run on a GPU of Modal would do and cost at most; see docs/scale.md',
      ],
      [
        'train --on tinker --tinker-url http://localhost:8000 --model Qwen/Qwen3-8B',
        'on a server that trains; see docs/scale.md',
      ],
      ['train --config runs/mine --lr 1e-4', 'a run again, with another learning rate'],
      ['train --workers 10.0.0.2:4001,10.0.0.3:4001', 'with two workers on other machines, see docs/scale.md'],
      [
        'train --lora-rank 8 --algo oapl --refresh-every 4 --sampler-url http://127.0.0.1:8000/v1',
        'sample on a server, see docs/scale.md',
      ],
      ['train --resume runs/mine', 'resume an interrupted run, or set of runs'],
    ],
    load: () => import('../commands/train.js'),
  }),
  command({
    words: ['sft'],
    summary: 'teach a model from examples: supervised training on prompts with their completions',
    details:
      'A line of --data is {"prompt": …, "completion": …}, each a text or token ids, or {"messages": [{"role": …, "content": …}, …]}, from which every turn of the assistant is learned. The loss counts only completions and their end tokens. A share of the lines is held out to measure the loss before and after. Writes everything to the run folder, which `tinyzero train` takes as its --model. Ctrl-C saves the run; the printed command resumes it.',
    options: [...sftOptionNames, ...runCommandOptions],
    texts: {
      model: modelOrRun,
      seed: { group: 'Data', help: 'chooses the held-out lines and their order in training' },
      epochs: { group: 'Training', help: 'passes over all lines', default: String(sftDefaults.epochs) },
      batchSize: { group: 'Training', help: 'lines of one update', default: String(sftDefaults.batchSize) },
      microBatch: { group: 'Training', default: 'by model and memory' },
      lr: { group: 'Training' },
      warmup: { group: 'Training' },
      loraRank: { group: 'Training' },
      loraAlpha: { group: 'Training' },
      loraTargets: { group: 'Training' },
      evalEvery: { help: 'measure the held-out loss every so many updates; 0 for never' },
      out: { help: 'folder of the run', default: 'runs/sft-MODEL-DATE-TIME' },
      ...pageTexts,
    },
    examples: [
      ['sft --data examples/worked.jsonl --out runs/worked', 'teach the built-in model to show its work'],
      ['sft --data examples.jsonl --model Qwen/Qwen2.5-0.5B --lora-rank 16', 'adapters of a model from the hub'],
      ['sft --data examples.jsonl --model Qwen/Qwen2.5-0.5B --dry-run', 'its work, memory and disk space'],
      ['sft --resume runs/worked', 'resume an interrupted run'],
    ],
    load: () => import('../commands/sft.js'),
  }),
  command({
    words: ['sweep'],
    summary: 'try many settings of train or sft from a file, and rank them by training reward',
    details:
      'The file, TOML or JSON, gives options lists of values or ranges under [options]: all combinations are tried, or random ones. Settings are ranked by the training reward, not by held-out results, since choosing by those is selection. Each run is an ordinary run; Ctrl-C saves all, and --resume continues. Ends with a table and a report with parallel coordinates. docs/many-runs.md describes the file.',
    operands: '[file]',
    options: ['parallel', 'out', 'resume', 'dryRun', ...pageOptions, ...engineOptions, 'json'],
    texts: {
      out: { help: 'folder of the sweep', default: 'runs/FILE-DATE-TIME' },
      resume: { help: 'continue the sweep in this folder' },
      ...pageTexts,
    },
    examples: [
      ['sweep examples/sweep.toml --dry-run', 'the settings that the file means, and what they need'],
      ['sweep examples/sweep.toml --out runs/rates', 'try them all, then rank them'],
      ['sweep --resume runs/rates', 'continue after a stop'],
    ],
    load: () => import('../commands/sweep.js'),
  }),
  command({
    words: ['estimate-vstar'],
    summary: 'stage 1 alone: sample every training problem and write v_star_dict.json',
    details:
      'Resumes an existing file. With --from, V* for another beta1 or for fewer samples is derived from the rewards of a file, without sampling.',
    options: [...estimationOptionNames, ...resultCommandOptions],
    texts: {
      model: modelOrRun,
      reference: theModel,
      temperature: { group: 'Stage 1', help: 'divides the logits before the softmax' },
      maxNewTokens: { group: 'Stage 1' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      dryRun: remoteDryRun,
      out: { help: 'the file', default: 'v_star_dict.json' },
    },
    examples: [
      ['estimate-vstar --out v_star_dict.json', 'for `tinyzero train --v-star v_star_dict.json`'],
      ['estimate-vstar --from v_star_dict.json --beta1 0.1 --out sharper.json', 'another beta1 from the same rewards'],
      ['estimate-vstar --shard 2/4 --out part-2.json', 'the second quarter of the problems, on one of four machines'],
      ['estimate-vstar --sampler-url http://127.0.0.1:8000/v1', 'sampled by a server such as vLLM, see docs/scale.md'],
    ],
    load: () => import('../commands/estimate-vstar.js'),
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
    load: async () => ({ run: (await import('../commands/estimate-vstar.js')).merge }),
  }),
  command({
    words: ['import-vstar'],
    summary: 'V* from rewards that another program sampled: a table with columns eval_0, eval_1, ...',
    details:
      "Reads the rewards, from 0 to 1, beside the prompts of --problems: the form of the data sets that come with the A*PO paper, as Parquet, CSV or JSON lines. Give the options of the run that is to use the file: it is bound to the run's model, problems and prompts as the file of estimate-vstar is. Nothing is sampled, so that the samples are of this model at this temperature is your word.",
    options: [...samplingOptionNames, 'out', 'json'],
    texts: {
      model: modelOrRun,
      reference: theModel,
      numSamples: { help: 'samples of each problem to take: the columns eval_0 to eval_N-1' },
      temperature: { group: 'Stage 1', help: 'divides the logits before the softmax' },
      maxNewTokens: { group: 'Stage 1' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems' },
      out: { help: 'the file', default: 'v_star_dict.json' },
    },
    examples: [
      ['import-vstar --problems samples.csv --num-samples 4', 'columns prompt, answer and eval_0 to eval_3'],
      [
        'import-vstar --problems train.parquet --map prompt.0.content=prompt,reward_model.ground_truth=answer --model Qwen/Qwen2.5-1.5B',
        "a table in the form of the paper's data sets",
      ],
    ],
    load: async () => ({ run: (await import('../commands/estimate-vstar.js')).importTable }),
  }),
  command({
    words: ['pretrain'],
    summary: 'make a built-in model from scratch, by next-token training on worked multiplications',
    options: ['corpus', 'family', 'out', 'force', 'steps', ...engineOptions, 'json'],
    texts: {
      out: { help: 'folder of the model', default: 'a new one in runs/' },
      force: { group: 'Output', help: 'replace the contents of the folder' },
      steps: { default: 'the recipe, 2120' },
    },
    examples: [
      ['pretrain', 'into a new folder in runs/; about ten minutes'],
      ['pretrain --family qwen3 --out models/twin', 'its twin for a Tinker server, see docs/scale.md'],
      ['pretrain --steps 50 --out /tmp/try', 'a quick try'],
    ],
    load: () => import('../commands/pretrain.js'),
  }),
];
