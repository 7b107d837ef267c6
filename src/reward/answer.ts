/**
 * @file Finds the integer that a completion states as its answer. Text in, number out; nothing is ever evaluated.
 */

/** Why a completion has no readable answer. */
type NoAnswer = 'missing' | 'malformed';

export type ParsedAnswer = { readonly value: number } | { readonly value?: never; readonly reason: NoAnswer };

/** A sign, plain or Unicode, then digits, plain or grouped by commas: `84`, `-84`, `−84`, `1,234`. ASCII digits only. */
const integer = String.raw`[+\-−]?(?:\d{1,3}(?:,\d{3})+|\d+)`;

/**
 * What may not follow the integer of `answer: 84`: more of a number (`84.5`, `84,5`, `84 5`), a letter or unit glued to
 * it (`84x`, `84%`), or an operator that makes it the start of a calculation (`84 + 1`, `7 × 12`).
 */
const continued = String.raw`(?![\p{L}\p{N}_%°]|[.,:]\p{N}|[ \t]+\p{N}|\s*[×*x·÷/^=+−-]\s*\p{N})`;

/**
 * The three forms; the group `n` is missing when the content is not a whole number. `answer:` followed by anything but
 * a number is prose.
 */
const forms = [
  new RegExp(String.raw`(?<![\p{L}\p{N}_])answer:\s*(?=[+\-−]?\d)(?:(?<n>${integer})${continued})?`, 'giu'),
  new RegExp(String.raw`\\boxed\{\s*(?:(?<n>${integer})\s*\})?`, 'gu'),
  new RegExp(String.raw`<answer>\s*(?:(?<n>${integer})\s*</answer>)?`, 'gu'),
];

/**
 * The last integer stated as `answer: 84`, `\boxed{84}` or `<answer>84</answer>`. A form whose content is not a whole
 * number (`answer: 84.5`, `\boxed{x}`) is a statement too: if it is the last one, there is no answer.
 */
export function parseAnswer(text: string): ParsedAnswer {
  let last: { index: number; digits: string | undefined } | undefined;
  for (const form of forms) {
    for (const match of text.matchAll(form)) {
      if (last === undefined || match.index > last.index) last = { index: match.index, digits: match.groups?.n };
    }
  }
  if (last === undefined) return { reason: 'missing' };
  return last.digits === undefined ? { reason: 'malformed' } : toInteger(last.digits);
}

/**
 * The last run of digits anywhere, as the original project reads answers (its signs are ignored too). Also finds the
 * `70` of a truncated `7×10=70`, so nothing but `--preset seed` uses it.
 */
export function parseLastInteger(text: string): ParsedAnswer {
  const digits = text.match(/\d+/g)?.at(-1);
  return digits === undefined ? { reason: 'missing' } : toInteger(digits);
}

/** Numbers beyond 2^53 cannot be compared exactly, so they are no answer. */
function toInteger(digits: string): ParsedAnswer {
  const value = Number(digits.replaceAll(',', '').replace('−', '-'));
  return Number.isSafeInteger(value) ? { value } : { reason: 'malformed' };
}
