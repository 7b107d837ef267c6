/** @file The options in the option table that say where a command computes: engines, several processes, servers. */
import { engineSettings } from '../engine/choices.js';
import type { OptionSpec } from './spec.js';

export const machineOptions = {
  tinkerUrl: {
    type: 'string',
    placeholder: 'url',
    help: 'with --on tinker: the server, such as http://localhost:8000; its key is taken from TINKER_API_KEY',
  },
  tinkerModel: {
    type: 'string',
    placeholder: 'name',
    help: "with --on tinker: the server's name for the model, if --model is a folder with its config and tokenizer",
  },
  workers: {
    type: 'string',
    placeholder: 'host:port,...',
    help: 'also compute in these processes of `tinyzero worker`, on this machine or others (docs/scale.md)',
  },
  listen: {
    type: 'string',
    placeholder: 'host:port',
    default: '127.0.0.1:4001',
    help: 'address of this machine, and port; whoever reaches it can compute here, so only in a private network',
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
