/** @file The options in the option table about where a command computes: engines, several processes, servers. */
import { engineSettings } from '../engine/choices.js';
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
    help: 'the most memory that TensorFlow takes of an NVIDIA GPU; default: as much as it needs',
  },
  gpu: {
    type: 'boolean',
    default: false,
    help: 'install the CUDA build of TensorFlow (Linux x86-64, 3.4 GB download)',
  },
  from: {
    type: 'string',
    placeholder: 'path',
    help: 'install from this wheel, or folder of wheels, without a network',
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
