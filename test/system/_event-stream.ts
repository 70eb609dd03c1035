/** A client of streams of events: sends a turn and reads what comes, as slowly as a test wants. */
import assert from 'node:assert/strict';
import { ADMIN_KEY, type TestApp } from './_app.ts';

export type StreamedEvent = { readonly event: string; readonly data: Record<string, unknown> };

export type StreamAnswer = {
  readonly status: number;
  readonly headers: Headers;
  /** Of a refusal. */
  readonly code: string | null;
  /** The faults of a refusal, as `path rule`. */
  readonly faults: readonly string[];
  readonly events: readonly StreamedEvent[];
};

export type Turn = {
  readonly body: string | Uint8Array | object;
  readonly type?: string;
  readonly query?: string;
  readonly key?: string;
  readonly signal?: AbortSignal;
};

const PATH = '/v1/voice/stream';

export function send(server: Pick<TestApp, 'app'>, turn: Turn): Promise<Response> {
  const { body, query = '', key = ADMIN_KEY, signal } = turn;
  const isJson = typeof body !== 'string' && !(body instanceof Uint8Array);
  const type = turn.type ?? 'application/json';
  return fetch(`${server.app.httpUrl}${PATH}${query === '' ? '' : `?${query}`}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    body: isJson ? JSON.stringify(body) : body,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** A whole turn. Whatever is wrong with the form of the stream fails the test. */
export async function streamTurn(server: Pick<TestApp, 'app'>, turn: Turn): Promise<StreamAnswer> {
  const response = await send(server, turn);
  const { status, headers } = response;
  const text = await response.text();
  if (status !== 200) {
    type Failure = { error: { code: string; details?: { path: string; rule: string }[] } };
    const { error } = JSON.parse(text) as Failure;
    const faults = (error.details ?? []).map(({ path, rule }) => `${path} ${rule}`);
    return { status, headers, code: error.code, faults, events: [] };
  }
  assert.equal(headers.get('content-type'), 'text/event-stream');
  assert.ok(text.endsWith('\n\n'), text.slice(-200));
  return { status, headers, code: null, faults: [], events: eventsIn(text) };
}

export function eventsIn(text: string): StreamedEvent[] {
  const blocks = text.split('\n\n').filter((block) => block !== '' && !block.startsWith(':'));
  return blocks.map((block) => {
    const match = /^event: (\w+)\ndata: (.*)$/.exec(block);
    assert.ok(match, block);
    const [, event = '', data = ''] = match;
    return { event, data: JSON.parse(data) as Record<string, unknown> };
  });
}

/** All sound of an answer at 16 kHz; each piece is checked for its rate and length. */
export function soundOf(events: readonly StreamedEvent[]): Int16Array {
  const pieces = events
    .filter(({ event }) => event === 'audio')
    .map(({ data }) => {
      assert.equal(data['sample_rate'], 16_000);
      const bytes = Buffer.from(String(data['audio']), 'base64');
      assert.ok(bytes.length > 0 && bytes.length <= 6_400 && bytes.length % 2 === 0, 'a piece');
      return bytes;
    });
  return new Int16Array(new Uint8Array(Buffer.concat(pieces)).buffer);
}

export function textOf(events: readonly StreamedEvent[], event = 'response'): string {
  return events
    .filter((each) => each.event === event)
    .map(({ data }) => String(data['text']))
    .join('');
}
