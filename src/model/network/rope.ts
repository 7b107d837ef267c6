/**
 * @file Rotary position embedding (Su et al. 2021, "RoFormer"): reads its settings from a config and computes the
 * angle that each pair of channels turns per position. Follows `modeling_rope_utils.py` of Hugging Face transformers
 * 5.23, in float32 where it does. Applying the angles is the transformer's business.
 */
import { isRecord, type JsonFields, type JsonRecord } from '../../util/json.js';

/** How positions turn into angles; one of the kinds that `rope_type` names. */
export type RopeScaling =
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
  /** Both cosine and sine are multiplied by this (1 except for yarn), which scales attention scores by its square. */
  readonly attentionFactor: number;
}

/**
 * Reads `rope_parameters` (transformers 5) or `rope_theta` + `rope_scaling` (before), whichever the config has.
 * What is unknown or unsupported is noted in `fields` by its name.
 */
export function readRope(fields: JsonFields, maxPositions: number): RopeConfig {
  const topTheta = fields.number('rope_theta', { above: 0, fallback: 10000 });
  // As in the reference: a `rope_scaling` that says anything wins over `rope_parameters`.
  const scaling = nonEmpty(fields, 'rope_scaling') ?? nonEmpty(fields, 'rope_parameters') ?? {};
  const name = nonEmpty(fields, 'rope_scaling') ? 'rope_scaling' : 'rope_parameters';
  const rope = fields.inside(name, scaling);
  const theta = rope.number('rope_theta', { above: 0, fallback: topTheta });
  const type = rope.string('rope_type', rope.string('type', 'default'));
  for (const factor of [fields.get('partial_rotary_factor'), rope.get('partial_rotary_factor')]) {
    if (factor !== undefined && factor !== 1) rope.refuse('`partial_rotary_factor` other than 1 is not supported');
  }
  if (Object.values(scaling).some(isRecord)) rope.refuse('settings that differ by layer type are not supported');
  if (rope.has('mrope_section')) rope.refuse('`mrope_section` (images and video) is not supported');

  // Some configs keep the length of pre-training beside the rope settings; the reference lets that one win.
  const originalMaxPositions = fields.integer('original_max_position_embeddings', {
    fallback: rope.integer('original_max_position_embeddings', { fallback: maxPositions }),
  });
  return { theta, ...readScaling(rope, type, maxPositions, originalMaxPositions) };
}

function readScaling(
  rope: JsonFields,
  type: string,
  maxPositions: number,
  originalMaxPositions: number,
): Omit<RopeConfig, 'theta'> {
  const plain = { scaling: { kind: 'default' }, attentionFactor: 1 } as const;
  const factor = () => rope.number('factor', { above: 0 });
  switch (type) {
    case 'default':
      return plain;
    case 'dynamic':
      // Changes angles only past max_position_embeddings, and longer sequences are refused, so it is the plain kind.
      factor();
      return plain;
    case 'linear':
      return { scaling: { kind: 'linear', factor: factor() }, attentionFactor: 1 };
    case 'llama3': {
      const lowFreqFactor = rope.number('low_freq_factor', { above: 0 });
      const highFreqFactor = rope.number('high_freq_factor', { above: 0 });
      if (highFreqFactor <= lowFreqFactor) {
        rope.refuse(`\`high_freq_factor\` (${highFreqFactor}) must be above \`low_freq_factor\` (${lowFreqFactor})`);
      }
      return {
        scaling: { kind: 'llama3', factor: factor(), lowFreqFactor, highFreqFactor, originalMaxPositions },
        attentionFactor: 1,
      };
    }
    case 'yarn': {
      const scale = rope.number('factor', { above: 0, fallback: maxPositions / originalMaxPositions });
      const scaling = {
        kind: 'yarn',
        factor: scale,
        betaFast: rope.number('beta_fast', { above: 0, fallback: 32 }),
        betaSlow: rope.number('beta_slow', { above: 0, fallback: 1 }),
        originalMaxPositions,
        truncate: rope.boolean('truncate', true),
      } as const;
      return { scaling, attentionFactor: yarnAttentionFactor(rope, scale) };
    }
    default:
      rope.refuse(
        `\`rope_type\` ${JSON.stringify(type)} is not supported (known: default, linear, dynamic, llama3, yarn)`,
      );
      return plain;
  }
}

/** The temperature of YaRN (Peng et al. 2023, section 3.4), or what the config says it is. */
function yarnAttentionFactor(rope: JsonFields, factor: number): number {
  const mscale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  if (rope.has('attention_factor')) return rope.number('attention_factor', { above: 0 });
  const over = rope.get('mscale');
  const under = rope.get('mscale_all_dim');
  if (over && under)
    return mscale(rope.number('mscale', { above: 0 })) / mscale(rope.number('mscale_all_dim', { above: 0 }));
  return mscale(1);
}

function nonEmpty(fields: JsonFields, name: string): JsonRecord | undefined {
  const value = fields.get(name);
  if (value === undefined) return undefined;
  if (!isRecord(value)) {
    fields.refuse(`\`${name}\` must be an object`);
    return undefined;
  }
  return Object.keys(value).length > 0 ? value : undefined;
}

/**
 * Radians per position of each channel pair: pair i is channels (i, i + C/2).
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
        // Wavelengths that fitted often into the original context stay, those that never fitted are stretched,
        // and those between are blended.
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

/** The channel pairs between which YaRN blends: below `low` untouched, above `high` fully interpolated. */
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
