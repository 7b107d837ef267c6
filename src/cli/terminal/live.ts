/**
 * @file The moving part of a terminal's screen: a progress bar and lines below it, always in the last lines, drawn by
 * cli-progress.
 */
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import { columnsOf } from './width.js';

interface BarState {
  readonly title: string;
  /** From 0 to 1. */
  readonly share: number;
  /** Behind the bar. */
  readonly facts: string;
  readonly details: readonly string[];
}

export interface LiveArea {
  /** Draws in place of what was drawn before. */
  draw(state: BarState): void;
  /** Takes everything off the screen. */
  clear(): void;
}

/** How a bar looks on `stream`; its texts are the payload. On a narrow terminal the texts have all the room. */
export function barLook(stream: NodeJS.WriteStream) {
  const barsize = Math.max(0, Math.min(24, columnsOf(stream) - 50));
  return { hideCursor: true, barsize, format: barsize === 0 ? '{title} {facts}' : '{title} {bar} {facts}' };
}

/** @param stream a terminal. */
export function liveArea(stream: NodeJS.WriteStream): LiveArea {
  let shown: { readonly bars: MultiBar; readonly rows: SingleBar[] } | undefined;

  const clear = () => {
    process.off('exit', clear);
    shown?.bars.stop();
    shown = undefined;
  };

  return {
    draw({ title, share, facts, details }) {
      if (shown === undefined) {
        const options = { stream, ...barLook(stream), clearOnComplete: true, gracefulExit: false };
        shown = { bars: new MultiBar(options, Presets.shades_classic), rows: [] };
        // The cursor is hidden as long as bars are there; a process that ends at once must not leave it so.
        process.on('exit', clear);
      }
      const { bars, rows } = shown;
      const payloads = [{ title, facts }, ...details.map((text) => ({ text }))];
      for (const [i, payload] of payloads.entries()) {
        rows[i] ??= bars.create(1, 0, payload, { format: i === 0 ? barLook(stream).format : '{text}' });
        rows[i].update(share, payload);
      }
      bars.update();
    },
    clear,
  };
}
