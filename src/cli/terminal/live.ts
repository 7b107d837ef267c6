/**
 * @file The live area at the bottom of a terminal: a progress bar with lines below it, drawn by cli-progress.
 */
import { MultiBar, Presets, type SingleBar } from 'cli-progress';
import { columnsOf } from './width.js';

interface BarState {
  readonly title: string;
  /** From 0 to 1. */
  readonly share: number;
  /** Text after the bar. */
  readonly facts: string;
  readonly details: readonly string[];
}

export interface LiveArea {
  /** Replaces the previous drawing. */
  draw(state: BarState): void;
  /** Removes the area from the screen. */
  clear(): void;
}

/** Layout of a bar on `stream`; its texts are the payload. A narrow terminal shows only the texts. */
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
        // Bars hide the cursor; restore it when the process exits.
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
