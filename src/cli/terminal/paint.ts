/**
 * @file What a stream can show: its width, and colours by meaning, used sparingly for verdicts, gains and warnings. Separate
 * from columns.ts, whose packages `--help` need not load.
 */
import colors from 'picocolors';

type Style = (text: string) => string;

export interface Paint {
  readonly good: Style;
  readonly bad: Style;
  readonly warn: Style;
  readonly strong: Style;
  readonly faint: Style;
}

/** No colours. */
export const plain: Paint = palette(false);

/** The palette of a stream, which leaves text unchanged if the stream has no colours. */
export function paintFor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Paint {
  return palette(hasColors(stream, env));
}

function palette(enabled: boolean): Paint {
  const { green, red, yellow, bold, dim } = colors.createColors(enabled);
  return { good: green, bad: red, warn: yellow, strong: bold, faint: dim };
}

/** FORCE_COLOR takes precedence over NO_COLOR, which takes precedence over the stream. `--no-color` sets both variables. */
function hasColors({ isTTY }: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: terminal } = env;
  if (force !== undefined && force !== '') return force !== '0' && force !== 'false';
  if (no !== undefined && no !== '') return false;
  return isTTY === true && terminal !== 'dumb';
}

/** Width of `stream` in characters; `otherwise` if it is no terminal or reports no size (0 columns). */
export function columnsOf({ columns }: { readonly columns?: number | undefined }, otherwise = 80): number {
  return columns !== undefined && columns > 0 ? columns : otherwise;
}
