/**
 * @file How the answer, a whole number, is read from the text of a completion: the forms that count. Never evaluates expressions.
 */

/** Why no answer was found in a completion. */
type NoAnswer = 'missing' | 'malformed';

type ParsedAnswer = { readonly value: number } | { readonly value?: never; readonly reason: NoAnswer };

/** A sign, plain or Unicode, then digits, plain or grouped by commas: `84`, `-84`, `−84`, `1,234`. ASCII digits only. */
const integer = String.raw`[+\-−]?(?:\d{1,3}(?:,\d{3})+|\d+)`;

/**
 * What must not follow the integer in `answer: 84`: the rest of a number (`84.5`, `84,5`, `84 5`), an attached letter or unit
 * (`84x`, `84%`), or an operator, which makes it the start of a calculation (`84 + 1`, `7 × 12`).
 */
const continued = String.raw`(?![\p{L}\p{N}_%°]|[.,:]\p{N}|[ \t]+\p{N}|\s*[×*x·÷/^=+−-]\s*\p{N})`;

/**
 * The three strict forms. The group `n` is missing if the content is not a whole number. `answer:` followed by anything but a
 * number counts as prose.
 */
const forms = [
  new RegExp(String.raw`(?<![\p{L}\p{N}_])answer:\s*(?=[+\-−]?\d)(?:(?<n>${integer})${continued})?`, 'giu'),
  new RegExp(String.raw`\\boxed\{\s*(?:(?<n>${integer})\s*\})?`, 'gu'),
  new RegExp(String.raw`<answer>\s*(?:(?<n>${integer})\s*</answer>)?`, 'gu'),
];

/**
 * The last integer given as `answer: 84`, `\boxed{84}` or `<answer>84</answer>`. A form whose content is not a whole number
 * (`answer: 84.5`, `\boxed{x}`) counts too: if it is the last one, there is no answer.
 */
export function parseAnswer(text: string): ParsedAnswer {
  return lastOf(forms, text);
}

/** The number of the last match of any of the forms. */
function lastOf(forms: readonly RegExp[], text: string): ParsedAnswer {
  let last: { index: number; digits: string | undefined } | undefined;
  for (const form of forms) {
    for (const match of text.matchAll(form)) {
      if (last === undefined || match.index > last.index) last = { index: match.index, digits: match.groups?.n };
    }
  }
  if (last === undefined) return { reason: 'missing' };
  return last.digits === undefined ? { reason: 'malformed' } : toInteger(last.digits);
}

/** Marks that models put around a number: bold, code, quotes, brackets, LaTeX's dollar. `\x60` is a backtick. */
const opening = String.raw`[*_\x60"'“(\[$]{0,4}`;
const closing = String.raw`[*_\x60"'”)\]$]{0,4}`;

/** An integer between marks, not followed by anything that makes it part of a larger expression, even in words. */
const marked = String.raw`${opening}(?=[+\-−]?\d)(?:(?<n>${integer})${closing}${continued}(?!\s+(?:times|multiplied|plus|minus|x)\b))?`;

/**
 * How models give a number when no format was requested: `the answer is 56`, `7 times 8 equals 56`, `= 56`, `**56**`. The
 * group `n` is missing if what follows is not a whole number or starts a calculation.
 */
const naturalForms = [
  new RegExp(
    String.raw`(?<![\p{L}\p{N}_])(?:is|are|equals|(?:equal|equals|comes|amounts) to|gives|makes)[ \t]*:?[ \t\n]*${marked}`,
    'giu',
  ),
  new RegExp(String.raw`[=≈→][ \t]*${marked}`, 'gu'),
  new RegExp(String.raw`(?:\*\*|__)(?:[ \t]*=)?[ \t]*(?<n>${integer})[ \t]*[.!]?(?:\*\*|__)`, 'gu'),
];

/** A text that consists of a number, apart from marks and a full stop. */
const loneNumber = new RegExp(String.raw`^\s*${opening}(?<n>${integer})${closing}[.!]?${closing}\s*$`, 'u');

/**
 * The integer that a completion gives as its answer. A strict form (see {@link parseAnswer}) takes precedence, then a text
 * that consists of a number, then the last of `the answer is 56`, `= 56` and `**56**`. For a calculation with its result
 * (`7 × 8 = 56`), the answer is the result; one without a result (`= 7 × 8`) has no answer.
 */
export function parseNaturalAnswer(text: string): ParsedAnswer {
  const strict = parseAnswer(text);
  if (strict.value !== undefined || strict.reason === 'malformed') return strict;
  const lone = loneNumber.exec(text)?.groups?.n;
  return lone === undefined ? lastOf(naturalForms, text) : toInteger(lone);
}

/**
 * The last run of digits anywhere, ignoring signs: the original project's rule. Not used by default, since it also finds the
 * `70` in a truncated `7×10=70`.
 */
export function parseLastInteger(text: string): ParsedAnswer {
  const digits = text.match(/\d+/g)?.at(-1);
  return digits === undefined ? { reason: 'missing' } : toInteger(digits);
}

/** Numbers beyond 2^53 cannot be compared exactly, so they do not count as answers. */
function toInteger(digits: string): ParsedAnswer {
  const value = Number(digits.replaceAll(',', '').replace('−', '-'));
  return Number.isSafeInteger(value) ? { value } : { reason: 'malformed' };
}

/**
 * `stated`: the answer must have a strict form. `natural`: forms that models use unprompted are accepted too. `last-integer`: the
 * last integer of the text, as in the original project (`--preset seed`).
 */
export type AnswerReading = 'stated' | 'natural' | 'last-integer';

/** How each reading finds the answer of a text. */
export const answerReaders: Readonly<Record<AnswerReading, (text: string) => ParsedAnswer>> = {
  stated: parseAnswer,
  natural: parseNaturalAnswer,
  'last-integer': parseLastInteger,
};
