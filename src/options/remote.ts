/** @file The options in the option table about `--on`: running elsewhere. */
import type { OptionSpec } from './spec.js';

/**
 * GPUs of Modal that tinyzero offers. Prices: US dollars an hour for the GPU alone, by Modal's public list, as seen in June 2026.
 */
export const modalGpus = {
  L4: { memory: '24 GB', dollarsPerHour: 0.8 },
  A100: { memory: '40 GB', dollarsPerHour: 2.1 },
  'A100-80GB': { memory: '80 GB', dollarsPerHour: 2.5 },
  H100: { memory: '80 GB', dollarsPerHour: 3.95 },
} as const;
export type ModalGpu = keyof typeof modalGpus;

export const remoteOptions = {
  on: {
    type: 'choice',
    choices: ['modal', 'tinker'],
    help: 'modal: run on a GPU of Modal; tinker: train on a server of the Tinker API (docs/scale.md); default: this machine',
  },
  remoteGpu: {
    type: 'choice',
    choices: Object.keys(modalGpus) as ModalGpu[],
    default: 'A100',
    word: 'gpu',
    help: 'with --on modal: the GPU',
  },
  timeout: {
    type: 'string',
    placeholder: 'duration',
    default: '8h',
    help: 'with --on modal: time limit, such as 90m or 8h, at most 24h; the run saves before the limit',
  },
  volume: {
    type: 'string',
    placeholder: 'name',
    default: 'tinyzero-outputs',
    help: 'the volume on Modal for the files of all runs',
  },
  detach: { type: 'boolean', default: false, help: 'with --on modal: start the run, print how to follow it, and exit' },
} as const satisfies Record<string, OptionSpec>;

/** Options of a command that can run elsewhere. */
export const remoteOptionNames = ['on', 'remoteGpu', 'timeout', 'volume', 'detach'] as const;
