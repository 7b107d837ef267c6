/**
 * @file Output of pieces of work that go on side by side, told one after the other: the first unfinished one is written
 * as it comes, the others wait for their turn.
 */

export interface OrderedOutput {
  push(index: number, text: string): void;
  /** Nothing more comes from `index`. */
  end(index: number): void;
}

/** @param write gets the text of work 0, then of work 1, ... in pieces, with the number of the work. */
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
