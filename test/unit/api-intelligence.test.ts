/** Routes of summaries, analysis, scripts, compliance and recognition: answers as declared, and every bad input. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import type { ApiServer } from '#api/routing.ts';
import { AppError } from '#lib/errors.ts';
import {
  assertDeclared,
  LIVE,
  makeApi,
  makeCall,
  makeFakes,
  makeRecord,
  MISSING,
  OTHER_ACCOUNT,
  OTHER_AGENT,
  RECORD,
  type Fakes,
} from './_api-fakes.ts';

let fakes: Fakes;
let app: ApiServer;
let admin: Record<string, string>;
let viewer: Record<string, string>;

before(async () => {
  fakes = makeFakes();
  app = await makeApi(fakes);
  admin = { authorization: `Bearer ${fakes.addKey()}` };
  viewer = { authorization: `Bearer ${fakes.addKey({ role: 'viewer' })}` };
});
beforeEach(() => {
  fakes.intelligence.answer = null;
  fakes.intelligence.hear = null;
  fakes.intelligence.hasRecord = true;
});
after(() => app.close());

const AI = '/api/call-center/ai';
const SUMMARY = `/api/v1/call-records/${RECORD}/generate-summary`;
const EMPTY = '88888888-8888-4888-8888-888888888888';

async function post(url: string, payload?: object, headers: Record<string, string> = admin) {
  const body = payload === undefined ? {} : { payload };
  return app.inject({ method: 'POST', url, headers, ...body });
}

test('a summary on demand, with and without a body', async () => {
  const made = await post(SUMMARY);
  assert.equal(made.statusCode, 200);
  assertDeclared(app, 'POST /api/v1/call-records/{id}/generate-summary', 200, made.json());
  assert.deepEqual([made.json().data.source, made.json().data.language], ['extractive', 'en']);
  assert.match(made.json().data.summary, /138\*{4}8000/);
  fakes.intelligence.answer = async () => '主要诉求：回电';
  const other = await post(SUMMARY, { language: 'zh' });
  assert.deepEqual(
    [other.json().data.source, other.json().data.language, other.json().data.model],
    ['llm', 'zh', 'test-1'],
  );
  const [saved] = fakes.intelligence.saved.slice(-1);
  assert.equal(saved?.id, RECORD);
  assert.equal(saved?.summary.meta.source, 'llm');
});

test('a call that has just ended, though the database does not know it yet', async () => {
  const id = '99999999-9999-4999-8999-999999999998';
  fakes.records.set(id, makeRecord({ id, status: 'answered', messages: [] }));
  fakes.calls.set(id, makeCall({ id, status: 'ended', endTime: '2026-01-01T00:01:00.000Z' }));
  fakes.messages.set(id, [{ role: 'user', content: 'I want a refund.', timestamp: 1767225603 }]);
  const made = await post(`/api/v1/call-records/${id}/generate-summary`);
  assert.match(made.json().data.summary, /I want a refund\./);
  fakes.records.delete(id);
  fakes.calls.delete(id);
});

test('a record that cannot be written', async () => {
  fakes.intelligence.hasRecord = false;
  const gone = await post(SUMMARY);
  assert.deepEqual([gone.statusCode, gone.json().error.code], [404, 'NOT_FOUND']);
  fakes.calls.set(RECORD, makeCall({ id: RECORD, status: 'ended' }));
  const onItsWay = await post(SUMMARY);
  assert.deepEqual([onItsWay.statusCode, onItsWay.json().error.code], [503, 'UNAVAILABLE']);
  fakes.calls.delete(RECORD);
});

test('analysis, script and compliance, with messages in the client’s language', async () => {
  const rows: [string, string, object, string, string][] = [
    [`${AI}/analyze/${RECORD}`, '/analyze/{callId}', {}, 'rules', '通话分析完成'],
    [`${AI}/generate-script`, '/generate-script', { scenario: '回访' }, 'template', '话术已生成'],
    [`${AI}/check-compliance`, '/check-compliance', { text: '稳赚不赔' }, 'rules', '发现合规问题'],
  ];
  for (const [url, path, payload, source, message] of rows) {
    const answer = await post(url, payload, { ...admin, 'accept-language': 'zh-CN' });
    assert.equal(answer.statusCode, 200, answer.body);
    assertDeclared(app, `POST ${AI}${path}`, 200, answer.json());
    assert.deepEqual([answer.json().data.source, answer.json().message], [source, message]);
    const english = await post(url, { ...payload, unknownField: 1 });
    assert.equal(english.statusCode, 200, 'unknown input is ignored');
    assert.doesNotMatch(english.json().message, /\p{Script=Han}/u);
  }
});

test('scripts learn from a call; compliance reads one, masked for a viewer', async () => {
  fakes.intelligence.answer = async () => 'no JSON';
  const before = fakes.intelligence.asked.length;
  await post(`${AI}/generate-script`, { scenario: 'callback', callId: RECORD });
  assert.match(fakes.intelligence.asked[before]?.user ?? '', /Caller: My number is 138\*{4}8000/);
  fakes.intelligence.answer = null;
  const id = '99999999-9999-4999-8999-999999999997';
  const content = 'You cannot lose money, call 13800138000 or mail somebody@example.com, shut up';
  fakes.records.set(
    id,
    makeRecord({ id, messages: [{ role: 'assistant', content, timestamp: 1767225603 }] }),
  );
  for (const headers of [admin, viewer]) {
    const { data } = (await post(`${AI}/check-compliance`, { callId: id }, headers)).json();
    const read = await app.inject({ url: `/api/v1/call-records/${id}`, headers });
    const text: string = read.json().data.messages[0].content;
    assert.deepEqual(
      data.issues.map((issue: { text: string; start: number; end: number }) => [
        issue.text,
        text.slice(issue.start, issue.end),
      ]),
      [
        ['You cannot lose money', 'You cannot lose money'],
        ['shut up', 'shut up'],
      ],
    );
    assert.equal(text.includes('somebody@'), headers === admin);
  }
  fakes.records.delete(id);
});

test('bad input, roles and states', async () => {
  fakes.records.set(EMPTY, makeRecord({ id: EMPTY, messages: [] }));
  const bound = { authorization: `Bearer ${fakes.addKey({ agentIds: [OTHER_AGENT] })}` };
  const stranger = { authorization: `Bearer ${fakes.addKey({ accountId: OTHER_ACCOUNT })}` };
  const summary = (id: string): string => `/api/v1/call-records/${id}/generate-summary`;
  const analyse = (id: string): string => `${AI}/analyze/${id}`;
  const check = `${AI}/check-compliance`;
  const script = `${AI}/generate-script`;
  type Row = [string, object | undefined, Record<string, string>, number, string, string?];
  const rows: Row[] = [
    [summary('x'), {}, admin, 400, 'VALIDATION_FAILED', '/id'],
    [summary(RECORD), { language: 'fr' }, admin, 400, 'VALIDATION_FAILED', '/language'],
    [summary(RECORD), { lang: 'en' }, admin, 400, 'VALIDATION_FAILED', '/lang'],
    [`${summary(RECORD)}?a=1`, {}, admin, 400, 'VALIDATION_FAILED', '?a'],
    [summary(MISSING), {}, admin, 404, 'NOT_FOUND'],
    [summary(RECORD), {}, stranger, 404, 'NOT_FOUND'],
    [summary(RECORD), {}, bound, 404, 'NOT_FOUND'],
    [summary(RECORD), {}, viewer, 403, 'FORBIDDEN'],
    [summary(LIVE), {}, admin, 409, 'CALL_LIVE'],
    [summary(EMPTY), {}, admin, 422, 'NO_MESSAGES'],
    [analyse('x'), {}, admin, 400, 'VALIDATION_FAILED', '/callId'],
    [analyse(RECORD), { language: 7 }, admin, 400, 'VALIDATION_FAILED', '/language'],
    [analyse(MISSING), {}, admin, 404, 'NOT_FOUND'],
    [analyse(RECORD), {}, stranger, 404, 'NOT_FOUND'],
    [analyse(RECORD), {}, bound, 404, 'NOT_FOUND'],
    [analyse(RECORD), {}, viewer, 403, 'FORBIDDEN'],
    [analyse(LIVE), {}, admin, 409, 'CALL_LIVE'],
    [analyse(EMPTY), {}, admin, 422, 'NO_MESSAGES'],
    [script, {}, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [script, undefined, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [script, { scenario: '' }, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [script, { scenario: '  ' }, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [script, { scenario: 'x'.repeat(501) }, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [script, { scenario: 'a\0b' }, admin, 400, 'VALIDATION_FAILED', '/scenario'],
    [
      script,
      { scenario: 'x', currentScript: 'x'.repeat(20_001) },
      admin,
      400,
      'VALIDATION_FAILED',
      '/currentScript',
    ],
    [script, { scenario: 'x', callId: 'y' }, admin, 400, 'VALIDATION_FAILED', '/callId'],
    [script, { scenario: 'x', callId: MISSING }, admin, 422, 'REFERENCE_NOT_FOUND', '/callId'],
    [script, { scenario: 'x', callId: RECORD }, stranger, 422, 'REFERENCE_NOT_FOUND', '/callId'],
    [script, { scenario: 'x', callId: RECORD }, bound, 422, 'REFERENCE_NOT_FOUND', '/callId'],
    [script, { scenario: 'x' }, viewer, 403, 'FORBIDDEN'],
    [check, {}, admin, 400, 'VALIDATION_FAILED', '/text'],
    [check, { text: '' }, admin, 400, 'VALIDATION_FAILED', '/text'],
    [check, { text: 5 }, admin, 400, 'VALIDATION_FAILED', '/text'],
    [check, { text: 'x'.repeat(20_001) }, admin, 400, 'VALIDATION_FAILED', '/text'],
    [check, { text: 'x', callId: RECORD }, admin, 400, 'VALIDATION_FAILED', '/callId'],
    [check, { callId: MISSING }, viewer, 422, 'REFERENCE_NOT_FOUND', '/callId'],
    [check, { callId: RECORD }, stranger, 422, 'REFERENCE_NOT_FOUND', '/callId'],
    [check, { callId: EMPTY }, viewer, 422, 'NO_MESSAGES'],
    [check, { text: 'x' }, {}, 401, 'UNAUTHENTICATED'],
  ];
  for (const [url, payload, headers, status, code, path] of rows) {
    const answer = await post(url, payload, headers);
    const name = `${url} ${JSON.stringify(payload)?.slice(0, 80)}`;
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code], name);
    if (path !== undefined) assert.equal(answer.json().error.details[0].path, path, name);
  }
  fakes.records.delete(EMPTY);
});

test('the database away is 503, a viewer’s check of a text is not touched by it', async () => {
  fakes.storeError = new AppError('E_DATABASE_UNREACHABLE', 'away');
  assert.equal((await post(SUMMARY)).json().error.code, 'UNAVAILABLE');
  assert.equal((await post(`${AI}/check-compliance`, { text: 'fine' }, viewer)).statusCode, 200);
  fakes.storeError = null;
});

// ---- Speech to text ----

const STT = `${AI}/speech-to-text`;
const heard = (pcm: Int16Array, rateHz: number) => ({
  ...{ text: `${[...pcm].join(' ')} at ${rateHz}`, confidence: null, durationMs: 1, vendor: 'v' },
  segments: [{ text: 'x', startMs: 0, endMs: 1, confidence: 0.5 }],
});

function wav(samples: readonly number[], rateHz = 8_000, codec = 1): Buffer {
  const bytes = Buffer.alloc(44 + samples.length * 2);
  bytes.write('RIFF', 0).valueOf();
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(codec, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(rateHz, 24);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(samples.length * 2, 40);
  for (const [at, sample] of samples.entries()) bytes.writeInt16LE(sample, 44 + at * 2);
  return bytes;
}

type Part = { name: string; value: string | Buffer; filename?: string; type?: string };

function form(...parts: Part[]): { payload: Buffer; type: string } {
  const chunks = parts.flatMap(({ name, value, filename, type }) => [
    Buffer.from(
      `--edge\r\nContent-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}\r\n${type === undefined ? '' : `Content-Type: ${type}\r\n`}\r\n`,
    ),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ]);
  const payload = Buffer.concat([...chunks, Buffer.from('--edge--\r\n')]);
  return { payload, type: 'multipart/form-data; boundary=edge' };
}

async function upload(payload: Buffer | object, type: string, query = '') {
  return app.inject({
    ...{ method: 'POST', url: STT + query, headers: { ...admin, 'content-type': type }, payload },
  });
}

test('a recording in every form', async () => {
  fakes.intelligence.hear = async (pcm, rateHz) => heard(pcm, rateHz);
  const file = { name: 'file', filename: 'a.wav', type: 'audio/wav', value: wav([1, -2]) };
  const raw = { name: 'file', filename: 'a.pcm', value: Buffer.from([1, 0, 2, 0]) };
  const rate = { name: 'sampleRate', value: '44100' };
  const base64 = wav([1, -2], 16_000).toString('base64');
  const rows: [string, Buffer | object, string, string, string][] = [
    ['WAV', wav([1, -2]), 'audio/wav', '', '1 -2 at 8000'],
    ['WAV, another name', wav([1, -2]), 'audio/x-wav', '?sampleRate=44100', '1 -2 at 8000'],
    ['PCM', Buffer.from([1, 0, 2, 0]), 'audio/pcm', '', '1 2 at 16000'],
    ['PCM with a rate', Buffer.from([1, 0, 2, 0]), 'audio/pcm', '?sampleRate=8000', '1 2 at 8000'],
    ['PCM, its rate in the type', Buffer.from([1, 0]), 'audio/pcm;rate=24000', '', '1 at 24000'],
    ['both rates', Buffer.from([1, 0]), 'audio/pcm;rate=24000', '?sampleRate=8000', '1 at 8000'],
    ['JSON', { audio: base64 }, 'application/json', '', '1 -2 at 16000'],
    [
      'JSON, PCM',
      { audio: 'AQACAA==', format: 'pcm', sampleRate: 8_000 },
      'application/json',
      '',
      '1 2 at 8000',
    ],
    ['a form', form(file).payload, form().type, '', '1 -2 at 8000'],
    ['a form of PCM', form(raw, rate).payload, form().type, '', '1 2 at 44100'],
    ['fields before the file', form(rate, raw).payload, form().type, '', '1 2 at 44100'],
  ];
  for (const [name, payload, type, query, text] of rows) {
    const answer = await upload(payload, type, query);
    assert.equal(answer.statusCode, 200, `${name}: ${answer.body}`);
    assertDeclared(app, `POST ${STT}`, 200, answer.json());
    assert.equal(answer.json().data.text, text, name);
  }
});

test('uploads that are refused', async () => {
  fakes.intelligence.hear = async (pcm, rateHz) => heard(pcm, rateHz);
  const json = 'application/json';
  const long = Buffer.alloc(2 * 4_000 * 301);
  const file = { name: 'file', filename: 'a.wav', value: wav([1]) };
  const huge = Buffer.alloc(25 * 1024 * 1024 + 1);
  const rows: [string, Buffer | object, string, string, number, string, string?][] = [
    ['not WAV', Buffer.from('no sound at all'), 'audio/wav', '', 400, 'wav', ''],
    ['MP3 in WAV', wav([1], 8_000, 0x55), 'audio/wav', '', 400, 'codec', ''],
    ['no samples', wav([]), 'audio/wav', '', 400, 'empty', ''],
    ['nothing', Buffer.alloc(0), 'audio/pcm', '', 400, 'empty', ''],
    ['too long', long, 'audio/pcm', '?sampleRate=4000', 400, 'seconds', ''],
    [
      'a rate too high',
      Buffer.alloc(4),
      'audio/pcm',
      '?sampleRate=999999',
      400,
      'maximum',
      '?sampleRate',
    ],
    [
      'a rate that is none',
      Buffer.alloc(4),
      'audio/pcm',
      '?sampleRate=x',
      400,
      'type',
      '?sampleRate',
    ],
    [
      'a language that is none',
      Buffer.alloc(4),
      'audio/pcm',
      '?language=xx',
      400,
      'enum',
      '?language',
    ],
    ['no audio', {}, json, '', 400, 'required', '/audio'],
    ['no Base64', { audio: '!!!!' }, json, '', 400, 'base64', '/audio'],
    ['padding alone', { audio: 'A===' }, json, '', 400, 'base64', '/audio'],
    ['nothing but padding', { audio: '====' }, json, '', 400, 'base64', '/audio'],
    ['Base64 for addresses', { audio: 'AQ-_' }, json, '', 400, 'base64', '/audio'],
    ['Base64 cut', { audio: 'AQACA' }, json, '', 400, 'base64', '/audio'],
    ['no WAV in JSON', { audio: 'AQACAA==' }, json, '', 400, 'wav', '/audio'],
    ['another format', { audio: 'AQAC', format: 'mp3' }, json, '', 400, 'enum', '/format'],
    [
      'no file',
      form({ name: 'language', value: 'zh' }).payload,
      form().type,
      '',
      400,
      'required',
      '/file',
    ],
    [
      'another name',
      form({ ...file, name: 'audio' }).payload,
      form().type,
      '',
      400,
      'unknown',
      '/audio',
    ],
    [
      'a bad field',
      form(file, { name: 'language', value: 'xx' }).payload,
      form().type,
      '',
      400,
      'enum',
      '/language',
    ],
    [
      'a bad rate',
      form(file, { name: 'sampleRate', value: '1e4' }).payload,
      form().type,
      '',
      400,
      'type',
      '/sampleRate',
    ],
    ['half a form', form(file).payload.subarray(0, 90), form().type, '', 400, 'form', ''],
    ['no edge', form(file).payload, 'multipart/form-data', '', 400, 'form', ''],
  ];
  for (const [name, payload, type, query, status, rule, path] of rows) {
    const answer = await upload(payload, type, query);
    const { error } = answer.json();
    assert.deepEqual(
      [answer.statusCode, error.code],
      [status, 'VALIDATION_FAILED'],
      `${name}: ${answer.body}`,
    );
    assert.deepEqual([error.details[0].rule, error.details[0].path], [rule, path], name);
  }
  const others: [string, Buffer | object, string, number, string][] = [
    ['too large', huge, 'audio/wav', 413, 'PAYLOAD_TOO_LARGE'],
    [
      'too large a file',
      form({ ...file, value: huge }).payload,
      form().type,
      413,
      'PAYLOAD_TOO_LARGE',
    ],
    ['two files', form(file, file).payload, form().type, 413, 'PAYLOAD_TOO_LARGE'],
    ['another type', Buffer.from('x'), 'audio/mpeg', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['big-endian', Buffer.from('xx'), 'audio/l16', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['broken JSON', Buffer.from('{'), json, 400, 'INVALID_JSON'],
  ];
  for (const [name, payload, type, status, code] of others) {
    const answer = await upload(payload, type);
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code], name);
  }
  const elsewhere = await app.inject({
    ...{ method: 'POST', url: SUMMARY, payload: form(file).payload },
    headers: { ...admin, 'content-type': form().type },
  });
  assert.equal(elsewhere.statusCode, 415, 'no other route takes forms');
});

test('what the vendor does', async () => {
  const rows: [AppError | null, number, string][] = [
    [null, 422, 'PROVIDER_NOT_CONFIGURED'],
    [new AppError('E_CONFIG', 'no such vendor'), 422, 'PROVIDER_NOT_CONFIGURED'],
    [new AppError('E_PROVIDER_AUTH', 'bad key'), 502, 'PROVIDER_REJECTED'],
    [new AppError('E_PROVIDER_QUOTA', 'too many'), 502, 'PROVIDER_REJECTED'],
    [new AppError('E_PROVIDER_SERVER', 'broken'), 504, 'PROVIDER_TIMEOUT'],
    [new AppError('E_TIMEOUT', 'late'), 504, 'PROVIDER_TIMEOUT'],
    [new AppError('E_TIMEOUT', 'the database took longer'), 503, 'UNAVAILABLE'],
    [new AppError('E_PROVIDER_IDLE', 'asleep'), 504, 'PROVIDER_TIMEOUT'],
    [new AppError('E_INTERNAL', 'ours'), 500, 'INTERNAL'],
  ];
  for (const [error, status, code] of rows) {
    fakes.intelligence.hear = error === null ? null : () => Promise.reject(error);
    const answer = await upload(wav([1]), 'audio/wav');
    assert.deepEqual([answer.statusCode, answer.json().error.code], [status, code]);
    assertDeclared(app, `POST ${STT}`, status, answer.json());
  }
  for (const [details, code] of [
    [{ vendorCode: 'Arrearage', status: 403 }, 'Arrearage'],
    [{ status: 401 }, 'HTTP_401'],
  ] as const) {
    const refusal = new AppError('E_PROVIDER_AUTH', 'bad key', { details });
    fakes.intelligence.hear = () => Promise.reject(refusal);
    const answer = await upload(wav([1]), 'audio/wav');
    assert.deepEqual(answer.json().error.details, { vendor_code: code });
  }
});

test('no more uploads at one time than there is memory for, and none for a client that left', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const signals: (AbortSignal | undefined)[] = [];
  fakes.intelligence.hear = async (pcm, rateHz, signal) => {
    signals.push(signal);
    await promise;
    return heard(pcm, rateHz);
  };
  const all = Array.from({ length: 20 }, () => upload(wav([1]), 'audio/wav'));
  while (signals.length < 16) await new Promise((next) => setImmediate(next));
  assert.equal(signals[0]?.aborted, false);
  resolve();
  const codes = (await Promise.all(all)).map(({ statusCode }) => statusCode);
  assert.deepEqual(
    [codes.filter((code) => code === 200).length, codes.filter((code) => code === 503).length],
    [16, 4],
  );
  assert.equal(signals[0]?.aborted, true, 'whoever waits no more is not worked for');
  assert.equal(
    (await upload(wav([1]), 'audio/wav')).statusCode,
    200,
    'their places are free again',
  );
});
