/**
 * @file The built-in model in a form that servers know: vLLM's attention knows heads of 32, not of 24, and its Qwen2 ignores
 * `head_dim`; SkyRL tx knows no Qwen2. Every head gets zeros up to 32, at places where they change nothing, and the model becomes
 * a Llama with biases, or without them.
 */
import { openPretrained } from '../../src/model/checkpoint/pretrained.js';
import { savePretrained } from '../../src/model/checkpoint/save.js';

/**
 * Writes the model in `source` into `target` with heads of `to` instead of `from` channels.
 *
 * RoPE turns channel i together with channel i + width / 2 by the angle position · theta^(-2i / width): the halves of a head
 * move to the halves of the wider one, and theta' = theta^(to / from) keeps every angle. Scores are divided by the root of the
 * width, so q and k each grow by the fourth root of to / from.
 *
 * @param biases false: without them, which is another model, although almost as good (SkyRL tx leaves them out silently).
 */
export async function widenHeads(
  source: string,
  target: string,
  { to = 32, biases = true }: { readonly to?: number; readonly biases?: boolean } = {},
): Promise<void> {
  const { config, configRecord, weights } = openPretrained(source);
  const from = config.headDim;
  const placeOf = (channel: number) => (channel < from / 2 ? channel : to / 2 + channel - from / 2);
  const scale = (to / from) ** 0.25;
  const spread = (values: Float32Array, heads: number, width: number, factor: number) => {
    const result = new Float32Array(heads * to * width);
    for (let head = 0; head < heads; head += 1) {
      for (let channel = 0; channel < from; channel += 1) {
        for (let i = 0; i < width; i += 1) {
          result[(head * to + placeOf(channel)) * width + i] = factor * values[(head * from + channel) * width + i]!;
        }
      }
    }
    return result;
  };
  const transposed = (values: Float32Array, rows: number, columns: number) =>
    Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
  const { hiddenSize, heads, kvHeads, layers } = config;
  const tensors = new Map<string, { readonly shape: readonly number[]; readonly values: Float32Array }>();
  const keep = (name: string, shape: readonly number[]) => tensors.set(name, { shape, values: weights.read(name) });
  try {
    keep('model.embed_tokens.weight', [config.vocabSize, hiddenSize]);
    keep('model.norm.weight', [hiddenSize]);
    for (let layer = 0; layer < layers; layer += 1) {
      const at = `model.layers.${layer}`;
      for (const name of ['input_layernorm', 'post_attention_layernorm']) keep(`${at}.${name}.weight`, [hiddenSize]);
      for (const name of ['gate_proj', 'up_proj']) keep(`${at}.mlp.${name}.weight`, [config.ffnSize, hiddenSize]);
      keep(`${at}.mlp.down_proj.weight`, [hiddenSize, config.ffnSize]);
      for (const [name, count, factor] of [
        ['q_proj', heads, scale],
        ['k_proj', kvHeads, scale],
        ['v_proj', kvHeads, 1],
      ] as const) {
        const module = `${at}.self_attn.${name}`;
        const [weight, bias] = [weights.read(`${module}.weight`), weights.read(`${module}.bias`)];
        tensors.set(`${module}.weight`, {
          shape: [count * to, hiddenSize],
          values: spread(weight, count, hiddenSize, factor),
        });
        tensors.set(`${module}.bias`, { shape: [count * to], values: spread(bias, count, 1, factor) });
      }
      const out = transposed(weights.read(`${at}.self_attn.o_proj.weight`), hiddenSize, heads * from);
      tensors.set(`${at}.self_attn.o_proj.weight`, {
        shape: [hiddenSize, heads * to],
        values: transposed(spread(out, heads, hiddenSize, 1), heads * to, hiddenSize),
      });
      tensors.set(`${at}.self_attn.o_proj.bias`, { shape: [hiddenSize], values: new Float32Array(hiddenSize) });
    }
    const kept = [...tensors].filter(([name]) => biases || !name.endsWith('.bias'));
    await savePretrained(target, {
      configRecord: {
        ...configRecord,
        architectures: ['LlamaForCausalLM'],
        model_type: 'llama',
        head_dim: to,
        rope_theta: 10000 ** (to / from),
        attention_bias: biases,
        mlp_bias: false,
      },
      specs: Object.fromEntries(kept.map(([name, { shape }]) => [name, shape])),
      dtype: 'float32',
      read: (name) => tensors.get(name)!.values,
      carryFrom: source,
    });
  } finally {
    weights.close();
  }
}
