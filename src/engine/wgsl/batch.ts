/** @file Kernels of a thread per element wait here: those that need nothing of one another become one dispatch. */
import type { GraphNode } from '../graph/graph.js';
import { type Dispatch, KernelWriter, maxSlots, type Values } from './kernel.js';

/** Kernels that wait. */
interface Waiting {
  readonly writer: KernelWriter;
  readonly node: GraphNode;
  readonly isLate: boolean;
  readonly parts: { readonly count: number; readonly main: string }[];
}

/** @param mostBuffers of a kernel. @param emit takes a kernel for the first or the second part of a function. */
export function openBatch(values: Values, mostBuffers: number, emit: (node: GraphNode, dispatch: Dispatch) => void) {
  let waiting: Waiting | undefined;

  function flush(): void {
    if (waiting === undefined) return;
    const { writer, node, parts } = waiting;
    waiting = undefined;
    let count = 0;
    const calls = parts.map((part, index) => {
      const start = count;
      count += part.count;
      if (parts.length === 1) return part.main;
      writer.define(`fn part${index}(i: u32) { ${part.main} }`);
      const call = `{ part${index}(i - ${start}u); }`;
      return index === parts.length - 1 ? call : `if (i < ${count}u) ${call} else`;
    });
    emit(node, writer.each(count, calls.join(' ')));
  }

  /** Whether a kernel reads or writes what the waiting ones write, or writes what they read. */
  function isAfter({ slots, writes }: Pick<Dispatch, 'slots' | 'writes'>): boolean {
    const before = waiting!.writer;
    return slots.some((place) => before.writes.has(place)) || before.slots.some((place) => writes.has(place));
  }

  /** Whether one kernel can be it and the waiting ones. */
  function fits({ slots, buffers }: KernelWriter): boolean {
    const before = waiting!.writer;
    const [allSlots, allBuffers] = [new Set([...before.slots, ...slots]), new Set([...before.buffers, ...buffers])];
    return allSlots.size <= maxSlots && allBuffers.size <= mostBuffers;
  }

  return {
    flush,
    /** To be called before `dispatch` is emitted. */
    before(dispatch: Dispatch): void {
      // A table of operands may name any of them.
      if (waiting !== undefined && (dispatch.reads !== undefined || isAfter(dispatch))) flush();
    },
    /** Takes a kernel of `count` threads, whose body `main` writes; false if it computes products, which have kernels of their own. */
    add(node: GraphNode, isLate: boolean, count: number, main: (writer: KernelWriter) => string): boolean {
      const alone = new KernelWriter(values);
      main(alone);
      if (alone.hasProducts) return false;
      if (waiting !== undefined && (waiting.isLate !== isLate || !fits(alone) || isAfter(alone))) flush();
      waiting ??= { writer: new KernelWriter(values), node, isLate, parts: [] };
      waiting.parts.push({ count, main: main(waiting.writer) });
      return true;
    },
  };
}
