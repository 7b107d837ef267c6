/**
 * @file The options in the option table about where a command computes: engines, several processes, servers, and `--on`
 * elsewhere.
 */
import { engineSettings } from '../engine/choices.js';
import { keysOf } from '../util/keys.js';
import type { OptionSpec } from './spec.js';

export const machineOptions = {
  tinkerUrl: {
    type: 'string',
    placeholder: 'url',
    help: 'with --on tinker: address of the server, such as http://localhost:8000; TINKER_API_KEY holds the key',
  },
  tinkerModel: {
    type: 'string',
    placeholder: 'name',
    help: "with --on tinker: the server's name for the model, if --model is a folder",
  },
  workers: {
    type: 'string',
    placeholder: 'host:port,...',
    help: 'addresses of `tinyzero worker` processes that share the work (docs/scale.md)',
  },
  listen: {
    type: 'string',
    placeholder: 'host:port',
    default: '127.0.0.1:4001',
    help: 'address and port to listen on; anyone who can reach it can run code here: private networks only',
  },
  engine: {
    type: 'choice',
    choices: engineSettings,
    default: 'auto',
    env: 'TINYZERO_ENGINE',
    help: 'native TensorFlow, WebGPU (any graphics card), WebAssembly, or the fastest available one',
  },
  install: {
    type: 'boolean',
    default: true,
    env: 'TINYZERO_NO_INSTALL',
    help: 'do not install the native engine if it is missing',
  },
  gpuMemory: {
    type: 'number',
    above: 0,
    unit: 'GB',
    env: 'TINYZERO_GPU_MEMORY',
    help: 'limit on the memory of an NVIDIA GPU that TensorFlow uses; default: as much as it needs',
  },
  gpu: {
    type: 'boolean',
    default: false,
    help: 'install the CUDA build of TensorFlow (Linux x86-64, 3.4 GB download)',
  },
  from: {
    type: 'string',
    placeholder: 'path',
    help: 'install from this wheel, or folder of wheels, without network access',
  },
  reinstall: { type: 'boolean', default: false, word: 'force', help: 'install again even if an engine is installed' },
} as const satisfies Record<string, OptionSpec>;

/** Options of a server that samples, and of a sampler that lags behind. */
export const serverOptions = {
  samplerUrl: {
    type: 'string',
    placeholder: 'url',
    help: 'sample on this OpenAI-compatible server, such as vLLM, instead of in this process: http://host:8000/v1',
  },
  samplerModel: { type: 'string', placeholder: 'name', help: "the model's name on the server; default: its only one" },
  apiKeyEnv: {
    type: 'string',
    placeholder: 'variable',
    help: "environment variable that holds the server's key; default: no key is sent",
  },
  concurrency: { type: 'integer', min: 1, max: 4096, default: 64, unit: 'requests', help: 'concurrent requests' },
  refreshEvery: {
    type: 'integer',
    min: 1,
    default: 1,
    unit: 'updates',
    help: 'updates between refreshes of the sampler; above 1 it lags behind the policy, as --algo oapl expects',
  },
} as const satisfies Record<string, OptionSpec>;

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
    help: 'modal: run on a Modal GPU; tinker: train on a server of the Tinker API (docs/scale.md); default: this machine',
  },
  remoteGpu: {
    type: 'choice',
    choices: keysOf(modalGpus),
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
    help: 'volume on Modal that keeps the files of all runs',
  },
  detach: { type: 'boolean', default: false, help: 'with --on modal: start the run, print how to follow it, and exit' },
} as const satisfies Record<string, OptionSpec>;

/** Options of a command that can run elsewhere. */
export const remoteOptionNames = ['on', 'remoteGpu', 'timeout', 'volume', 'detach'] as const;
