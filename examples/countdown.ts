/**
 * @file Countdown, as in Jiayi Pan's TinyZero: reach a number with given numbers, each used exactly once, and the four
 * operations. Needs a model that can spell it:
 *
 *     tinyzero train --task examples/countdown.ts --model Qwen/Qwen2.5-0.5B-Instruct
 *
 * What a model writes is never run: `value` below reads sums, differences, products, quotients and brackets, and nothing else.
 */
import { defineTask, type Random } from 'tinyzero';

interface Countdown {
  readonly numbers: readonly number[];
  readonly target: number;
}

/** Reward of a readable answer that uses the right numbers but misses the target, as in TinyZero. */
const formatReward = 0.1;

export default defineTask<Countdown>({
  name: 'countdown',
  problems: (random, n) => Array.from({ length: n }, () => draw(random, false)),
  heldOut: (random, n) => Array.from({ length: n }, () => draw(random, true)),
  prompt: ({ numbers, target }) =>
    `Using the numbers ${numbers.join(', ')}, create an equation that equals ${target}. You can use +, -, *, / and ` +
    'brackets, and each number exactly once. Think step by step, then give the equation in <answer> </answer> tags, ' +
    'for example <answer>(1 + 2) / 3</answer>.',
  reward: (completion, { numbers, target }, { finished }) => {
    const equation = [...completion.matchAll(/<answer>([^<>]*)<\/answer>/g)].at(-1)?.[1];
    const result = equation === undefined ? undefined : evaluate(equation);
    const usesNumbers = result !== undefined && sorted(result.numbers) === sorted(numbers);
    const exact = finished && usesNumbers && equals(result.value, target);
    return {
      reward: exact ? 1 : usesNumbers ? formatReward : 0,
      exact,
      parsed: result !== undefined,
      parts: { equation: Number(result !== undefined), numbers: Number(usesNumbers) },
    };
  },
  // The same numbers in another order are the same problem.
  cluster: ({ numbers, target }) => `${sorted(numbers)}=${target}`,
  solution: ({ numbers, target }) => {
    const terms = numbers.map((number) => ({ value: fraction(number), text: `${number}` }));
    return `<answer>${search(terms, target)}</answer>`;
  },
});

/** A rule, so that every run and every evaluation holds out the same. */
const isHeldOut = (target: number) => target % 7 === 0;

/** Three or four numbers below 100 and a target from 10 to 100 that they reach. */
function draw(random: Random, heldOut: boolean): Countdown {
  for (;;) {
    const numbers = Array.from({ length: random.int(3, 4) }, () => random.int(1, 99));
    const [first, ...others] = numbers.map(fraction);
    const value = others.reduce((sum, number) => combine(random.pick(operators), sum, number)!, first!);
    const target = Number(value.top) / Number(value.bottom);
    if (!Number.isInteger(target) || target < 10 || target > 100) continue;
    if (isHeldOut(target) === heldOut) return { numbers, target };
  }
}

const sorted = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b).join(' ');

/** Exact, so that 1 / 3 * 3 is 1. */
interface Fraction {
  readonly top: bigint;
  readonly bottom: bigint;
}

const fraction = (number: number): Fraction => ({ top: BigInt(number), bottom: 1n });
const equals = ({ top, bottom }: Fraction, number: number) => top === BigInt(number) * bottom;

const operators = ['+', '-', '*', '/'] as const;
type Operator = (typeof operators)[number];

/** Undefined: a division by zero. */
function combine(operator: Operator, a: Fraction, b: Fraction): Fraction | undefined {
  switch (operator) {
    case '+':
      return { top: a.top * b.bottom + b.top * a.bottom, bottom: a.bottom * b.bottom };
    case '-':
      return { top: a.top * b.bottom - b.top * a.bottom, bottom: a.bottom * b.bottom };
    case '*':
      return { top: a.top * b.top, bottom: a.bottom * b.bottom };
    case '/':
      return b.top === 0n ? undefined : { top: a.top * b.bottom, bottom: a.bottom * b.top };
  }
}

interface Term {
  readonly value: Fraction;
  readonly text: string;
}

/** The first equation found that uses all terms; undefined when there is none. */
function search(terms: readonly Term[], target: number): string | undefined {
  const [first, second] = terms;
  if (first !== undefined && second === undefined) return equals(first.value, target) ? first.text : undefined;
  for (const [i, a] of terms.entries()) {
    for (const [j, b] of terms.entries()) {
      if (i === j) continue;
      const others = terms.filter((_, k) => k !== i && k !== j);
      for (const operator of operators) {
        const value = combine(operator, a.value, b.value);
        if (value === undefined) continue;
        const found = search([...others, { value, text: `(${a.text} ${operator} ${b.text})` }], target);
        if (found !== undefined) return found;
      }
    }
  }
  return undefined;
}

/** Longer equations, or deeper brackets, are no answer to a problem of four numbers. */
const maxLength = 200;

/**
 * The value of an equation's left side and the numbers in it; a right side (`= 24`) is ignored. Undefined for anything
 * but whole numbers, + - * / (also × ÷ −) and brackets, and for a division by zero.
 *
 *     sum     = product { ("+" | "-") product }
 *     product = factor { ("*" | "/") factor }
 *     factor  = number | "(" sum ")"
 */
export function evaluate(equation: string): { value: Fraction; numbers: number[] } | undefined {
  const [left = ''] = equation.split('=');
  const text = left.replaceAll('×', '*').replaceAll('÷', '/').replaceAll('−', '-');
  if (text.length > maxLength || !/^[\d+\-*/()\s]*$/.test(text)) return undefined;
  const tokens = text.match(/\d+|[+\-*/()]/g) ?? [];
  const numbers: number[] = [];
  let at = 0;

  const sum = () => chain(product, ['+', '-']);
  const product = () => chain(factor, ['*', '/']);

  function chain(part: () => Fraction | undefined, signs: readonly Operator[]): Fraction | undefined {
    let value = part();
    while (value !== undefined && signs.includes(tokens[at] as Operator)) {
      const sign = tokens[at++] as Operator;
      const right = part();
      value = right && combine(sign, value, right);
    }
    return value;
  }

  function factor(): Fraction | undefined {
    const token = tokens[at++];
    if (token === '(') {
      const value = sum();
      return tokens[at++] === ')' ? value : undefined;
    }
    if (token === undefined || !/^\d{1,9}$/.test(token)) return undefined;
    numbers.push(Number(token));
    return fraction(Number(token));
  }

  const value = sum();
  return value === undefined || at !== tokens.length ? undefined : { value, numbers };
}
