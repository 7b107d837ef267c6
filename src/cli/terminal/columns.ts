/**
 * @file Fits text to the width of a terminal: wrapped, in columns side by side, and as a block that is redrawn as it grows.
 */
import { createLogUpdate } from 'log-update';
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';
import { programName } from '../program-name.js';
import { columnsOf } from './paint.js';

/** Separator between two columns. */
const gap = ' │ ';
/** Narrower columns are hard to read; the texts are then placed one below the other. */
const minColumnWidth = 34;

/**
 * Lays out columns side by side in `width` characters, or one after the other if they do not fit. A column is a list of
 * texts; texts with the same index start on the same line.
 */
export function sideBySide(columns: readonly (readonly string[])[], width: number): string[] {
  const column = Math.floor((width - (columns.length - 1) * gap.length) / columns.length);
  if (column < minColumnWidth) {
    return columns.flatMap((texts, i) => [...(i > 0 ? [''] : []), ...texts.flatMap((text) => wrap(text, width))]);
  }
  const places = Math.max(...columns.map((texts) => texts.length));
  return Array.from({ length: places }, (_, place) => {
    const cells = columns.map((texts) => (texts[place] === undefined ? [] : wrap(texts[place], column)));
    const height = Math.max(...cells.map((lines) => lines.length));
    return Array.from({ length: height }, (__, row) =>
      cells
        .map((lines) => pad(lines[row] ?? '', column))
        .join(gap)
        .trimEnd(),
    );
  }).flat();
}

/** Additional indentation of wrapped lines. */
const hanging = '    ';
const unbreakable = '\u00A0';

/**
 * Wraps `text` between words if `stream` is a terminal, otherwise returns it unchanged. Commands stay on one line, so that
 * they can be copied.
 */
export function fitted(text: string, stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns'>): string {
  if (!stream.isTTY) return text;
  const columns = columnsOf(stream);
  const command = `${programName()} `;
  const lines = text.split('\n').flatMap((line) => {
    const indent = /^ */.exec(line)![0];
    if (stringWidth(line) <= columns || line.startsWith(command, indent.length)) return [line];
    // A number stays with its unit, and with its name.
    const joined = line
      .slice(indent.length)
      .replaceAll(' %', `${unbreakable}%`)
      .replaceAll('p = ', `p${unbreakable}=${unbreakable}`);
    const parts = wrap(joined, Math.max(minLineWidth, columns - indent.length - hanging.length));
    return parts.map((part, i) => indent + (i > 0 ? hanging : '') + part.replaceAll(unbreakable, ' '));
  });
  return lines.join('\n');
}

/** Smallest line width, regardless of indentation and terminal. */
const minLineWidth = 10;

/** Lines of at most `width` characters. Words that are too long are split. Indentation is kept. */
function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((line) => {
    const indent = /^ */.exec(line)![0].slice(0, width - 1);
    const parts = wrapAnsi(line.slice(indent.length), Math.max(1, width), { hard: true }).split('\n');
    return parts.map((part, i) => (i === 0 ? (indent + part).trimEnd() : part));
  });
}

function pad(line: string, width: number): string {
  return line + ' '.repeat(Math.max(0, width - stringWidth(line)));
}

/** Makes a model's text safe for a terminal: replaces control characters. */
export function harmless(text: string): string {
  const spaced = text.replaceAll('\r\n', '\n').replaceAll('\t', '    ');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must go
  return spaced.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '\uFFFD');
}

export interface Block {
  /** Replaces the lines shown before, with the last ones if not all fit. Not every call draws. */
  draw(lines: () => readonly string[]): void;
  /** Shows all of `lines` permanently. */
  end(lines: readonly string[]): void;
}

/** Milliseconds between redraws. */
const redrawMs = 50;

/** @param stream a terminal. */
export function liveBlock(stream: NodeJS.WriteStream): Block {
  const log = createLogUpdate(stream, { showCursor: true });
  let drawnMs = Number.NEGATIVE_INFINITY;
  return {
    draw(lines) {
      if (performance.now() - drawnMs < redrawMs) return;
      drawnMs = performance.now();
      log(
        lines()
          .slice(-Math.max(1, (stream.rows || 24) - 1))
          .join('\n'),
      );
    },
    end(lines) {
      log.clear();
      stream.write(`${lines.join('\n')}\n`);
    },
  };
}
