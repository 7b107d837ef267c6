/**
 * @file A check of `doctor`: its name, what was found, what was expected, and what to do.
 */

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Whether a failed check makes the command fail; otherwise it is advice. */
  readonly needed: boolean;
  readonly found: string;
  readonly expected: string;
  /** What to do if the check fails. */
  readonly fix?: string;
}

/** Text for people: a mark, the name, what was found, and below it what to do. */
export function formatChecks(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .flatMap(({ name, ok, needed, found, expected, fix }) => {
      const mark = ok ? 'ok  ' : needed ? 'FAIL' : 'note';
      const lines = [`${mark}  ${name.padEnd(width)}  ${found}`];
      const indent = ' '.repeat(width + 8);
      if (!ok) lines.push(`${indent}expected: ${expected}`);
      if (!ok && fix !== undefined) lines.push(`${indent}to do: ${fix}`);
      return lines;
    })
    .join('\n');
}
