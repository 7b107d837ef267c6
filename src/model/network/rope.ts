/**
 * @file Rotary position embedding (Su et al. 2021, "RoFormer"): reads its settings from a config and computes the angle per
 * position of each channel pair. Follows `modeling_rope_utils.py` of Hugging Face transformers 5.23, rounding to float32
 * where it does. transformer.ts applies the angles.
 */
import type { GenericSchema, InferOutput } from 'valibot';
import { describe, isRecord, type JsonRecord } from '../../util/json.js';
import { anyObject, anything, collect, flag, integer, number, object, optional, text } from '../../util/schema.js';

/** How positions become angles, by `rope_type`. */
type RopeScaling =
  | { readonly kind: 'default' }
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly originalMaxPositions: number;
      readonly truncate: boolean;
    };

export interface RopeConfig {
  /** The base of the geometric series of wavelengths. */
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Factor of cosine and sine (1 except for yarn); scales attention scores by its square. */
  readonly attentionFactor: number;
}

const positive = number({ above: 0 });
const length = integer({ min: 1, max: 2 ** 31 - 1 });

/** Rope fields at the top level of `config.json`. */
const outer = object({
  rope_theta: optional(positive, 10000),
  rope_scaling: optional(anyObject, {}),
  rope_parameters: optional(anyObject, {}),
  partial_rotary_factor: anything,
  original_max_position_embeddings: optional(length),
});

const inner = object({
  rope_theta: optional(positive),
  rope_type: optional(text),
  type: optional(text),
  partial_rotary_factor: anything,
  mrope_section: anything,
  original_max_position_embeddings: optional(length),
});

/** Additional fields by kind. */
const kinds = {
  scaled: object({ factor: positive }),
  llama3: object({ factor: positive, low_freq_factor: positive, high_freq_factor: positive }),
  yarn: object({
    factor: optional(positive),
    beta_fast: optional(positive, 32),
    beta_slow: optional(positive, 1),
    truncate: optional(flag, true),
    attention_factor: optional(positive),
    mscale: optional(number()),
    mscale_all_dim: optional(number()),
  }),
};

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` + `rope_scaling` (before), whichever the config has.
 *
 * @param problems receives a message for each malformed or unsupported field; the result may then be undefined.
 */
export function readRope(config: JsonRecord, maxPositions: number, problems: string[]): RopeConfig | undefined {
  const top = collect(outer, config, problems);
  if (top === undefined) return undefined;
  // As in the reference, a nonempty `rope_scaling` takes precedence over `rope_parameters`.
  const name = Object.keys(top.rope_scaling).length > 0 ? 'rope_scaling' : 'rope_parameters';
  const record = top[name];
  if (Object.values(record).some(isRecord)) problems.push('rope settings that differ by layer type are not supported');
  const rope = collect(inner, record, problems, name);
  if (rope === undefined) return undefined;
  for (const factor of [top.partial_rotary_factor, rope.partial_rotary_factor]) {
    if (factor !== undefined && factor !== 1) problems.push('`partial_rotary_factor` other than 1 is not supported');
  }
  if (rope.mrope_section !== undefined) problems.push('`mrope_section` (images and video) is not supported');

  // Some configs give the pre-training length outside the rope settings; the reference prefers that one.
  const originalMaxPositions =
    top.original_max_position_embeddings ?? rope.original_max_position_embeddings ?? maxPositions;
  const read = <S extends GenericSchema>(schema: S) => collect(schema, record, problems, name);
  const scaling = readScaling(rope.rope_type ?? rope.type ?? 'default', read, problems, {
    maxPositions,
    originalMaxPositions,
  });
  return scaling && { theta: rope.rope_theta ?? top.rope_theta, ...scaling };
}

function readScaling(
  type: string,
  read: <S extends GenericSchema>(schema: S) => InferOutput<S> | undefined,
  problems: string[],
  { maxPositions, originalMaxPositions }: { maxPositions: number; originalMaxPositions: number },
): Omit<RopeConfig, 'theta'> | undefined {
  const plain = { scaling: { kind: 'default' }, attentionFactor: 1 } as const;
  switch (type) {
    case 'default':
      return plain;
    case 'dynamic':
      // Changes angles only beyond max_position_embeddings. Longer sequences are rejected, so this equals the default kind.
      return read(kinds.scaled) && plain;
    case 'linear': {
      const rope = read(kinds.scaled);
      return rope && { scaling: { kind: 'linear', factor: rope.factor }, attentionFactor: 1 };
    }
    case 'llama3': {
      const rope = read(kinds.llama3);
      if (rope === undefined) return undefined;
      const { factor, low_freq_factor: lowFreqFactor, high_freq_factor: highFreqFactor } = rope;
      if (highFreqFactor <= lowFreqFactor) {
        problems.push(`\`high_freq_factor\` (${highFreqFactor}) must be above \`low_freq_factor\` (${lowFreqFactor})`);
      }
      return {
        scaling: { kind: 'llama3', factor, lowFreqFactor, highFreqFactor, originalMaxPositions },
        attentionFactor: 1,
      };
    }
    case 'yarn': {
      const rope = read(kinds.yarn);
      if (rope === undefined) return undefined;
      const factor = rope.factor ?? maxPositions / originalMaxPositions;
      const { beta_fast: betaFast, beta_slow: betaSlow, truncate } = rope;
      return {
        scaling: { kind: 'yarn', factor, betaFast, betaSlow, originalMaxPositions, truncate },
        attentionFactor: rope.attention_factor ?? yarnAttentionFactor(factor, rope.mscale, rope.mscale_all_dim),
      };
    }
    default:
      problems.push(`\`rope_type\` ${describe(type)} is not supported (known: default, linear, dynamic, llama3, yarn)`);
      return undefined;
  }
}

/** YaRN's attention factor (Peng et al. 2023, section 3.4). As in the reference, both weights apply or neither does. */
function yarnAttentionFactor(factor: number, over: number | undefined, under: number | undefined): number {
  const mscale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  return over && under ? mscale(over) / mscale(under) : mscale(1);
}

/**
 * Radians per position of each channel pair. Pair i consists of channels i and i + C/2.
 *
 * @param headDim C, even.
 * @returns float32 [C/2], rounded after every step as the reference's float32 tensors are: at position 30,000 one unit
 *   in the last place of a frequency is already 2e-3 radians.
 */
export function inverseFrequencies(rope: RopeConfig, headDim: number): Float32Array {
  const f32 = Math.fround;
  const periods = Float32Array.from({ length: headDim / 2 }, (_, i) => f32(rope.theta) ** f32((2 * i) / headDim));
  const plain = periods.map((period) => 1 / period);
  const { scaling } = rope;
  switch (scaling.kind) {
    case 'default':
      return plain;
    case 'linear':
      return plain.map((frequency) => frequency / scaling.factor);
    case 'llama3':
      return plain.map((frequency) => {
        // Wavelengths much shorter than the original context stay, longer ones are stretched, and those between are
        // blended.
        const turns = f32(scaling.originalMaxPositions / f32(f32(2 * Math.PI) / frequency));
        if (turns > scaling.highFreqFactor) return frequency;
        if (turns < scaling.lowFreqFactor) return frequency / scaling.factor;
        const smooth = f32(f32(turns - scaling.lowFreqFactor) / (scaling.highFreqFactor - scaling.lowFreqFactor));
        return f32(f32(f32(1 - smooth) * frequency) / scaling.factor) + f32(smooth * frequency);
      });
    case 'yarn': {
      const [low, high] = yarnRange(scaling, rope.theta, headDim);
      return plain.map((frequency, i) => {
        const ramp = f32(f32(i - f32(low)) / f32(high - low));
        const kept = f32(1 - Math.min(Math.max(ramp, 0), 1));
        const interpolated = f32(1 / f32(scaling.factor * periods[i]!));
        return f32(interpolated * f32(1 - kept)) + f32(frequency * kept);
      });
    }
  }
}

/** The channel pairs between which YaRN blends: below `low` unchanged, above `high` fully interpolated. */
function yarnRange(
  { betaFast, betaSlow, originalMaxPositions, truncate }: Extract<RopeScaling, { kind: 'yarn' }>,
  theta: number,
  headDim: number,
): [low: number, high: number] {
  const pairAt = (turns: number) =>
    (headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = truncate ? { low: Math.floor, high: Math.ceil } : { low: Number, high: Number };
  const low = Math.max(round.low(pairAt(betaFast)), 0);
  const high = Math.min(round.high(pairAt(betaSlow)), headDim - 1);
  return [low, high === low ? high + 0.001 : high]; // the reference's guard against a division by zero
}
