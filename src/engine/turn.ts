/**
 * @file A turn of the event loop, in Node and in a browser, in which Ctrl-C, messages and output are handled. Long computations take
 * one now and then.
 */
export function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    // A browser delays timers set by timers, but not messages.
    const { port1, port2 } = new MessageChannel();
    const receiver = port1 as { onmessage?: () => void; close(): void };
    receiver.onmessage = () => {
      receiver.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
