/** @file The targets of exports, and the number formats of each. Loads nothing. */

/** `q8` is q8_0 in GGUF and quantised bytes in ONNX. */
export const exportFormats = ['f32', 'f16', 'bf16', 'q8'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** Number formats that each target has, its default first. */
export const exportTargets = {
  gguf: ['f16', 'f32', 'bf16', 'q8'],
  /** A LoRA adapter without its base. */
  'gguf-lora': ['f32', 'f16', 'bf16'],
  onnx: ['f32', 'f16', 'q8'],
  /** Keeps the weights' stored formats. */
  web: [],
} as const satisfies Record<string, readonly ExportFormat[]>;
export type ExportTarget = keyof typeof exportTargets;
/** Targets that other programs open. */
export type FileTarget = Exclude<ExportTarget, 'web'>;

export const exportTargetNames = Object.keys(exportTargets) as [ExportTarget, ...ExportTarget[]];
