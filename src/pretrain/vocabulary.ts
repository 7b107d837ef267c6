/**
 * @file The built-in model's vocabulary: 23 pieces of text. Encoding takes the longest piece at each position.
 * tokenizer-files.ts writes the same vocabulary for other libraries.
 */
import { UserError } from '../util/errors.js';

/** Padding of rows in a batch. */
export const padPiece = '<pad>';
/** Ends a completion. */
export const eosPiece = '<eos>';

const digits = [...'0123456789'];
/** Whole phrases, so that a completion has only about 30 tokens. Each contains a space or a line break. */
export const phrases = ['What is ', ' × ', ' + ', '?\n', ', ', '. ', 'think: ', 'answer: '] as const;
const signs = ['×', '+', '='];

/** The piece of every id, in order. The model's vocabulary is padded from here to 64. */
export const pieces: readonly string[] = [padPiece, eosPiece, ...digits, ...signs, ...phrases];

const idOf = new Map(pieces.map((piece, id) => [piece, id]));
export const padId = idOf.get(padPiece)!;
export const eosId = idOf.get(eosPiece)!;

/** The pieces that begin with a character, longest first. */
const byFirst = new Map<string, readonly string[]>();
for (const piece of [...pieces].sort((a, b) => b.length - a.length)) {
  byFirst.set(piece[0]!, [...(byFirst.get(piece[0]!) ?? []), piece]);
}

/**
 * The ids of `text`. `<eos>` in the text is the end token.
 *
 * @throws UserError naming the first character that no piece spells.
 */
export function encode(text: string): number[] {
  const ids: number[] = [];
  for (let at = 0; at < text.length; ) {
    const piece = byFirst.get(text[at]!)?.find((candidate) => text.startsWith(candidate, at));
    if (piece === undefined) {
      const character = String.fromCodePoint(text.codePointAt(at)!);
      throw new UserError({
        problem: `The built-in model cannot spell ${JSON.stringify(character)}, character ${at + 1} of ${JSON.stringify(text)}.`,
        expected: `text made of ${pieces
          .slice(2)
          .map((known) => JSON.stringify(known))
          .join(' ')}`,
      });
    }
    ids.push(idOf.get(piece)!);
    at += piece.length;
  }
  return ids;
}

/** The text of `ids`, including pad and end tokens; ids beyond the pieces have no text. */
export function decode(ids: readonly number[]): string {
  return ids.map((id) => pieces[id] ?? '').join('');
}
