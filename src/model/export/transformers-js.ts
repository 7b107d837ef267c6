/**
 * @file An exported ONNX model in transformers.js, on the CPU: greedy answers by token ids, and their log-probs from one pass over
 * prompt and answer.
 */
import { basename, dirname } from 'node:path';
import { loadPeer, type Peer } from './peer.js';

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

/** @param dtype its name in transformers.js. @throws UserError if the package is missing. */
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
