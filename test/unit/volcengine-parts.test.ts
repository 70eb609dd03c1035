/** The parts of Volcengine's clients that need no socket: settings, errors, marks, history, pacing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { AppError, ErrorCode } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { ChatMessage } from '#providers/contract.ts';
import { SpareSockets } from '#providers/spare-sockets.ts';
import type { VendorSettings } from '#providers/vendor.ts';
import { serviceOf, type ServiceName } from '#providers/volcengine/account.ts';
import { promptAgain, turnsOf } from '#providers/volcengine/dialogue-start.ts';
import { badEndOf, failureOf, refusalOf } from '#providers/volcengine/errors.ts';
import { decodeFrame } from '#providers/volcengine/frame.ts';
import { VOLCENGINE } from '#providers/volcengine/module.ts';
import { PacedAudio } from '#providers/volcengine/paced-audio.ts';
import { SpokenWords } from '#providers/volcengine/tts-marks.ts';
import { rateOf, tasksOf } from '#providers/volcengine/tts.ts';
import { eventFrame } from '#providers/sim/volcengine-wire.ts';

const KEYS = { app_id: 'app-1', access_token: 'token-1' };

function settingsOf(
  options: Readonly<Record<string, unknown>> = {},
  credentials: Readonly<Record<string, string>> = KEYS,
): VendorSettings {
  return {
    ...{ setting: 'account "V"', credentials, options, model: null, temperature: null },
    ...{ maxTokens: null, voice: null, speed: null, volume: null, token: null },
  };
}

const tools = {
  ...{ log: silentLog, clock: new SimulatedClock(), resampling: loadStreamResampling },
};

// ---- Accounts ----

test('each service gets the headers that it documents', () => {
  const rows: [ServiceName, Record<string, string>, Record<string, string>][] = [
    ['stt', KEYS, { 'X-Api-App-Key': 'app-1', 'X-Api-Access-Key': 'token-1' }],
    ['tts', KEYS, { 'X-Api-App-Key': 'app-1', 'X-Api-Access-Key': 'token-1' }],
    [
      'realtime',
      KEYS,
      {
        ...{ 'X-Api-App-ID': 'app-1', 'X-Api-Access-Key': 'token-1' },
        'X-Api-App-Key': 'PlgvMymc7f3tQnJ6',
      },
    ],
    ['stt', { api_key: 'k' }, { 'X-Api-Key': 'k' }],
    ['tts', { ...KEYS, api_key: 'k' }, { 'X-Api-Key': 'k' }],
    ['realtime', { api_key: 'k' }, { 'X-Api-Key': 'k', 'X-Api-App-Key': 'PlgvMymc7f3tQnJ6' }],
  ];
  for (const [name, credentials, expected] of rows) {
    const service = serviceOf(settingsOf({}, credentials), name);
    const [{ 'X-Api-Connect-Id': first, 'X-Api-Resource-Id': resource, ...keys }, second] = [
      service.headers(),
      service.headers(),
    ];
    assert.deepEqual(keys, expected);
    assert.equal(resource, service.resource);
    assert.match(first ?? '', /^[0-9a-f-]{36}$/);
    assert.notEqual(first, second['X-Api-Connect-Id']);
  }
});

test('the one resource id of an account counts for the service it belongs to', () => {
  const rows: [Record<string, unknown>, string, string, string][] = [
    [{}, 'volc.bigasr.sauc.duration', 'seed-tts-1.0', 'volc.speech.dialog'],
    [
      { resource_id: 'volc.speech.dialog' },
      'volc.bigasr.sauc.duration',
      'seed-tts-1.0',
      'volc.speech.dialog',
    ],
    [
      { resource_id: 'volc.seedasr.sauc.concurrent' },
      'volc.seedasr.sauc.concurrent',
      'seed-tts-1.0',
      'volc.speech.dialog',
    ],
    [
      { resource_id: 'seed-icl-2.0', stt_resource_id: 'own' },
      'own',
      'seed-icl-2.0',
      'volc.speech.dialog',
    ],
  ];
  for (const [options, ...expected] of rows) {
    const found = (['stt', 'tts', 'realtime'] as const).map(
      (name) => serviceOf(settingsOf(options), name).resource,
    );
    assert.deepEqual(found, expected);
  }
});

test('what is wrong with the settings is said when the client is made, by name', () => {
  const rows: [
    'stt' | 'tts' | 'realtime',
    Record<string, unknown>,
    Record<string, string>,
    RegExp,
  ][] = [
    ['stt', {}, {}, /account "V": credentials\.app_id is missing/],
    ['tts', {}, { app_id: 'a' }, /credentials\.access_token is missing/],
    ['realtime', {}, { app_id: 'a', access_token: 't\n' }, /credentials\.access_token holds/],
    ['stt', {}, { api_key: 'ключ' }, /credentials\.api_key holds/],
    ['tts', { tts_url: 'https://example.com' }, KEYS, /options\.tts_url/],
    ['stt', { stt_frame_ms: 20 }, KEYS, /options\.stt_frame_ms must be a number from 100 to 200/],
    ['stt', { stt_frame_ms: 125 }, KEYS, /options\.stt_frame_ms must be a multiple of 10/],
    ['stt', { stt_end_window_ms: 100 }, KEYS, /options\.stt_end_window_ms/],
    ['stt', { hot_words: 'one' }, KEYS, /options\.hot_words must be a list/],
    ['stt', { hot_words: Array(101).fill('x') }, KEYS, /at most 100/],
    ['stt', { stt_gzip: 'yes' }, KEYS, /options\.stt_gzip/],
    ['tts', { connect_ms: 'soon' }, KEYS, /options\.connect_ms/],
    ['realtime', { realtime_bot_name: '小'.repeat(21) }, KEYS, /more than 20 characters/],
    ['realtime', { realtime_resume: 'never' }, KEYS, /one of dialog_id, context/],
    ['realtime', { realtime_end_window_ms: 100 }, KEYS, /options\.realtime_end_window_ms/],
  ];
  for (const [kind, options, credentials, message] of rows) {
    const make = (): unknown => VOLCENGINE[kind]?.(settingsOf(options, credentials), tools);
    assert.throws(make, { code: 'E_CONFIG', message });
  }
  for (const kind of ['stt', 'tts', 'realtime'] as const) {
    assert.equal(VOLCENGINE[kind]?.(settingsOf(), tools).vendor, 'volcengine');
  }
  assert.equal(VOLCENGINE.realtime?.(settingsOf(), tools).hasTools, false);
});

// ---- Errors ----

test('codes and words of the vendor have their class', () => {
  const service = serviceOf(settingsOf(), 'realtime');
  const rows: [number | null, string, ErrorCode][] = [
    [42000020, 'StartSession event payload asr extra is null', 'E_PROVIDER_PARAM'],
    [45000000, 'quota exceeded for types: concurrency', 'E_PROVIDER_QUOTA'],
    [45000000, 'requested resource not granted', 'E_PROVIDER_AUTH'],
    [45000000, 'unsupported voice', 'E_PROVIDER_PARAM'],
    [45000001, 'missing field', 'E_PROVIDER_PARAM'],
    [45000002, 'empty audio', 'E_PROVIDER_PARAM'],
    [45000003, 'Abnormal silence audio', 'E_PROVIDER_IDLE'],
    [45000081, 'waiting next packet timeout', 'E_PROVIDER_IDLE'],
    [45000151, 'audio format', 'E_PROVIDER_PARAM'],
    [50000000, 'Yaml: line 43: found unknown escape character', 'E_PROVIDER_PARAM'],
    [50000000, 'AudioQueryError', 'E_PROVIDER_SERVER'],
    [52000042, 'DialogAudioIdleTimeoutError', 'E_PROVIDER_IDLE'],
    [52000011, 'AudioChatRecvTimeoutError', 'E_PROVIDER_SERVER'],
    [52000016, 'AudioTTSIdleTimeoutError', 'E_PROVIDER_SERVER'],
    [52000022, 'AudioChatError', 'E_PROVIDER_SERVER'],
    [52000035, 'S2SQueryConnectError', 'E_PROVIDER_SERVER'],
    [50700000, 'CallWithTimeout', 'E_PROVIDER_SERVER'],
    [55000001, 'ServerError', 'E_PROVIDER_SERVER'],
    [55000001, 'ContextCanceled', 'E_PROVIDER_SERVER'],
    [55000001, 'ClientError:InvalidSpeaker', 'E_PROVIDER_PARAM'],
    [55000000, 'resource ID is mismatched with speaker related resource', 'E_PROVIDER_PARAM'],
    [55000030, 'unavailable', 'E_PROVIDER_SERVER'],
    [55000031, 'busy', 'E_PROVIDER_QUOTA'],
    [55002070, 'audio flow', 'E_PROVIDER_SERVER'],
    [401, '', 'E_PROVIDER_AUTH'],
    [429, '', 'E_PROVIDER_QUOTA'],
    [null, 'whatever', 'E_PROVIDER_SERVER'],
  ];
  for (const [code, text, expected] of rows) {
    const error = failureOf(service, code, text);
    assert.equal(error.code, expected, `${code} ${text}`);
    assert.deepEqual(error.details, { vendorCode: code });
  }
});

test('a refusal names what to mend, and never a secret', () => {
  const service = serviceOf(settingsOf(), 'tts');
  const error = refusalOf(
    service,
    401,
    '{"header":{"code":45000010,"message":"invalid auth token: token-1\\n\\u0007"}}',
    'log-1',
  );
  assert.equal(error.code, 'E_PROVIDER_AUTH');
  assert.equal(
    error.message,
    'Volcengine voice: invalid auth token: ***; mend account "V": credentials.app_id or credentials.access_token (or the right to seed-tts-1.0) (401)',
  );
  assert.deepEqual(error.details, { vendorCode: 45000010, status: 401, logId: 'log-1' });
  const rows: [number, string, ErrorCode, RegExp][] = [
    [400, '{"error":"quota exceeded"}', 'E_PROVIDER_QUOTA', /quota exceeded/],
    [400, 'plain words', 'E_PROVIDER_PARAM', /plain words/],
    [403, '', 'E_PROVIDER_AUTH', /refused with HTTP 403/],
    [502, '<html>', 'E_PROVIDER_SERVER', /html/],
    [503, '{"code":45000000}', 'E_PROVIDER_SERVER', /HTTP 503/],
    [400, `{"message":"${'x'.repeat(5000)}"}`, 'E_PROVIDER_PARAM', /x{200} \(400\)$/],
  ];
  for (const [status, body, code, message] of rows) {
    const found = refusalOf(service, status, body, null);
    assert.equal(found.code, code, found.message);
    assert.match(found.message, message);
  }
});

test('a session that ends well is no error', () => {
  const service = serviceOf(settingsOf(), 'tts');
  const end = (json: unknown): AppError | null =>
    badEndOf(service, decodeFrame(eventFrame(152, 's', json)));
  assert.equal(end({}), null);
  assert.equal(end({ status_code: 20000000, message: 'ok' }), null);
  assert.equal(end({ status_code: 45000001, message: 'no' })?.code, 'E_PROVIDER_PARAM');
  assert.equal(end({ status_code: '55000000', message: 'no' })?.code, 'E_PROVIDER_SERVER');
});

// ---- The voice ----

test('speed and volume have the vendor’s range', () => {
  const rows: [number | null, number][] = [
    ...(
      [
        [null, 0],
        [1, 0],
        [0.5, -50],
        [0, -50],
        [1.25, 25],
        [2, 100],
        [9, 100],
      ] as const
    ).map(([factor, rate]): [number | null, number] => [factor, rate]),
  ];
  for (const [factor, rate] of rows) assert.equal(rateOf(factor), rate, `${factor}`);
});

test('a long text is cut where words end, and nothing of it is lost', () => {
  assert.deepEqual(tasksOf('  short '), ['short']);
  assert.deepEqual(tasksOf(' '), []);
  const texts = ['字'.repeat(1000), 'word '.repeat(300), `${'好，'.repeat(400)}`, '😀'.repeat(400)];
  for (const text of texts) {
    const tasks = tasksOf(text);
    assert.equal(tasks.join(''), text.trim());
    for (const task of tasks) {
      assert.ok(task.length <= 300 && task.length > 0);
      assert.ok(task.isWellFormed(), 'no character is cut in two');
    }
  }
  assert.ok(tasksOf('word '.repeat(300)).every((task) => /^(?:word ?)+$/.test(task)));
});

test('timestamps become marks that rise and end with the text', () => {
  const word = (text: string, endTime: number): object => ({ word: text, startTime: 0, endTime });
  const rows: [string, unknown[], number, [number, number][]][] = [
    [
      'one two',
      [word('one', 0.2), word('two', 0.5)],
      4800,
      [
        [3, 200],
        [7, 500],
      ],
    ],
    // Digits are read in words: what is found again goes on, the rest is even.
    [
      '在2019年',
      [word('在', 0.1), word('二', 0.2), word('年', 0.6)],
      4800,
      [
        [1, 100],
        [6, 600],
      ],
    ],
    // Times that lie: never backwards, never beyond the sound.
    [
      'a b c',
      [word('a', 0.3), word('b', 0.1), word('c', 99)],
      4000,
      [
        [1, 300],
        [3, 300],
        [5, 500],
      ],
    ],
    ['one', ['junk', null, word('one', Number.NaN), { word: 3 }], 1600, [[3, 200]]],
    [
      'one two',
      [word('one', 0.2)],
      4800,
      [
        [3, 200],
        [7, 600],
      ],
    ],
    [
      'one!',
      [word('one', 0.2)],
      1600,
      [
        [3, 200],
        [4, 200],
      ],
    ],
    ['one', [], 1600, [[3, 200]]],
  ];
  for (const [text, words, samples, expected] of rows) {
    const spoken = new SpokenWords(text);
    const marks = [...spoken.add(words, samples), ...spoken.rest(samples)];
    assert.deepEqual(
      marks.map(({ chars, ms }) => [chars, ms]),
      expected,
      text,
    );
  }
  assert.deepEqual(new SpokenWords('x').add('no list', 8), []);
});

// ---- The dialogue ----

test('history is told in pairs, the last twenty of them', () => {
  const user = (content: string): ChatMessage => ({ role: 'user', content });
  const agent = (content: string): ChatMessage => ({ role: 'assistant', content });
  const texts = (history: ChatMessage[]): string[] =>
    turnsOf(history, 'zh').map(({ text }) => text);
  assert.deepEqual(texts([]), []);
  assert.deepEqual(texts([user('a'), agent('b')]), ['a', 'b']);
  assert.deepEqual(texts([agent('hi')]), ['（电话接通）', 'hi']);
  assert.deepEqual(texts([user('a')]), ['a', '（没有回答）']);
  assert.deepEqual(texts([user('a'), agent(' '), user('b'), agent('c'), agent('d')]), [
    'a\nb',
    'c\nd',
  ]);
  const tool: ChatMessage = { role: 'tool', content: '{}', toolCallId: 'x' };
  assert.deepEqual(texts([{ role: 'system', content: 's' }, user('a'), tool, agent('b')]), [
    'a',
    'b',
  ]);
  const long = Array.from({ length: 50 }, (_, n) => [user(`q${n}`), agent(`a${n}`)]).flat();
  const turns = turnsOf(long, 'zh');
  assert.deepEqual([turns.length, turns[0]?.text, turns[0]?.role], [40, 'q30', 'user']);
});

test('a model that has to speak again is asked the caller’s last words', () => {
  const call = (history: ChatMessage[], language: 'zh' | 'en' = 'en') => ({
    ...{ callId: 'c', language, instructions: '', tools: [], codec: 'L16' as const, history },
  });
  const asked: ChatMessage[] = [{ role: 'user', content: 'why?' }];
  const answered: ChatMessage[] = [...asked, { role: 'assistant', content: 'bec' }];
  assert.equal(promptAgain(call(asked), false), 'why?');
  assert.match(promptAgain(call(answered), false), /go on/);
  assert.match(promptAgain(call(asked), true), /go on/);
  assert.match(promptAgain(call(answered, 'zh'), true), /接着说/);
});

test('sound goes up in real time, and what piled up twice as fast', () => {
  const clock = new SimulatedClock();
  const sent: number[] = [];
  const up = new PacedAudio({
    ...{ clock, frameMs: 20, keptQuietMs: 700 },
    send: (frame) => sent.push(frame[0] as number),
  });
  const loud = (mark: number): Uint8Array => new Uint8Array(640).fill(40).fill(mark, 0, 1);
  for (let n = 0; n < 10; n++) {
    up.push(loud(n));
    assert.equal(sent.length, n + 1, 'without delay');
    clock.advance(20);
  }
  sent.length = 0;
  for (let n = 0; n < 100; n++) up.push(loud(n));
  const first = sent.length;
  assert.ok(first <= 10, `${first} at once`);
  clock.advance(500);
  assert.ok(Math.abs(sent.length - first - 50) <= 2, `${sent.length - first} in half a second`);
  clock.advance(500);
  assert.deepEqual(sent, [...Array(100).keys()], 'in order, nothing lost');
  assert.equal(clock.pending, 0);
});

test('of silence that piled up only as much goes up as ends a turn', () => {
  const clock = new SimulatedClock();
  let count = 0;
  const up = new PacedAudio({
    ...{ clock, frameMs: 20, keptQuietMs: 200 },
    send: () => (count += 1),
  });
  for (let n = 0; n < 50; n++) up.push(new Uint8Array(640).fill(40));
  for (let n = 0; n < 200; n++) up.push(new Uint8Array(640));
  for (let n = 0; n < 10; n++) up.push(new Uint8Array(640).fill(40));
  clock.advance(10_000);
  assert.equal(count, 70);
  for (let n = 0; n < 200; n++) {
    up.push(new Uint8Array(640));
    clock.advance(20);
  }
  assert.equal(count, 270, 'of silence in time nothing is left out');
});

test('sound that nobody takes is bounded, and forgotten at the end', () => {
  const clock = new SimulatedClock();
  const sent: number[] = [];
  const up = new PacedAudio({
    ...{ clock, frameMs: 20, keptQuietMs: 200 },
    send: (frame) => sent.push(frame[1] as number),
  });
  for (let n = 0; n < 2_000; n++) up.push(new Uint8Array(640).fill(40).fill(n % 100, 1, 2));
  clock.advance(20_000);
  assert.ok(sent.length < 820, `${sent.length} frames`);
  up.push(new Uint8Array(640).fill(40));
  for (let n = 0; n < 40; n++) up.push(new Uint8Array(640).fill(40));
  up.close();
  up.close();
  const count = sent.length;
  up.push(new Uint8Array(640));
  clock.advance(1_000);
  assert.equal(sent.length, count);
  assert.equal(clock.pending, 0);
});

test('connections that are given back are kept for as many speeches as there were at once', async () => {
  const clock = new SimulatedClock();
  let opened = 0;
  let closed = 0;
  const spares = new SpareSockets({
    ...{ clock, maxIdleMs: 1_000, keepAtMost: 3 },
    open: () => {
      opened += 1;
      return Promise.resolve({ isOpen: true, close: () => void (closed += 1) });
    },
  });
  const { signal } = new AbortController();
  const taken = await Promise.all([1, 2, 3, 4].map(() => spares.take(signal)));
  for (const spare of taken) spares.giveBack(spare);
  const kept = opened - closed;
  assert.equal(kept, 3);
  for (let n = 0; n < 10; n++) spares.giveBack(await spares.take(signal));
  assert.equal(opened - closed, 3);
  assert.equal(opened, taken.length + 1, 'one at a time costs no new one');
  spares.close();
  assert.equal(opened, closed);
  assert.equal(clock.pending, 0);
});
