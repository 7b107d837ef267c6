/**
 * @file Colours, by what they mean. Sparing: a verdict, a gain, a warning; never where the text does not say the same
 * without them.
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

/** The colours of a stream; where it may have none, texts stay as they are. */
export function paintFor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Paint {
  return palette(hasColors(stream, env));
}

function palette(enabled: boolean): Paint {
  const { green, red, yellow, bold, dim } = colors.createColors(enabled);
  return { good: green, bad: red, warn: yellow, strong: bold, faint: dim };
}

/** force-color.org before no-color.org before what the stream is; `--no-color` has seen to both variables. */
function hasColors({ isTTY }: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: terminal } = env;
  if (force !== undefined && force !== '') return force !== '0' && force !== 'false';
  if (no !== undefined && no !== '') return false;
  return isTTY === true && terminal !== 'dumb';
}
