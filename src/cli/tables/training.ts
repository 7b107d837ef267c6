/** @file Commands that train a model, or compute a part of training. */
import { followingDefaultText, sftDefaults } from '../../options/defaults.js';
import { remoteOptionNames } from '../../options/machines.js';
import {
  estimationOptionNames,
  samplingOptionNames,
  sftOptionNames,
  trainingOptionNames,
} from '../../options/names.js';
import type { OptionName } from '../../options/table.js';
import {
  type CommandSpec,
  command,
  engineOptions,
  modalOnly,
  modelOrRun,
  pageOptions,
  pageTexts,
  remoteDryRun,
  resultCommandOptions,
  runCommandOptions,
  theModel,
} from '../command-spec.js';

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
      temperature: { help: 'divides the logits before the softmax, in both stages' },
      maxNewTokens: { help: 'longest completion, in both stages' },
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      microBatch: { default: 'by model and memory' },
      out: { help: 'folder of the run', default: 'runs/MODEL-DATE-TIME' },
      ...pageTexts,
    },
    examples: [
      ['train', 'the built-in model, about ten seconds'],
      ['train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16', 'a model from the Hugging Face hub'],
      [
        'train --preset seed --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --dry-run',
        "what the original project's settings need",
      ],
      ['train --problems problems.jsonl --model Qwen/Qwen2.5-0.5B-Instruct', 'your own problems, see docs/tasks.md'],
      ['train --seeds 1..5 --out runs/five', 'five runs, with mean, spread and a test over all, see docs/many-runs.md'],
      [
        'train --model Qwen/Qwen2.5-0.5B-Instruct --precision bf16 --on modal --gpu H100 --dry-run',
        'the plan and maximum cost of a run on a Modal GPU, see docs/scale.md',
      ],
      [
        'train --on tinker --tinker-url http://localhost:8000 --model Qwen/Qwen3-8B',
        'train on a server of the Tinker API, see docs/scale.md',
      ],
      ['train --config runs/mine --lr 1e-4', 'repeat a run with another learning rate'],
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
    summary: 'train a model on examples: supervised training on prompts with completions',
    details:
      'A line of --data is {"prompt": …, "completion": …}, each text or token ids, or {"messages": [{"role": …, "content": …}, …]}, which trains every turn of the assistant. The loss covers only completions and their end tokens. Some lines are held out to measure the loss before and after. Everything is written to the run folder, which `tinyzero train` accepts as --model. Ctrl-C saves the run; the printed command resumes it.',
    options: [...sftOptionNames, ...runCommandOptions],
    texts: {
      model: modelOrRun,
      seed: { group: 'Data', help: 'chooses the held-out lines and their order in training' },
      epochs: { group: 'Training', help: 'passes over all lines', default: String(sftDefaults.epochs) },
      batchSize: {
        group: 'Training',
        value: 'lines',
        help: 'lines per update',
        default: String(sftDefaults.batchSize),
      },
      microBatch: { group: 'Training', default: 'by model and memory' },
      lr: { group: 'Training', default: followingDefaultText('lr', 'none')! },
      warmup: { group: 'Training' },
      loraRank: { group: 'Training' },
      loraAlpha: { group: 'Training' },
      loraTargets: { group: 'Training' },
      evalEvery: { help: 'updates between measurements of the held-out loss; 0: never' },
      keep: { value: 'checkpoints', help: 'newest checkpoints to keep' },
      seeds: { help: 'one run per seed, instead of --seed: 1..5 or 1,3,7' },
      on: modalOnly,
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
    summary: 'try the settings of train or sft that a file lists, and rank them by training reward',
    details:
      'The file, TOML or JSON, lists values or ranges of options under [options]. All combinations are tried, or random ones. Settings are ranked by training reward, not by held-out results, since choosing by those would bias them. Each run is an ordinary run. Ctrl-C saves all runs, and --resume continues them. Writes a table and a report with parallel coordinates. docs/many-runs.md describes the file.',
    operands: '[file]',
    options: ['parallel', 'out', 'resume', 'dryRun', ...pageOptions, ...engineOptions, 'json'],
    texts: {
      out: { help: 'folder of the sweep', default: 'runs/FILE-DATE-TIME' },
      resume: { help: 'resume the sweep in this folder' },
      ...pageTexts,
    },
    instead: insteadOfSweep,
    examples: [
      ['sweep examples/sweep.toml --dry-run', 'show the settings, and the memory and disk space they need'],
      ['sweep examples/sweep.toml --out runs/rates', 'try and rank them'],
      ['sweep --resume runs/rates', 'resume an interrupted sweep'],
    ],
    load: () => import('../commands/sweep.js'),
  }),
  command({
    words: ['estimate-vstar'],
    summary: 'stage 1 alone: sample every training problem and write v_star_dict.json',
    details:
      'Resumes an existing file. --from derives V* for another beta1, or for fewer samples, from the rewards in a file, without sampling.',
    options: [...estimationOptionNames, ...resultCommandOptions],
    texts: {
      model: modelOrRun,
      reference: theModel,
      seed: { group: 'Problems', help: 'the same seed draws the same problems and samples' },
      dryRun: remoteDryRun,
      on: modalOnly,
      out: { help: 'the file', default: 'v_star_dict.json' },
    },
    examples: [
      ['estimate-vstar --out v_star_dict.json', 'for `tinyzero train --v-star v_star_dict.json`'],
      ['estimate-vstar --from v_star_dict.json --beta1 0.1 --out sharper.json', 'another beta1 from the same rewards'],
      ['estimate-vstar --shard 2/4 --out part-2.json', 'the second quarter of the problems, on one of four machines'],
      ['estimate-vstar --sampler-url http://127.0.0.1:8000/v1', 'sample on a server such as vLLM, see docs/scale.md'],
    ],
    load: () => import('../commands/estimate-vstar.js'),
  }),
  command({
    words: ['merge-vstar'],
    summary: 'join V* files that several machines made with --shard',
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
    summary: 'compute V* from the rewards of another program: a table with columns eval_0, eval_1, ...',
    details:
      "Reads rewards from 0 to 1 from the table of --problems, in Parquet, CSV or JSON lines: the format of the datasets of the A*PO paper. Give the options of the run that will use the file, since it is bound to the run's model, problems and prompts, like a file from estimate-vstar. Nothing is sampled, so tinyzero cannot check that the rewards belong to this model at this temperature.",
    options: [...samplingOptionNames, 'out', 'json'],
    texts: {
      model: modelOrRun,
      reference: theModel,
      numSamples: { help: 'samples per problem to read: the columns eval_0 to eval_N-1' },
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
    summary: 'make a built-in model from scratch, by next-token prediction on worked multiplications',
    options: ['corpus', 'family', 'out', 'force', 'steps', ...engineOptions, 'json'],
    texts: {
      out: { help: 'folder of the model', default: 'a new one in runs/' },
      force: { group: 'Output', help: 'replace the contents of the folder' },
      steps: { default: 'as in the recipe, 2400' },
    },
    examples: [
      ['pretrain', 'about ten minutes, into a new folder in runs/'],
      ['pretrain --family qwen3 --out models/twin', 'the same for a Tinker server, see docs/scale.md'],
      ['pretrain --steps 50 --out /tmp/try', 'a quick try'],
    ],
    load: () => import('../commands/pretrain.js'),
  }),
];

const ofRuns: readonly OptionName[] = [...trainingOptionNames, ...sftOptionNames];

function insteadOfSweep(name: OptionName): string | undefined {
  if (name === 'seeds') return 'write seeds = "1..3" into the file, above [options]';
  if (remoteOptionNames.some((each) => each === name)) {
    return 'a sweep runs on this machine; on Modal, start a run for each setting with `tinyzero train --on modal --detach`';
  }
  return ofRuns.includes(name) ? 'write it into the file, under [options]' : undefined;
}
