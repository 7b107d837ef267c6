/**
 * @file Exports a model for other programs, and checks an export against its source model: tinyzero and a program that runs
 * the export answer the same prompts greedily, and the answers are compared token by token.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { wordings } from '../../data/prompt.js';
import { UserError } from '../../util/errors.js';
import { explainAsyncWrites } from '../../util/file.js';
import type { Reporter } from '../../util/reporter.js';
import { readAdapterConfig } from '../checkpoint/adapter.js';
import { exportGguf, exportGgufAdapter, type GgufAdapterFormat } from '../gguf/export.js';
import type { LoadRequest } from '../loaded-model.js';
import { loadModel, sample } from '../loaded-model.js';
import { stateOf } from '../model-state.js';
import type { OnnxFormat } from '../onnx/decoder.js';
import { exportOnnx, onnxDtypes } from '../onnx/decoder.js';
import { type OpenModel, openModel } from '../open.js';
import { endTokens } from '../prompt-input.js';
import { isBuiltin } from '../shipped.js';
import { openInLlamaCpp, openInTransformersJs, type Peer, requirePeer } from './peer.js';
import type { ExportFormat, FileTarget } from './targets.js';

interface ExportRequest extends Pick<LoadRequest, 'engine' | 'install'> {
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
    problem: `${model} is not a LoRA adapter, as --to gguf-lora needs.`,
    fix: 'Export it with --to gguf, or train an adapter with `tinyzero train --lora-rank 8`.',
  });
}

/** Number of multiplications, and tokens of the longest answer. */
const checkSize = { prompts: 20, maxNewTokens: 32 };

interface Expected {
  readonly text: string;
  readonly addSpecialTokens: boolean;
  readonly promptIds: readonly number[];
  readonly ids: readonly number[];
  readonly logProbs: readonly number[];
}

/** Tinyzero's answers. */
interface ExpectedAnswers {
  readonly answers: readonly Expected[];
  readonly endIds: readonly number[];
}

export interface ExportCheck {
  readonly program: string;
  readonly prompts: number;
  /** Prompts that both tokenized to the same ids. */
  readonly sameTokens: number;
  /** Answers with the same token ids. */
  readonly sameAnswers: number;
  /** Over all tokens up to the first different one; absent if the program gives no log-probs. */
  readonly largestLogProbGap?: number;
  readonly firstDifference?: {
    readonly prompt: string;
    /** Index in the answer, from 0. */
    readonly position: number;
    readonly expected: number | null;
    readonly found: number | null;
    /** Of the expected token. Near -0.7, two tokens may be equally likely. */
    readonly logProb: number | null;
  };
}

/** Greedy answers of the model itself, in float32. */
async function expectedAnswers(
  reference: string,
  request: Pick<LoadRequest, 'engine' | 'install'>,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ExpectedAnswers> {
  const model = await loadModel(reference, { ...request, precision: 'f32' }, reporter, signal);
  try {
    const { pretrained, tokenizer } = stateOf(model);
    const chat = tokenizer.chatTemplate !== null;
    const wording = isBuiltin(pretrained.configRecord) ? 'builtin' : chat ? 'number' : 'question';
    const texts = Array.from({ length: checkSize.prompts }, (_, i) => {
      const question = wordings[wording]({ a: 2 + ((i * 7) % 11), b: 2 + ((i * 5 + 3) % 11) });
      return chat ? tokenizer.renderChat([{ role: 'user', content: question }]) : question;
    });
    const promptIds = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: !chat }));
    const { maxNewTokens } = checkSize;
    const completions = await sample(model, promptIds, { temperature: 0, maxNewTokens, signal });
    const answers = texts.map((text, i) => {
      const { ids, logProbs } = completions[i]![0]!;
      return { text, addSpecialTokens: !chat, promptIds: promptIds[i]!, ids, logProbs };
    });
    return { answers, endIds: [...endTokens({ pretrained, tokenizer })] };
  } finally {
    model.close();
  }
}

/** Tokens of the longest prompt and answer together. */
function longestOf({ answers }: ExpectedAnswers): number {
  return Math.max(...answers.map(({ promptIds }) => promptIds.length)) + checkSize.maxNewTokens;
}

/** Gives `peer` the same prompts, and closes it. */
async function checkAgainst(
  peer: Peer,
  { answers, endIds }: ExpectedAnswers,
  onAnswer: (done: number) => void,
): Promise<ExportCheck> {
  let [sameTokens, sameAnswers] = [0, 0];
  let gap: number | undefined;
  let firstDifference: ExportCheck['firstDifference'];
  try {
    for (const [index, expected] of answers.entries()) {
      const { text, addSpecialTokens, promptIds, ids } = expected;
      const { maxNewTokens } = checkSize;
      const found = await peer.answer({ text, addSpecialTokens, promptIds, maxNewTokens, endIds });
      if (found.promptIds.join() === promptIds.join()) sameTokens += 1;
      const length = Math.max(ids.length, found.ids.length);
      const position = Array.from({ length }, (_, i) => i).find((i) => ids[i] !== found.ids[i]);
      if (position === undefined) sameAnswers += 1;
      else {
        firstDifference ??= {
          prompt: text,
          position,
          expected: ids[position] ?? null,
          found: found.ids[position] ?? null,
          logProb: expected.logProbs[position] ?? null,
        };
      }
      for (const [i, logProb] of found.logProbs?.slice(0, position).entries() ?? []) {
        gap = Math.max(gap ?? 0, Math.abs(logProb - expected.logProbs[i]!));
      }
      onAnswer(index + 1);
    }
  } finally {
    await peer.close();
  }
  return {
    program: peer.program,
    prompts: answers.length,
    sameTokens,
    sameAnswers,
    ...(gap !== undefined && { largestLogProbGap: gap }),
    ...(firstDifference && { firstDifference }),
  };
}
