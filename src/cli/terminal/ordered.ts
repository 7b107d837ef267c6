/**
 * @file Orders the output of concurrent work: the output of the first unfinished item is written immediately, the output of
 * later ones is buffered.
 */

export interface OrderedOutput {
  push(index: number, text: string): void;
  /** Marks item `index` as finished. */
  end(index: number): void;
}

/** @param write receives the text of item 0 in pieces, then that of item 1, and so on, with the item's index. */
export function orderedOutput(write: (text: string, index: number) => void): OrderedOutput {
  const waiting = new Map<number, string>();
  const ended = new Set<number>();
  let current = 0;
  return {
    push(index, text) {
      if (index === current) write(text, index);
      else waiting.set(index, (waiting.get(index) ?? '') + text);
    },
    end(index) {
      ended.add(index);
      while (ended.delete(current)) {
        current += 1;
        const text = waiting.get(current);
        waiting.delete(current);
        if (text !== undefined) write(text, current);
      }
    },
  };
}
