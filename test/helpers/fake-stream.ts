/** @file A stand-in for process.stderr: keeps what is written, and is a terminal or not. */

export interface FakeStream {
  readonly stream: NodeJS.WriteStream;
  /** All that was written. */
  written(): string;
}

export function fakeStream({ isTTY = false, columns = 80, rows = 24 } = {}): FakeStream {
  let written = '';
  const write = (text: string) => {
    written += text;
    return true;
  };
  return { stream: { isTTY, columns, rows, write } as unknown as NodeJS.WriteStream, written: () => written };
}
