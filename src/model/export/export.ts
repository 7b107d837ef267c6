/**
 * @file Exports a checkpoint for other programs, and checks the result there. An adapter is merged into its base as the weights
 * are read.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { UserError } from '../../util/errors.js';
import { explainAsyncWrites } from '../../util/file.js';
import type { Reporter } from '../../util/reporter.js';
import { readAdapterConfig } from '../checkpoint/adapter.js';
import { exportGguf, exportGgufAdapter, type GgufAdapterFormat } from '../gguf/export.js';
import type { LoadRequest } from '../loaded-model.js';
import { exportOnnx, onnxDtypes } from '../onnx/decoder.js';
import type { OnnxFormat } from '../onnx/parameters.js';
import { type OpenModel, openModel } from '../open.js';
import { checkAgainst, type ExpectedAnswers, type ExportCheck, expectedAnswers, longestOf } from './check.js';
import { openInLlamaCpp, openInTransformersJs, type Peer, requirePeer } from './peer.js';
import type { ExportFormat, FileTarget } from './targets.js';

export interface ExportRequest extends Pick<LoadRequest, 'engine' | 'install'> {
  /** A folder, a GGUF file, a hub id or a built-in model. */
  readonly model: string;
  readonly to: FileTarget;
  readonly format: ExportFormat;
  /** The folder to write into. */
  readonly out: string;
  /** The name of the exported model. */
  readonly name: string;
  readonly check: boolean;
}

export interface ExportResult {
  /** The file or folder that other programs open. */
  readonly path: string;
  readonly bytes: number;
  /** What the export leaves out, one sentence each. */
  readonly notes: readonly string[];
  readonly check?: ExportCheck;
}

/** @throws UserError for a model that the target cannot express, and for a check whose program is missing. */
export async function exportModel(
  request: ExportRequest,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExportResult> {
  const { out, to } = request;
  if (request.check) requirePeer(peers[to]);
  const model = await openModel(request.model, reporter, signal);
  let written: Omit<ExportResult, 'check'>;
  try {
    written = await explainAsyncWrites(out, () => writers[to](model, request), 'Choose another folder with --out.');
  } finally {
    model.pretrained.weights.close();
  }
  if (!request.check) return written;
  const { adapterFolder } = model.pretrained;
  const openBase = () => openModel(readAdapterConfig(adapterFolder!)!.base, reporter, signal);
  const open = (expected: ExpectedAnswers) => openPeer[to](written.path, request, expected, openBase);
  return { ...written, check: await checkExport(request, open, reporter, signal) };
}

/** Compares an export with its model. @param open opens the export in the program that it is made for. */
export async function checkExport(
  request: Pick<ExportRequest, 'model' | 'engine' | 'install'>,
  open: (expected: ExpectedAnswers) => Promise<Peer>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExportCheck> {
  const expected = await expectedAnswers(request.model, request, reporter, signal);
  const checking = reporter.work('Checking the export', 'completions');
  try {
    return await checkAgainst(await open(expected), expected, (done) => {
      checking.update({ done, total: expected.answers.length });
      signal.throwIfAborted();
    });
  } finally {
    checking.end();
  }
}

/** The package that runs each target. */
const peers: Readonly<Record<FileTarget, string>> = {
  gguf: 'node-llama-cpp',
  'gguf-lora': 'node-llama-cpp',
  onnx: '@huggingface/transformers',
};

/** @param openBase opens the base of an adapter. */
type PeerOpener = (
  path: string,
  request: ExportRequest,
  expected: ExpectedAnswers,
  openBase: () => Promise<OpenModel>,
) => Promise<Peer>;

const openPeer: Readonly<Record<FileTarget, PeerOpener>> = {
  gguf: (path, _, expected) => openInLlamaCpp(path, longestOf(expected)),
  async 'gguf-lora'(adapter, { name }, expected, openBase) {
    const folder = mkdtempSync(join(tmpdir(), 'tinyzero-base-'));
    try {
      const path = join(folder, 'base.gguf');
      const base = await openBase();
      try {
        await exportGguf(path, { ...base, name }, 'f32');
      } finally {
        base.pretrained.weights.close();
      }
      const peer = await openInLlamaCpp(path, longestOf(expected), adapter);
      return { ...peer, close: () => peer.close().finally(() => rmSync(folder, { recursive: true })) };
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
  },
  onnx: (path, { format }) => openInTransformersJs(resolve(path), onnxDtypes[format as OnnxFormat]),
};

type Writer = (model: OpenModel, request: ExportRequest) => Promise<Omit<ExportResult, 'check'>>;

const writers: Readonly<Record<FileTarget, Writer>> = {
  async gguf(model, { out, name, format }) {
    const named = format === 'q8' ? 'q8_0' : format;
    const path = join(out, `${name}-${named.toUpperCase()}.gguf`);
    const notes = await exportGguf(path, { ...model, name }, named);
    return { path, bytes: statSync(path).size, notes };
  },
  async 'gguf-lora'({ pretrained }, { out, name, format, model }) {
    const { adapterFolder: folder, config } = pretrained;
    if (folder === undefined) throw noAdapter(model);
    const path = join(out, `${name}-lora-${format.toUpperCase()}.gguf`);
    await exportGgufAdapter(path, { folder, config, name }, format as GgufAdapterFormat);
    const { base } = readAdapterConfig(folder)!;
    return { path, bytes: statSync(path).size, notes: [`It needs its base, ${base}, as a GGUF file too.`] };
  },
  async onnx(model, { out, format }) {
    const files = await exportOnnx(out, model, format as OnnxFormat);
    return { path: out, bytes: files.reduce((sum, file) => sum + statSync(file).size, 0), notes: [] };
  },
};

function noAdapter(model: string): UserError {
  return new UserError({
    problem: `${model} is not a LoRA adapter, so there is nothing to write beside a base.`,
    fix: 'Export it with --to gguf, or train an adapter with `tinyzero train --lora-rank 8`.',
  });
}
