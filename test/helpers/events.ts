/** @file Server-sent events, read as a browser's EventSource reads them. */
import assert from 'node:assert/strict';

export interface ServerEvent {
  readonly event: string;
  readonly id?: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what it asked for
  readonly data: any;
}

/** Follows the events of the page at `url` from a version on. */
export async function followEvents(url: string, since: number, headers: Record<string, string> = {}) {
  const controller = new AbortController();
  const response = await fetch(`${url}events?since=${since}`, { signal: controller.signal, headers });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type')!, /^text\/event-stream/);
  const events = eventsOf(response.body!);
  return {
    /** The next event; comments and the time to reconnect are none. */
    next: async (): Promise<ServerEvent> => {
      const { value, done } = await events.next();
      assert.equal(done, false, 'the stream has ended');
      return value;
    },
    leave: () => controller.abort(),
  };
}

async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, never> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const part of body) {
    text += decoder.decode(part, { stream: true });
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      text = text.slice(end + 2);
      const [event, data, id] = [fields.get('event'), fields.get('data'), fields.get('id')];
      if (event !== undefined) yield { event, data: JSON.parse(data!), ...(id !== undefined && { id }) };
    }
  }
  throw new Error('the stream has ended');
}
