/** The routes of live control: what they pass on, what they answer, and every refusal (contract 2.7). */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import type { LiveCallView } from '#sessions/call-service-types.ts';
import {
  assertDeclared,
  LIVE,
  makeApi,
  makeCall,
  makeFakes,
  makeRecord,
  MISSING,
  OTHER_AGENT,
  RECORD,
  RECORDING,
  type Fakes,
} from './_api-fakes.ts';
import { PLAYBACK } from './_control-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
});
after(() => app.close());

beforeEach(() => {
  fakes.calls.clear();
  live({});
  fakes.records.clear();
  fakes.records.set(RECORD, makeRecord());
  fakes.control.commands.length = 0;
  fakes.control.audited.length = 0;
  fakes.control.answer = null;
  fakes.control.sound = { ok: true, pcm: new Int16Array(8000), release: () => undefined };
});

function live(changes: Partial<LiveCallView>): void {
  fakes.calls.set(LIVE, makeCall({ status: 'answered', ...changes }));
}

async function send(name: string, payload: object, { id = LIVE, headers = admin } = {}) {
  const url = `/v1/phone/calls/${id}/${name}`;
  const response = await app.inject({ method: 'POST', url, headers, payload });
  const body = response.json<{ data: unknown; error: { code: string; details?: unknown } }>();
  const route = `POST /v1/phone/calls/{id}/${name}`;
  assertDeclared(app, route, response.statusCode, response.json());
  return { status: response.statusCode, ...body };
}

const BODIES: Readonly<Record<string, object>> = {
  play: { recording_id: RECORDING },
  say: { text: 'Hello' },
  dtmf: { digits: '1' },
  hold: { on: true },
  mute: { side: 'caller', on: true },
  message: { text: 'Hello' },
  recording: { action: 'start' },
};

test('each command is passed on with its defaults, and answered', async () => {
  const rows: [name: string, body: object, passed: object, data: object][] = [
    ['say', { text: 'Hi' }, { text: 'Hi', interrupt: false, interruptible: true }, { turn: 3 }],
    [
      'say',
      { text: 'Hi', interrupt: true, interruptible: false },
      { text: 'Hi', interrupt: true, interruptible: false },
      { turn: 3 },
    ],
    ['dtmf', { digits: '1wA*#' }, { digits: '1wA*#', toneMs: 100, gapMs: 100 }, { sent: '1wA*#' }],
    [
      'dtmf',
      { digits: '1', tone_ms: 40, gap_ms: 2000, mode: 'info' },
      { digits: '1', toneMs: 40, gapMs: 2000, mode: 'info' },
      { sent: '1' },
    ],
    ['hold', { on: true }, { on: true, music: true }, { on: true }],
    ['hold', { on: false, music: false }, { on: false, music: false }, { on: false }],
    ['mute', { side: 'agent', on: true }, { side: 'agent', on: true }, { side: 'agent', on: true }],
    ['message', { text: 'Hi' }, { text: 'Hi', respond: false }, { accepted: true }],
    ['recording', { action: 'pause' }, { action: 'pause' }, { recording_status: 'active' }],
    [
      'play',
      { recording_id: RECORDING, loop: true, interruptible: false },
      { title: `recording ${RECORDING}`, loop: true, interruptible: false, samples: 8000 },
      { playback_id: PLAYBACK, duration_ms: 1000 },
    ],
  ];
  for (const [name, body, passed, data] of rows) {
    const answer = await send(name, body);
    assert.deepEqual([answer.status, answer.data], [200, data], name);
    assert.deepEqual(fakes.control.commands.at(-1), [name, passed], name);
  }
  assert.deepEqual(
    fakes.control.audited.map(({ action, targetId }) => [action, targetId]),
    [
      ['recording.pause', LIVE],
      ['recording.play', LIVE],
    ],
  );
});

test('bad input: which field, and nothing done', async () => {
  const rows: [name: string, body: object, path: string][] = [
    ['say', {}, '/text'],
    ['say', { text: '' }, '/text'],
    ['say', { text: ' \u3000' }, '/text'],
    ['say', { text: 'x'.repeat(2001) }, '/text'],
    ['say', { text: 5 }, '/text'],
    ['say', { text: 'x', voice: 'y' }, '/voice'],
    ['dtmf', { digits: '' }, '/digits'],
    ['dtmf', { digits: 'E' }, '/digits'],
    ['dtmf', { digits: '1'.repeat(65) }, '/digits'],
    ['dtmf', { digits: '1', tone_ms: 39 }, '/tone_ms'],
    ['dtmf', { digits: '1', gap_ms: 2001 }, '/gap_ms'],
    ['dtmf', { digits: '1', mode: 'sound' }, '/mode'],
    ['hold', {}, '/on'],
    ['hold', { on: 'true' }, '/on'],
    ['mute', { on: true }, '/side'],
    ['mute', { side: 'both', on: true }, '/side'],
    ['message', { text: 'x'.repeat(4001) }, '/text'],
    ['message', { text: '' }, '/text'],
    ['recording', { action: 'erase' }, '/action'],
    ['play', {}, '/url'],
    ['play', { url: 'https://example.com/a.wav', recording_id: RECORDING }, '/recording_id'],
    ['play', { url: 'http://example.com/a.wav' }, '/url'],
    ['play', { url: 'https://127.0.0.1/a.wav' }, '/url'],
    ['play', { url: 'https://[::1]/a.wav' }, '/url'],
    ['play', { url: 'https://0x7f000001/a.wav' }, '/url'],
    ['play', { url: 'https://169.254.169.254/latest' }, '/url'],
    ['play', { url: 'https://localhost/a.wav' }, '/url'],
    ['play', { url: 'file:///etc/passwd' }, '/url'],
    ['play', { url: 'https://user:pass@example.com/a.wav' }, '/url'],
    ['play', { url: `https://example.com/${'a'.repeat(2048)}` }, '/url'],
    ['play', { recording_id: 'x' }, '/recording_id'],
  ];
  for (const [name, body, path] of rows) {
    const answer = await send(name, body);
    assert.deepEqual([answer.status, answer.error.code], [400, 'VALIDATION_FAILED'], name);
    const details = answer.error.details as { path: string }[];
    assert.ok(
      details.some((fault) => fault.path === path),
      `${name} ${JSON.stringify(answer.error)}`,
    );
  }
  assert.deepEqual(fakes.control.commands, []);
});

test('sound that cannot be played', async () => {
  const rows: [fault: string, status: number, code: string, rule: string | null][] = [
    ['format', 400, 'VALIDATION_FAILED', 'sound'],
    ['codec', 400, 'VALIDATION_FAILED', 'sound_codec'],
    ['channels', 400, 'VALIDATION_FAILED', 'sound_channels'],
    ['sample_rate', 400, 'VALIDATION_FAILED', 'sample_rate'],
    ['empty', 400, 'VALIDATION_FAILED', 'empty'],
    ['seconds', 400, 'VALIDATION_FAILED', 'seconds'],
    ['busy', 503, 'OVERLOADED', null],
  ];
  for (const [fault, status, code, rule] of rows) {
    fakes.control.sound = { ok: false, fault, found: 'GSM' };
    const answer = await send('play', { recording_id: RECORDING });
    assert.deepEqual([answer.status, answer.error.code], [status, code], fault);
    const [first] = (answer.error.details ?? []) as { rule: string; message: string }[];
    assert.equal(first?.rule ?? null, rule, fault);
    assert.doesNotMatch(first?.message ?? '', /wrong form|undefined/, fault);
  }
  fakes.control.sound = { ok: true, pcm: new Int16Array(80), release: () => undefined };
  const unknown = await send('play', { recording_id: MISSING });
  assert.deepEqual([unknown.status, unknown.error.code], [422, 'REFERENCE_NOT_FOUND']);
  const scoped = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  live({ agentId: OTHER_AGENT });
  const foreign = await send('play', { recording_id: RECORDING }, { headers: scoped });
  assert.deepEqual(foreign, { ...unknown, status: 422 }, 'as if it did not exist');
  assert.deepEqual(fakes.control.commands, []);
});

test('every state of a call that takes no commands', async () => {
  const other = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  const rows: [
    name: string,
    make: () => void,
    id: string,
    headers: typeof admin,
    expected: string,
  ][] = [
    ['ringing', () => live({ status: 'ringing' }), LIVE, admin, '409 CALL_NOT_ANSWERED'],
    ['queued', () => live({ status: 'queued' }), LIVE, admin, '409 CALL_NOT_ANSWERED'],
    ['over', () => live({ status: 'ended' }), LIVE, admin, '409 CALL_NOT_ACTIVE'],
    ['failed', () => live({ status: 'failed' }), LIVE, admin, '409 CALL_NOT_ACTIVE'],
    ['text', () => live({ channel: 'text' }), LIVE, admin, '409 INVALID_STATE'],
    ['a record', () => undefined, RECORD, admin, '409 CALL_NOT_ACTIVE'],
    [
      'kept by a client',
      () => fakes.records.set(RECORD, makeRecord({ source: 'api', channel: 'external' })),
      RECORD,
      admin,
      '409 INVALID_STATE',
    ],
    ['unknown', () => undefined, MISSING, admin, '404 NOT_FOUND'],
    ['of another agent', () => undefined, LIVE, other, '404 NOT_FOUND'],
  ];
  for (const [state, make, id, headers, expected] of rows) {
    make();
    for (const [name, body] of Object.entries(BODIES)) {
      const answer = await send(name, body, { id, headers });
      assert.equal(`${answer.status} ${answer.error.code}`, expected, `${name}: ${state}`);
    }
    live({});
  }
  assert.deepEqual(fakes.control.commands, []);
});

test('what the call itself refuses', async () => {
  const rows: [
    answer: NonNullable<Fakes['control']['answer']>,
    expected: string,
    details: unknown,
  ][] = [
    [{ ok: false, refusal: 'CALL_NOT_ACTIVE' }, '409 CALL_NOT_ACTIVE', undefined],
    [{ ok: false, refusal: 'TIMEOUT' }, '504 NODE_TIMEOUT', undefined],
    [{ ok: false, refusal: 'NOT_FOUND' }, '504 NODE_TIMEOUT', undefined],
    [{ ok: false, refusal: 'CONSENT_MISSING' }, '422 CONSENT_MISSING', undefined],
    [
      { ok: false, refusal: 'REJECTED', vendorCode: '488' },
      '502 PROVIDER_REJECTED',
      { vendor_code: '488' },
    ],
    [
      { ok: false, refusal: 'INVALID_STATE', detail: 'on_hold' },
      '409 INVALID_STATE',
      [{ path: '', rule: 'on_hold', message: 'the call is on hold' }],
    ],
  ];
  for (const [answer, expected, details] of rows) {
    fakes.control.answer = answer;
    const name = answer.refusal === 'CONSENT_MISSING' ? 'recording' : 'hold';
    const told = await send(name, BODIES[name] as object);
    assert.equal(`${told.status} ${told.error.code}`, expected);
    assert.deepEqual(told.error.details, details);
  }
  assert.deepEqual(fakes.control.audited, [], 'what was not done is not noted');
});

test('recording is for supervisors; the rest is for those who control calls', async () => {
  const expected: Record<string, Record<string, number>> = {
    viewer: { say: 403, recording: 403, play: 403 },
    developer: { say: 200, recording: 403, play: 403 },
    supervisor: { say: 200, recording: 200, play: 200 },
  };
  for (const [role, statuses] of Object.entries(expected)) {
    const key = fakes.addKey({ role: role as 'viewer' });
    for (const [name, status] of Object.entries(statuses)) {
      const headers = { authorization: `Bearer ${key}` };
      const answer = await send(name, BODIES[name] as object, { headers });
      assert.equal(answer.status, status, `${role}: ${name}`);
    }
  }
});

test('a sound is given back when the call does not take it, and nobody is noted for it', async () => {
  fakes.control.released = 0;
  fakes.control.answer = { ok: false, refusal: 'INVALID_STATE', detail: 'on_hold' };
  assert.equal((await send('play', BODIES['play'] as object)).status, 409);
  assert.deepEqual([fakes.control.released, fakes.control.audited], [1, []]);
  fakes.control.answer = null;
  assert.equal((await send('play', BODIES['play'] as object)).status, 200);
  assert.equal(fakes.control.released, 1, 'the call has it now');
});

test('without the right to hear recordings, other sounds may be played', async () => {
  const headers = { authorization: `Bearer ${fakes.addKey({ role: 'developer' })}` };
  const secret = await send('play', { recording_id: MISSING }, { headers });
  assert.equal(
    `${secret.status} ${secret.error.code}`,
    '403 FORBIDDEN',
    'whether or not it exists',
  );
  const url = 'https://127.0.0.1/a.wav';
  assert.equal((await send('play', { url }, { headers })).error.code, 'VALIDATION_FAILED');
});
