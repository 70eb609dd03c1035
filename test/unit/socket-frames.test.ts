/** The words of both sockets on calls, both ways, and the tickets and audio below them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Grant } from '#api/auth.ts';
import { Problem } from '#api/problem.ts';
import { Downlink, Lead, Uplink, type Resampling } from '#api/socket-audio.ts';
import { offeredBy } from '#api/socket-auth.ts';
import type { ClientCommand, Skin } from '#api/socket-frames.ts';
import { closeCodeOf } from '#api/socket-problems.ts';
import { Tickets } from '#api/socket-tickets.ts';
import { callSkin } from '#api/ws-call-frames.ts';
import { readStart, voiceSkin } from '#api/ws-voice-frames.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { ACCOUNT, AGENT, LIVE } from './_api-fakes.ts';

/** Down: what the call tells, what `/ws/call` says of it, what `/v1/voice/ws` says of it. */
const DOWN: [CallFrame, object | null, object | null][] = [
  [
    { type: 'status', status: 'queued' },
    { type: 'status', status: 'connecting' },
    { type: 'status', status: 'queued' },
  ],
  [
    { type: 'status', status: 'dialing' },
    { type: 'status', status: 'connecting' },
    { type: 'status', status: 'dialing' },
  ],
  [
    { type: 'status', status: 'ringing' },
    { type: 'status', status: 'ringing' },
    { type: 'status', status: 'ringing' },
  ],
  [
    { type: 'status', status: 'answered' },
    { type: 'status', status: 'answered' },
    { type: 'status', status: 'answered' },
  ],
  [
    { type: 'status', status: 'ended' },
    { type: 'status', status: 'ended' },
    { type: 'status', status: 'ended' },
  ],
  [
    { type: 'status', status: 'failed' },
    { type: 'status', status: 'failed' },
    { type: 'status', status: 'failed' },
  ],
  [
    { type: 'heard', text: 'Good day', isFinal: false, startMs: 100, endMs: 900 },
    { type: 'user-speech', text: 'Good day', is_final: false, start_ms: 100, end_ms: 900 },
    { type: 'transcript', text: 'Good day', is_final: false },
  ],
  [
    { type: 'reply', text: 'How can I help?', turn: 2, isFinal: true },
    { type: 'ai-response', text: 'How can I help?', turn: 2, is_final: true },
    { type: 'response', text: 'How can I help?', audio_url: null, is_final: true },
  ],
  [
    { type: 'mark', name: 'u2' },
    { type: 'mark', name: 'u2' },
    { type: 'mark', name: 'u2' },
  ],
  [
    { type: 'interrupted', turn: 2, heardMs: 640, heardText: 'How can' },
    { type: 'user-interrupted', turn: 2, heard_ms: 640, heard_text: 'How can' },
    null,
  ],
  [{ type: 'clear' }, { type: 'clear' }, { type: 'clear' }],
  [
    { type: 'function_call', id: 'f1', name: 'find', arguments: { a: 1 }, timeoutMs: 5_000 },
    null,
    { type: 'function_call', function_name: 'find', arguments: { a: 1 }, call_id: 'f1' },
  ],
  [
    { type: 'fault', code: 'MEDIA_LOST', message: 'gone', fatal: true },
    { type: 'call-error', code: 'MEDIA_LOST', message: 'gone', fatal: true },
    { type: 'error', code: 'MEDIA_LOST', message: 'gone', fatal: true },
  ],
  [
    { type: 'ended', hangupReason: 'user', outcome: 'completed', duration: 12 },
    { type: 'ended', hangup_reason: 'user', outcome: 'completed', duration: 12 },
    { type: 'ended', hangup_reason: 'user', outcome: 'completed', duration: 12 },
  ],
  [
    { type: 'ended', hangupReason: null, outcome: 'cancelled', duration: 0 },
    { type: 'ended', hangup_reason: null, outcome: 'cancelled', duration: 0 },
    { type: 'ended', hangup_reason: null, outcome: 'cancelled', duration: 0 },
  ],
];

test('down: every frame of a call in the words of both sockets', () => {
  for (const [frame, call, voice] of DOWN) {
    assert.deepEqual(callSkin.tell(frame), call, JSON.stringify(frame));
    assert.deepEqual(voiceSkin.tell(frame), voice, JSON.stringify(frame));
  }
  const rates = { uplinkHz: 8_000, downlinkHz: 24_000 };
  assert.deepEqual(callSkin.ready(LIVE, rates), {
    type: 'ready',
    call_id: LIVE,
    uplink: { rate: 8_000, encoding: 'pcm_s16le' },
    downlink: { rate: 24_000, encoding: 'pcm_s16le' },
  });
  assert.deepEqual(voiceSkin.ready(LIVE, rates), {
    type: 'ready',
    call_id: LIVE,
    uplink: { rate: 8_000, encoding: 'pcm' },
    downlink: { rate: 24_000, encoding: 'pcm' },
  });
  const warning = { type: 'warning', code: 'INPUT_OVERRUN' };
  assert.deepEqual(callSkin.warning('INPUT_OVERRUN', 'late'), warning);
  assert.deepEqual(voiceSkin.warning('INPUT_OVERRUN', 'late'), {
    ...{ type: 'error', code: 'INPUT_OVERRUN', message: 'late', fatal: false },
  });
});

const TEXT = 'x'.repeat(4_000);
/** Up: a command, the pointer to the field that is wrong, or null for a type that is not known. */
type Sent = { readonly type: string; readonly [field: string]: unknown };
const CALL_UP: [Sent, ClientCommand | string | null][] = [
  [{ type: 'config' }, { type: 'config', uplinkHz: 8_000, downlinkHz: 16_000 }],
  [
    { type: 'config', uplink_rate: 16_000, downlink_rate: 24_000 },
    { type: 'config', uplinkHz: 16_000, downlinkHz: 24_000 },
  ],
  [{ type: 'config', uplink_rate: 24_000 }, '/uplink_rate'],
  [{ type: 'config', downlink_rate: 48_000 }, '/downlink_rate'],
  [{ type: 'config', uplink_rate: '8000' }, '/uplink_rate'],
  [
    { type: 'text', text: TEXT },
    { type: 'text', text: TEXT },
  ],
  [{ type: 'text', text: `${TEXT}x` }, '/text'],
  [{ type: 'text', text: '' }, '/text'],
  [{ type: 'text', text: 'a\0b' }, '/text'],
  [{ type: 'text', text: '\ud800' }, '/text'],
  [{ type: 'text' }, '/text'],
  [{ type: 'text', text: 7 }, '/text'],
  [
    { type: 'text', text: 'a', more: 1 },
    { type: 'text', text: 'a' },
  ],
  [
    { type: 'dtmf', digits: '0129*#ABCD' },
    { type: 'dtmf', digits: '0129*#ABCD' },
  ],
  [{ type: 'dtmf', digits: '12x' }, '/digits'],
  [{ type: 'dtmf', digits: '' }, '/digits'],
  [{ type: 'dtmf', digits: '1'.repeat(65) }, '/digits'],
  [{ type: 'interrupt' }, { type: 'interrupt' }],
  [{ type: 'hangup' }, { type: 'hangup', reason: null }],
  [
    { type: 'hangup', reason: 'done' },
    { type: 'hangup', reason: 'done' },
  ],
  [{ type: 'hangup', reason: 'x'.repeat(201) }, '/reason'],
  [{ type: 'ping' }, { type: 'ping' }],
  [
    { type: 'mark', name: 'u1' },
    { type: 'mark', name: 'u1' },
  ],
  [{ type: 'mark' }, '/name'],
  [{ type: 'stop' }, null],
  [{ type: 'function_result', call_id: 'f', result: 1 }, null],
  [{ type: 'Text', text: 'a' }, null],
  [{ type: 'constructor' }, null],
];
const VOICE_UP: typeof CALL_UP = [
  [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'a' },
  ],
  [{ type: 'text', text: '' }, '/text'],
  [
    { type: 'function_result', call_id: 'f1', result: { rows: [1] } },
    { type: 'result', id: 'f1', result: { rows: [1] } },
  ],
  [
    { type: 'function_result', call_id: 'f1', result: null },
    { type: 'result', id: 'f1', result: null },
  ],
  [{ type: 'function_result', call_id: 'f1' }, '/result'],
  [{ type: 'function_result', result: 1 }, '/call_id'],
  [{ type: 'interrupt' }, { type: 'interrupt' }],
  [{ type: 'ice_candidate', candidate: 'c' }, { type: 'webrtc' }],
  [
    { type: 'mark', name: 'u1' },
    { type: 'mark', name: 'u1' },
  ],
  [{ type: 'stop' }, { type: 'hangup', reason: null }],
  [{ type: 'ping' }, { type: 'ping' }],
  [{ type: 'dtmf', digits: '1' }, null],
  [{ type: 'hangup' }, null],
  [{ type: 'config' }, null],
  [{ type: 'start' }, null],
];

function pointerOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof Problem);
    assert.equal(error.problem, 'VALIDATION_FAILED');
    return error.faults[0]?.path ?? '';
  }
  return 'nothing wrong';
}

test('up: every frame of a client, and what is wrong with those that are none', () => {
  for (const [skin, rows] of [
    [callSkin, CALL_UP],
    [voiceSkin, VOICE_UP],
  ] as [Skin, typeof CALL_UP][]) {
    for (const [frame, expected] of rows) {
      const name = JSON.stringify(frame).slice(0, 80);
      if (typeof expected === 'string') {
        assert.equal(
          pointerOf(() => skin.read(frame.type, frame)),
          expected,
          name,
        );
      } else assert.deepEqual(skin.read(frame.type, frame), expected, name);
    }
  }
});

test('start: its fields, and what is refused', () => {
  const full = {
    ...{ type: 'start', assistant_id: AGENT, variables: { name: 'Ann' }, sdp: 'v=0' },
    config: { voice: { sample_rate: 24_000, encoding: 'opus', language: 'zh-CN' } },
  };
  assert.deepEqual(readStart(full), full);
  assert.deepEqual(readStart({ type: 'start' }), { type: 'start' });
  assert.equal(readStart({ type: 'start', call_id: LIVE.toUpperCase() }).call_id, LIVE);
  const voice = (fields: object) => ({ type: 'start', config: { voice: fields } });
  const rows: [object, string][] = [
    [{ type: 'start', assistant_id: '1' }, '/assistant_id'],
    [{ type: 'start', call_id: 7 }, '/call_id'],
    [{ type: 'start', asistant_id: AGENT }, '/asistant_id'],
    [{ type: 'start', variables: [] }, '/variables'],
    [voice({ sample_rate: 44_100 }), '/config/voice/sample_rate'],
    [voice({ encoding: 'mp3' }), '/config/voice/encoding'],
    [voice({ language: 'fr' }), '/config/voice/language'],
    [voice({ speed: 2 }), '/config/voice/speed'],
    [{ type: 'start', config: { video: {} } }, '/config/video'],
  ];
  for (const [frame, pointer] of rows) {
    assert.equal(
      pointerOf(() => readStart(frame)),
      pointer,
      JSON.stringify(frame),
    );
  }
});

test('the close code of a refusal', () => {
  const rows: [ConstructorParameters<typeof Problem>[0], number][] = [
    ['NOT_FOUND', 4404],
    ['INVALID_STATE', 4409],
    ['FORBIDDEN', 4409],
    ['CONCURRENCY_LIMIT', 4429],
    ['RATE_LIMITED', 4429],
    ['DRAINING', 1001],
    ['UNAVAILABLE', 1011],
    ['INTERNAL', 1011],
    ['REFERENCE_NOT_FOUND', 1008],
    ['VALIDATION_FAILED', 1008],
  ];
  for (const [code, expected] of rows) assert.equal(closeCodeOf(new Problem(code)), expected, code);
});

const grant: Grant = {
  caller: { accountId: ACCOUNT, role: 'admin', actor: 'key:1', agentIds: null },
  ...{ expiresAtMs: 5, recheckMs: 1_500, callId: null },
  recheck: async () => true,
};

test('tickets: their form, once, 60 s, in a bounded table that forgets', async () => {
  const clock = new SimulatedClock();
  const tickets = new Tickets(clock, 3);
  const at = { path: '/ws/call/A', role: 'caller' };
  const seen = new Set<string>();
  const first = tickets.issue({ ...at, grant, callId: LIVE });
  assert.match(first.ticket, /^tk_[A-Za-z0-9_-]{43}$/);
  assert.equal(first.expiresAt, Math.floor(clock.wallMs() / 1000) + 60);
  const redeemed = await tickets.redeem(first.ticket, { path: '/ws/call/a', role: 'caller' });
  assert.deepEqual(redeemed.caller, grant.caller);
  assert.deepEqual([redeemed.expiresAtMs, redeemed.callId], [null, LIVE]);
  await assert.rejects(tickets.redeem(first.ticket, at), { problem: 'UNAUTHENTICATED' });
  for (let i = 0; i < 5; i++) seen.add(tickets.issue({ ...at, grant, callId: null }).ticket);
  assert.equal(seen.size, 5);
  assert.equal(tickets.size, 3);
  assert.throws(() => tickets.refuseFull(), { problem: 'OVERLOADED' });
  const [oldest = ''] = seen;
  await assert.rejects(tickets.redeem(oldest, at), { problem: 'UNAUTHENTICATED' });
  clock.advance(60_000);
  const last = [...seen].at(-1) ?? '';
  await assert.rejects(tickets.redeem(last, at), { problem: 'TOKEN_EXPIRED' });
  tickets.refuseFull();
  assert.equal(tickets.size, 0);
  for (const text of ['', 'tk_short', `tk_${'a'.repeat(44)}`, `cy_abcdefgh_${'a'.repeat(43)}`]) {
    await assert.rejects(tickets.redeem(text, at), { problem: 'UNAUTHENTICATED' }, text);
  }
});

test('proofs of a socket: one of three', () => {
  const ask = (headers: Record<string, string>, query: object = {}) =>
    offeredBy({ headers, query });
  const protocols = (list: string) => ({ 'sec-websocket-protocol': list });
  assert.deepEqual(ask({}), { authorization: undefined, ticket: null });
  assert.deepEqual(ask({ authorization: 'Bearer x' }), { authorization: 'Bearer x', ticket: null });
  assert.deepEqual(ask(protocols('callyard.v1, bearer.a.b-c_d')), {
    ...{ authorization: 'Bearer a.b-c_d', ticket: null },
  });
  assert.deepEqual(ask(protocols('bearer.x,callyard.v1')).authorization, 'Bearer x');
  assert.deepEqual(ask(protocols('callyard.v1')).authorization, undefined);
  assert.deepEqual(ask({}, { ticket: 'tk_1' }), { authorization: undefined, ticket: 'tk_1' });
  const rows: [Record<string, string>, object, string][] = [
    [protocols('bearer.x'), {}, 'UNAUTHENTICATED'],
    [protocols('callyard.v1, bearer.x, bearer.y'), {}, 'VALIDATION_FAILED'],
    [{ authorization: 'Bearer x', ...protocols('callyard.v1, bearer.x') }, {}, 'VALIDATION_FAILED'],
    [{ authorization: 'Bearer x' }, { ticket: 'tk_1' }, 'VALIDATION_FAILED'],
    [{}, { ticket: ['tk_1', 'tk_2'] }, 'VALIDATION_FAILED'],
  ];
  for (const [headers, query, problem] of rows) {
    assert.throws(() => ask(headers, query), { problem }, JSON.stringify([headers, query]));
  }
});

const same: Resampling = {
  open: (fromHz, toHz) => ({
    convert: (pcm) => Int16Array.from({ length: (pcm.length * toHz) / fromHz }, (_, at) => at),
    close: () => undefined,
  }),
};

test('uplink: lengths that are taken, from any address', () => {
  const uplink = new Uplink(same, 8_000);
  const rows: [number, number | null][] = [
    ...([
      [0, null],
      [1, null],
      [2, 1],
      [3, null],
      [320, 160],
      [319, null],
    ] as const),
    ...([
      [32_000, 16_000],
      [32_002, null],
      [31_999, null],
    ] as const),
  ].map(([bytes, samples]) => [bytes, samples]);
  for (const [bytes, samples] of rows) {
    const odd = new Uint8Array(bytes + 1).subarray(1);
    assert.equal(uplink.read(odd)?.length ?? null, samples, `${bytes} bytes`);
  }
});

test('downlink: whole frames of 20 ms, the rest behind a pause, nothing after a clear', () => {
  for (const [rateHz, bytes] of [
    [8_000, 320],
    [16_000, 640],
    [24_000, 960],
    [48_000, 1_920],
  ] as const) {
    const clock = new SimulatedClock();
    const lead = new Lead(clock);
    const sent: number[] = [];
    const send = (frame: Uint8Array): void => void sent.push(frame.length);
    const downlink = new Downlink(same, rateHz, { lead, send });
    let due = 0;
    const read = (into: Int16Array): number => {
      const count = Math.min(due, into.length);
      due -= count;
      return count;
    };
    const turn = (samples: number): number[] => {
      due += samples;
      sent.length = 0;
      clock.advance(20);
      downlink.pump(read);
      return [...sent];
    };
    assert.deepEqual(turn(160), [bytes]);
    assert.deepEqual(turn(400), [bytes, bytes]);
    assert.deepEqual(turn(80), [bytes], 'the two halves');
    assert.deepEqual(turn(100), []);
    assert.deepEqual([turn(0), turn(0), turn(0)], [[], [], [bytes]], 'the rest, filled up');
    assert.deepEqual([turn(0), turn(0), turn(0)], [[], [], []]);
    turn(100);
    downlink.clear();
    assert.deepEqual([turn(0), turn(0), turn(0)], [[], [], []]);
    clock.advance(1_000);
    turn(160 * 13 + 100);
    assert.equal(sent.length, 10, '200 ms');
    downlink.drain(read);
    assert.equal(sent.length, 14, 'the end waits for nothing');
  }
});

test('rates: a tone comes through every converter in one piece, at its pitch and loudness', async () => {
  const resampling = await loadStreamResampling();
  const rates = [8_000, 16_000, 24_000, 48_000];
  for (const fromHz of rates) {
    for (const toHz of rates) {
      const converter = resampling.open(fromHz, toHz);
      const frame = fromHz / 50;
      const out: number[] = [];
      for (let at = 0; at < fromHz; at += frame) {
        const pcm = Int16Array.from({ length: frame }, (_, i) =>
          Math.round(10_000 * Math.sin((2 * Math.PI * 1_000 * (at + i)) / fromHz)),
        );
        out.push(...converter.convert(pcm));
      }
      converter.close();
      converter.close();
      const name = `${fromHz} to ${toHz}`;
      assert.ok(Math.abs(out.length - toHz) <= toHz / 50, `${name}: ${out.length} samples`);
      const part = out.slice(toHz / 4, (toHz * 3) / 4);
      const angle = (at: number): number => (2 * Math.PI * 1_000 * at) / toHz;
      const re = part.reduce((sum, value, at) => sum + value * Math.cos(angle(at)), 0);
      const im = part.reduce((sum, value, at) => sum + value * Math.sin(angle(at)), 0);
      const energy = part.reduce((sum, value) => sum + value * value, 0);
      const amplitude = (2 * Math.hypot(re, im)) / part.length;
      assert.ok(Math.abs(amplitude - 10_000) < 200, `${name}: ${amplitude}`);
      const purity = ((amplitude ** 2 / 2) * part.length) / energy;
      assert.ok(purity > 0.999, `${name}: ${purity}`);
    }
  }
});
