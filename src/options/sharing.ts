/** @file The options of results in the option table: output paths, exports and uploads. */
import { exportFormats, exportTargetNames } from '../model/export/targets.js';
import type { OptionSpec } from './spec.js';

export const sharingOptions = {
  out: { type: 'string', placeholder: 'path', help: 'where the result goes' },
  open: { type: 'boolean', default: false, help: 'open the report in a browser' },
  to: {
    type: 'choice',
    choices: exportTargetNames,
    help: 'the form: gguf for llama.cpp, onnx for transformers.js, web for a page in a browser',
  },
  dtype: { type: 'choice', choices: exportFormats, help: 'how numbers are stored' },
  check: {
    type: 'boolean',
    default: false,
    help: 'run the result where it is for, and compare greedy answers token for token',
  },
  private: { type: 'boolean', default: false, help: 'make the repository one that only you and your organisation see' },
  yes: { type: 'boolean', default: false, help: 'do not ask first' },
} as const satisfies Record<string, OptionSpec>;
