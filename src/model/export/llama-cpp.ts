/** @file An exported GGUF file in llama.cpp, through the package node-llama-cpp: greedy answers by token ids, on the CPU. */
import { availableParallelism } from 'node:os';
import { loadPeer, type Peer } from './peer.js';

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
  // The default cache of keys and values is float16, whose rounding would look like an error of the export.
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
