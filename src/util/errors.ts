/**
 * @file The error type for the user: it says what was expected, what was found and what to do next. Any other error is a bug
 * in tinyzero and is shown with its stack.
 */

/** Exit codes of every command; scripts may rely on them. */
export const exitCodes = { ok: 0, failure: 1, usage: 2, preflight: 3, interrupted: 130 } as const;

/** What they mean, for `--help` and docs/agents.md. */
export const exitCodeTable: readonly (readonly [code: number, meaning: string])[] = [
  [exitCodes.ok, 'done'],
  [
    exitCodes.failure,
    'something to fix: a bad file, a missing model, a full disk, a failed check; stderr says what to do',
  ],
  [
    exitCodes.usage,
    'wrong usage: an unknown command or option, or values that contradict each other; nothing was done',
  ],
  [exitCodes.preflight, 'stage 1 found nothing that training could learn from; --force trains anyway'],
  [exitCodes.interrupted, 'stopped by Ctrl-C, SIGTERM or SIGHUP; a run is saved and --resume continues it'],
];

export interface UserErrorParts {
  /** What went wrong, in one sentence. */
  readonly problem: string;
  /** What was expected, if `problem` does not make that clear. */
  readonly expected?: string;
  /** What was found instead. */
  readonly found?: string;
  /** What the user can do next. */
  readonly fix?: string;
}

/** An error that is printed as one paragraph without a stack; `exitCode` is 1, or 2 for wrong usage. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly exitCode: number;
  /** What the message was made of; `problem` is the whole message if it was given as one text. */
  readonly parts: UserErrorParts;

  constructor(parts: UserErrorParts | string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(printable(typeof parts === 'string' ? parts : paragraph(parts)), { cause: options.cause });
    this.parts = typeof parts === 'string' ? { problem: parts } : parts;
    this.exitCode = options.exitCode ?? exitCodes.failure;
  }
}

function paragraph({ problem, expected, found, fix }: UserErrorParts): string {
  const sentences = [problem];
  if (expected !== undefined) sentences.push(`Expected ${expected}.`);
  if (found !== undefined) sentences.push(`Found ${found}.`);
  if (fix !== undefined) sentences.push(fix);
  return sentences.map((sentence) => sentence.trim()).join(' ');
}

/** Longest message shown in full. The middle of a longer one is cut, since its end says what to do. */
const maxMessage = 4000;
// Everything that a terminal interprets instead of showing: C0 except tab and line break, DEL, C1, and bidirectional controls.
// biome-ignore lint/suspicious/noControlCharactersInRegex: matches control characters
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Makes text of any origin safe to print: escapes control characters and limits the length. */
export function printable(text: string): string {
  const half = maxMessage / 2;
  const short = text.length <= maxMessage ? text : `${text.slice(0, half)} [...] ${text.slice(-half)}`;
  return short.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The beginning of `text`, at most `limit` characters. */
export function clip(text: string, limit = 80): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 3)}...`;
}

/** The `code` of a Node system error (`ENOENT`, `ENOSPC`, ...), or undefined for any other value. */
export function systemErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
