/**
 * @file The programs that run an exported model for a check: llama.cpp (node-llama-cpp) runs GGUF files and transformers.js
 * runs ONNX models. Each answers greedily, by token ids, on the CPU. They are loaded from the user's project or from
 * tinyzero's, and are not dependencies of tinyzero.
 */

import { availableParallelism } from 'node:os';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findPackage, packageVersion } from '../../engine/packages.js';
import { UserError } from '../../util/errors.js';

/** A program's greedy answer to a prompt. */
interface PeerAnswer {
  /** Ids of the prompt, by the program's own tokenizer. */
  readonly promptIds: readonly number[];
  /** Includes the end token, if there is one. */
  readonly ids: readonly number[];
  /** Per token; absent if the program gives none. */
  readonly logProbs?: readonly number[];
}

interface PeerQuestion {
  readonly text: string;
  /** False for a chat: its template writes them. */
  readonly addSpecialTokens: boolean;
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** Any of these ends the answer. */
  readonly endIds: readonly number[];
}

/** An exported model, opened in such a program. */
export interface Peer {
  /** `node-llama-cpp 3.22.1` */
  readonly program: string;
  answer(question: PeerQuestion): Promise<PeerAnswer>;
  close(): Promise<void>;
}

/**
 * The module of an optional package, from the current folder's packages or tinyzero's own.
 *
 * @throws UserError that says how to install it.
 */
async function loadPeer<Module>(name: string): Promise<{ module: Module; program: string }> {
  const entry = requirePeer(name);
  return { module: await import(pathToFileURL(entry).href), program: `${name} ${packageVersion(entry, name)}` };
}

/** The file that {@link loadPeer} would load. @throws UserError that says how to install it. */
export function requirePeer(name: string): string {
  const entry = findPackage(name);
  if (entry !== undefined) return entry;
  throw new UserError({
    problem: `The check runs the model in ${name}, which is not installed.`,
    fix: `Add it with \`npm install ${name}\`, or omit --check.`,
  });
}

/** The parts of the package (3.22) that are used. */
interface LlamaModule {
  getLlama(options: object): Promise<Llama>;
}
interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
interface LlamaModel {
  tokenize(text: string, specialTokens: boolean): number[];
  createContext(options: object): Promise<LlamaContext>;
}
interface LlamaContext {
  getSequence(): LlamaSequence;
}
interface LlamaSequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
}

/**
 * @param contextSize tokens of the longest prompt and answer together.
 * @param adapterPath a LoRA adapter as a GGUF file.
 * @throws UserError if the package is missing.
 */
export async function openInLlamaCpp(modelPath: string, contextSize: number, adapterPath?: string): Promise<Peer> {
  const { module, program } = await loadPeer<LlamaModule>('node-llama-cpp');
  // The package contains llama.cpp, so nothing is compiled or downloaded.
  const quiet = { build: 'never', skipDownload: true, progressLogs: false, logLevel: 'error', logger: () => {} };
  // Its threads spin while they wait, so one processor is left free.
  const maxThreads = Math.max(1, availableParallelism() - 1);
  const llama = await module.getLlama({ gpu: false, maxThreads, ...quiet });
  const model = await llama.loadModel({ modelPath });
  // The cache of keys and values defaults to float16, whose rounding would look like an error in the export.
  const exact = { flashAttention: false, experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' };
  const context = await model.createContext({
    contextSize,
    sequences: 1,
    ...exact,
    ...(adapterPath !== undefined && { lora: { adapters: [{ filePath: adapterPath, scale: 1 }] } }),
  });
  const sequence = context.getSequence();
  return {
    program,
    async answer({ text, promptIds, maxNewTokens, endIds }) {
      await sequence.clearHistory();
      const ids: number[] = [];
      for await (const id of sequence.evaluate(promptIds, { temperature: 0, yieldEogToken: true })) {
        ids.push(id);
        if (ids.length === maxNewTokens || endIds.includes(id)) break;
      }
      return { promptIds: model.tokenize(text, true), ids };
    },
    close: () => llama.dispose(),
  };
}

/** The parts of the package (4.3) that are used. */
interface TransformersModule {
  readonly env: { allowRemoteModels: boolean; allowLocalModels: boolean; localModelPath: string };
  readonly AutoTokenizer: { from_pretrained(name: string, options: object): Promise<PeerTokenizer> };
  readonly AutoModelForCausalLM: { from_pretrained(name: string, options: object): Promise<PeerModel> };
  readonly Tensor: new (type: 'int64', data: BigInt64Array, shape: readonly number[]) => PeerTensor;
}
interface PeerTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): number[];
}
interface PeerTensor {
  readonly data: ArrayLike<number | bigint>;
  readonly dims: readonly number[];
}
interface PeerModel {
  (inputs: Record<string, PeerTensor>): Promise<{ readonly logits: PeerTensor }>;
  generate(options: object): Promise<PeerTensor>;
  dispose(): Promise<unknown>;
}

/** @param dtype the name of the number format in transformers.js. @throws UserError if the package is missing. */
export async function openInTransformersJs(folder: string, dtype: string): Promise<Peer> {
  const { module, program } = await loadPeer<TransformersModule>('@huggingface/transformers');
  const { env, AutoTokenizer, AutoModelForCausalLM, Tensor } = module;
  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: dirname(folder) });
  const name = basename(folder);
  const tokenizer = await AutoTokenizer.from_pretrained(name, { local_files_only: true });
  const session_options = { logSeverityLevel: 3 };
  const options = { dtype, device: 'cpu', local_files_only: true, session_options };
  const model = await AutoModelForCausalLM.from_pretrained(name, options);
  const row = (ids: readonly number[]) => new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]);
  const ones = (count: number) => row(new Array(count).fill(1));
  return {
    program,
    async answer({ text, addSpecialTokens, promptIds, maxNewTokens, endIds }) {
      const all = await model.generate({
        inputs: row(promptIds),
        attention_mask: ones(promptIds.length),
        do_sample: false,
        max_new_tokens: maxNewTokens,
        eos_token_id: endIds,
        repetition_penalty: 1,
      });
      const sequence = Array.from(all.data, Number);
      const { logits } = await model({ input_ids: row(sequence), attention_mask: ones(sequence.length) });
      const first = promptIds.length;
      const ids = sequence.slice(first);
      const size = logits.dims.at(-1)!;
      const data = logits.data as Float32Array;
      return {
        promptIds: tokenizer.encode(text, { add_special_tokens: addSpecialTokens }),
        ids,
        logProbs: ids.map((id, i) => logProbOf(data.subarray((first + i - 1) * size, (first + i) * size), id)),
      };
    },
    async close() {
      await model.dispose();
    },
  };
}

/** log softmax(logits)[id] */
function logProbOf(logits: Float32Array, id: number): number {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return logits[id]! - largest - Math.log(sum);
}
