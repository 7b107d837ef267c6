/** @file The options of results in the option table: output paths, exports and uploads. */
import { exportFormats, exportTargetNames } from '../model/export/targets.js';
import type { OptionSpec } from './spec.js';

export const sharingOptions = {
  out: { type: 'string', placeholder: 'path', help: 'path of the result' },
  open: { type: 'boolean', default: false, help: 'open the report in a browser' },
  watch: {
    type: 'boolean',
    default: false,
    help: 'show the run in a browser while it lasts: prints the address of a page on this machine',
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
    help: 'with --to web: also a page that trains the model in the browser while you watch',
  },
  dtype: { type: 'choice', choices: exportFormats, help: 'number format of the weights' },
  check: {
    type: 'boolean',
    default: false,
    help: 'open the result in the program it is made for, and compare greedy answers token by token',
  },
  private: { type: 'boolean', default: false, help: 'make the repository private' },
  yes: { type: 'boolean', default: false, help: 'do not ask for confirmation' },
} as const satisfies Record<string, OptionSpec>;
