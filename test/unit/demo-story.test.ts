/** What the demo prints: the transcript as it grows, the waterfall, and faults in plain words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { ApiClient, DemoMessage, DemoRecord } from '#src/demo/api-client.ts';
import { runDemo } from '#src/demo/demo.ts';
import { describeMessage, finishedRecord, followTranscript } from '#src/demo/transcript.ts';
import { bar, drawWaterfall } from '#src/demo/waterfall.ts';

const RECORD: DemoRecord = {
  id: 'r1',
  status: 'ended',
  outcome: 'completed',
  duration_seconds: 9,
  sip_call_id: 'call-1',
  messages: [],
  recording: null,
  recording_status: 'ready',
  latency: null,
};

function fakeApi(parts: Partial<ApiClient>): ApiClient {
  const unexpected = (): never => assert.fail('unexpected request');
  return {
    health: unexpected,
    isReady: unexpected,
    newest: unexpected,
    record: unexpected,
    conversation: unexpected,
    ...parts,
  };
}

test('bars are drawn to scale, in eighths', () => {
  const rows: [number, number, number, string][] = [
    [0, 100, 100, '████'],
    [0, 50, 100, '██  '],
    [50, 100, 100, '  ██'],
    [0, 37.5, 100, '█▌  '],
    [0, 0, 100, '    '],
    [0, 0.1, 100, '▏   '],
    [100, 100, 100, '    '],
    [0, 200, 100, '████'],
    [0, 10, 0, '▏   '],
  ];
  for (const [from, to, full, expected] of rows)
    assert.equal(bar(from, to, full, 4), expected, `${from}-${to}/${full}`);
});

test('the waterfall shows wire time beside the parts of the server', () => {
  const at = (p50: number) => ({ p50, p90: p50, max: p50 });
  const parts_ms = {
    jitter: at(40),
    endpointing: at(400),
    stt: at(10),
    llm: at(30),
    tts: at(10),
    pacing: at(10),
  };
  const latency = { turns: 2, mouth_to_ear_ms: at(500), parts_ms };
  const turns = [
    { label: 'turn 1', wireMs: 510.4 },
    { label: 'turn 2', wireMs: null },
  ];
  const text = drawWaterfall(turns, latency, 120).join('\n');
  for (const wanted of [
    /turn 1 +█+.* 510 ms/,
    /turn 2 +no answer/,
    /silent 120 ms after/,
    /median of 2 turns/,
    /endpointing +█+.* 400 ms/,
    /all +█+.* 500 ms/,
  ]) {
    assert.match(text, wanted);
  }
  const order = ['jitter', 'endpointing', 'stt', 'llm', 'tts', 'pacing'].map((name) =>
    text.indexOf(`  ${name}`),
  );
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
  assert.match(drawWaterfall(turns, null, null).join('\n'), /gave no latency/);
});

test('a line of transcript for every kind of message', () => {
  const rows: [DemoMessage, string][] = [
    [{ role: 'assistant', content: 'Hello.', start_ms: 0 }, '    0.0 s  agent   Hello.'],
    [
      { role: 'user', content: '', start_ms: 7100, end_ms: 9400 },
      '    7.1 s  caller  (speech, 2.3 s; no recogniser is configured)',
    ],
    [
      { role: 'assistant', content: 'We are', start_ms: 12_340, interrupted: true },
      '   12.3 s  agent   We are [interrupted]',
    ],
    [{ role: 'system', content: 'x' }, '           system  x'],
  ];
  for (const [message, expected] of rows) assert.equal(describeMessage(message), expected);
});

test('the transcript finds its call among others, prints each message once, and survives a hiccup', async () => {
  const clock = new SimulatedClock();
  const lines: string[] = [];
  const messages: DemoMessage[] = [{ role: 'assistant', content: 'one' }];
  let asked = 0;
  const api = fakeApi({
    newest: () => Promise.resolve(['r2', 'r1']),
    record: (id) =>
      Promise.resolve({ ...RECORD, id, sip_call_id: id === 'r1' ? 'call-1' : 'call-2' }),
    conversation: () => {
      asked += 1;
      if (asked === 2) return Promise.reject(new AppError('E_TIMEOUT', 'away'));
      return Promise.resolve(messages);
    },
  });
  const follower = followTranscript(api, 'call-1', (line) => lines.push(line.trim()), clock);
  for (let round = 0; round < 4; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (round === 2) messages.push({ role: 'assistant', content: 'two' });
    clock.advance(400);
  }
  await follower.stop();
  assert.equal(follower.recordId, 'r1');
  assert.deepEqual(lines, ['agent   one', 'agent   two']);
  assert.equal(clock.pending, 0);
});

test('a call that never shows up tells the last fault; a record that stays open is a timeout', async () => {
  const clock = new SimulatedClock();
  const refused = new AppError('E_CONFIG', 'the server does not accept the API key (401)');
  const api = fakeApi({
    newest: () => Promise.reject(refused),
    record: () => Promise.resolve({ ...RECORD, status: 'answered' }),
  });
  const follower = followTranscript(api, 'call-1', () => undefined, clock);
  await assert.rejects(follower.stop(), { code: 'E_CONFIG' });
  const waiting = finishedRecord(api, 'r1', 100, clock);
  const rejected = assert.rejects(waiting, { code: 'E_TIMEOUT' });
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(400);
  }
  await rejected;
});

test('without a server, and with none to start, the demo says so and fails', async () => {
  const lines: string[] = [];
  const code = await runDemo({
    target: 'sip:demo@127.0.0.1:9',
    // The discard port: fetch itself refuses to go there, so nothing can answer.
    apiUrl: 'http://127.0.0.1:9',
    apiKey: 'unused',
    apiKeyFile: '/nonexistent',
    out: (line) => lines.push(line),
    startServer: null,
  });
  assert.equal(code, 1);
  assert.match(lines.join('\n'), /no server answers on .*; start one with npm start/);
});
