/**
 * @file The options in the option table about what is read and written: tables of `--problems`, output paths, sets and lists
 * of runs, pages, exports and uploads.
 */
import { exportFormats, exportTargetNames } from '../model/export/targets.js';
import type { OptionSpec } from './spec.js';

export const resultOptions = {
  seeds: {
    type: 'string',
    placeholder: 'list',
    help: 'one run per seed, instead of --seed: 1..5 or 1,3,7; with a test over all runs',
  },
  parallel: {
    type: 'string',
    placeholder: 'number|auto',
    default: 'auto',
    help: 'runs at the same time; auto: as many as processors and memory allow',
  },
  name: { type: 'string', placeholder: 'text', help: 'a name for the run, shown in lists and reports' },
  note: { type: 'string', placeholder: 'text', help: 'a note about the run, shown in lists and reports' },
  sort: {
    type: 'string',
    placeholder: 'column',
    help: 'sort by this column or option, largest and newest first; COLUMN:asc reverses the order',
  },
  filter: {
    type: 'string',
    placeholder: 'condition',
    help: "list only matching runs: 'after > 80% and state = finished'; ~ means contains",
  },
  out: { type: 'string', placeholder: 'path', help: 'where to write the result' },
  open: { type: 'boolean', default: false, help: 'open the report in a browser' },
  watch: {
    type: 'boolean',
    default: false,
    help: 'follow the run in a browser: prints the address of a page on this machine',
  },
  port: { type: 'integer', min: 0, max: 65535, default: 0, help: 'port of the page on 127.0.0.1; 0 for any free one' },
  to: {
    type: 'choice',
    choices: exportTargetNames,
    help: 'gguf for llama.cpp, gguf-lora for a LoRA adapter alone, onnx for transformers.js, web for a page in a browser',
  },
  train: {
    type: 'boolean',
    default: false,
    help: 'with --to web: add a page that trains the model in the browser',
  },
  dtype: { type: 'choice', choices: exportFormats, help: 'number format of the weights' },
  check: {
    type: 'boolean',
    default: false,
    help: 'load the export in its target program and compare greedy completions token by token',
  },
  private: { type: 'boolean', default: false, help: 'make the repository private' },
  yes: { type: 'boolean', default: false, help: 'do not ask for confirmation' },
} as const satisfies Record<string, OptionSpec>;

export const datasetOptions = {
  map: {
    type: 'string',
    placeholder: 'column=field,...',
    help: 'columns with the prompt, answer, split or cluster: question=prompt,solution=answer',
  },
  subset: { type: 'string', placeholder: 'name', help: 'subset of the dataset, if it has several' },
  split: { type: 'string', placeholder: 'name', help: 'split of the dataset to train on; default: train' },
  testSplit: {
    type: 'string',
    placeholder: 'name',
    help: 'split of the dataset to hold out; default: a fifth of --split',
  },
} as const satisfies Record<string, OptionSpec>;
