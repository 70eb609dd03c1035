/** The binary frames of Volcengine: the documented bytes, the vendor's own codec, and bytes that lie. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { AppError } from '#lib/errors.ts';
import {
  decodeFrame,
  encodeFrame,
  FLAG,
  FRAME,
  jsonOf,
  jsonPayload,
  textOf,
} from '#providers/volcengine/frame.ts';
import {
  audioFrame,
  bombFrame,
  errorFrame,
  eventFrame,
  lyingFrame,
  readClientFrame,
  resultFrame,
} from '#providers/sim/volcengine-wire.ts';

const SESSION = '75a6126e-427f-49a1-a2c1-621143cb9db3';

function isTyped(error: unknown): boolean {
  return error instanceof AppError && error.code === 'E_PROVIDER_SERVER';
}

test('what the client sends is what the vendor documents, byte for byte', () => {
  const start = encodeFrame({
    ...{ type: FRAME.fullClient, event: 1, isJson: true },
    payload: jsonPayload({}),
  });
  assert.deepEqual([...start], [17, 20, 16, 0, 0, 0, 0, 1, 0, 0, 0, 2, 123, 125]);

  const json = jsonPayload({ dialog: { bot_name: '豆包', dialog_id: '', extra: null } });
  assert.equal(json.length, 60);
  const session = encodeFrame({
    ...{ type: FRAME.fullClient, event: 100, sessionId: SESSION, isJson: true, payload: json },
  });
  assert.deepEqual(
    [...session],
    [17, 20, 16, 0, 0, 0, 0, 100, 0, 0, 0, 36, ...Buffer.from(SESSION), 0, 0, 0, 60, ...json],
  );

  const audio = encodeFrame({
    ...{ type: FRAME.audioClient, event: 200, sessionId: SESSION },
    payload: new Uint8Array(640).fill(7),
  });
  assert.equal(audio.length, 692);
  assert.deepEqual([...audio.subarray(0, 12)], [17, 36, 0, 0, 0, 0, 0, 200, 0, 0, 0, 36]);
  assert.deepEqual([...audio.subarray(48, 53)], [0, 0, 2, 128, 7]);
});

test('the first and the last packet of a recognition are as documented', () => {
  const request = { user: { uid: 'call-1' } };
  const first = encodeFrame({
    ...{ type: FRAME.fullClient, isJson: true, isGzip: true },
    payload: jsonPayload(request),
  });
  assert.deepEqual([...first.subarray(0, 4)], [17, 16, 17, 0]);
  assert.equal(first.readUInt32BE(4), first.length - 8);
  assert.deepEqual(JSON.parse(gunzipSync(first.subarray(8)).toString('utf8')), request);
  const last = encodeFrame({
    ...{ type: FRAME.audioClient, flags: FLAG.last, isGzip: true },
    payload: new Uint8Array(0),
  });
  assert.deepEqual([...last.subarray(0, 4)], [17, 34, 1, 0]);
});

test('the documented frame of sound is read', () => {
  const head = [17, 180, 0, 0, 0, 0, 1, 96, 0, 0, 0, 36, ...Buffer.from(SESSION), 0, 0, 7, 252];
  const sound = Buffer.alloc(2044);
  sound.write('OggS');
  const frame = decodeFrame(Buffer.concat([Buffer.from(head), sound]));
  const { type, event, sessionId, sequence, errorCode, connectId } = frame;
  assert.deepEqual(
    [type, event, sessionId, sequence, errorCode, connectId],
    [FRAME.audioServer, 352, SESSION, null, null, null],
  );
  assert.equal(textOf(frame).slice(0, 4), 'OggS');
});

test('the client reads what the vendor writes', () => {
  const connect = decodeFrame(eventFrame(50, 'c-1', {}));
  assert.deepEqual([connect.event, connect.connectId, connect.sessionId], [50, 'c-1', null]);
  const started = decodeFrame(eventFrame(150, SESSION, { dialog_id: 'd' }));
  assert.deepEqual([started.event, started.sessionId], [150, SESSION]);
  assert.deepEqual(jsonOf(started), { dialog_id: 'd' });
  const sound = decodeFrame(audioFrame(SESSION, Buffer.from([1, 2, 3])));
  assert.deepEqual([...sound.payload], [1, 2, 3]);
  for (const sequence of [1, 77, -3]) {
    const result = decodeFrame(resultFrame(sequence, { result: { text: '好' } }));
    assert.deepEqual([result.sequence, jsonOf(result)], [sequence, { result: { text: '好' } }]);
  }
  const plain = decodeFrame(errorFrame(45000001, 'no'));
  assert.deepEqual([plain.errorCode, plain.event, plain.sessionId], [45000001, null, null]);
  const withEvent = decodeFrame(errorFrame(55000000, 'no', { event: 153, id: SESSION }));
  assert.deepEqual(
    [withEvent.errorCode, withEvent.event, withEvent.sessionId],
    [55000000, 153, SESSION],
  );
});

test('the vendor reads what the client writes', () => {
  const random = seeded(20261121);
  for (let n = 0; n < 300; n++) {
    const payload = Uint8Array.from({ length: random() % 200 }, () => random() % 256);
    const isEvent = n % 3 !== 0;
    const isGzip = random() % 2 === 0;
    const isJson = random() % 2 === 0;
    const event = isEvent ? [1, 2, 100, 101, 200, 501][random() % 6] : undefined;
    const hasSession = event !== undefined && event > 2;
    const sequence = !isEvent && random() % 2 === 0 ? random() : undefined;
    const frame = readClientFrame(
      encodeFrame({
        ...{ type: 1 + (random() % 2), isGzip, isJson, payload },
        ...(event === undefined ? {} : { event }),
        ...(hasSession ? { sessionId: SESSION } : {}),
        ...(sequence === undefined ? {} : { sequence }),
      }),
    );
    assert.deepEqual(
      [frame.event, frame.sessionId, frame.sequence, frame.isGzip, frame.isJson],
      [event ?? null, hasSession ? SESSION : null, sequence ?? null, isGzip, isJson],
    );
    assert.deepEqual([...frame.body], [...payload]);
  }
});

test('a frame cut short at any byte, or with a byte too many, is refused', () => {
  const frames = [
    eventFrame(50, 'c-1', {}),
    eventFrame(150, SESSION, { dialog_id: 'd' }),
    audioFrame(SESSION, Buffer.alloc(64)),
    resultFrame(4, { result: { text: 'x' } }),
    errorFrame(45000001, 'no'),
    errorFrame(45000001, 'no', { event: 599, id: SESSION }),
  ];
  for (const frame of frames) {
    for (let length = 0; length < frame.length; length++) {
      assert.throws(() => decodeFrame(frame.subarray(0, length)), isTyped, `${length} bytes`);
    }
    assert.throws(() => decodeFrame(Buffer.concat([frame, Buffer.from([0])])), isTyped);
  }
});

test('what a frame cannot be is refused by name', () => {
  const sound = audioFrame(SESSION, Buffer.alloc(4));
  const rows: readonly [number, number, RegExp][] = [
    [0, 0x21, /version/],
    [0, 0x10, /version and header size/],
    [0, 0x1f, /header: 56 bytes announced/],
    [1, 0x34, /message type 3/],
    [1, 0xb8, /flags 8/],
    [2, 0x02, /compression 2/],
    [8, 0xff, /session id of/],
    [8 + 4 + 36, 0xff, /payload: 4278190084 bytes announced, 4 there/],
  ];
  for (const [at, value, message] of rows) {
    const bytes = Buffer.from(sound);
    bytes[at] = value;
    assert.throws(() => decodeFrame(bytes), { code: 'E_PROVIDER_SERVER', message });
  }
  assert.throws(() => decodeFrame(lyingFrame(SESSION)), isTyped);
});

test('a longer header is skipped', () => {
  const sound = audioFrame(SESSION, Buffer.from([9, 9]));
  const longer = Buffer.concat([sound.subarray(0, 4), Buffer.alloc(4), sound.subarray(4)]);
  longer[0] = 0x12;
  assert.deepEqual([...decodeFrame(longer).payload], [9, 9]);
});

test('a payload that inflates without end is not inflated', () => {
  const bomb = bombFrame(64 * 1024 * 1024, SESSION);
  assert.ok(bomb.length < 80_000, `${bomb.length} bytes`);
  const before = process.memoryUsage().arrayBuffers;
  for (let n = 0; n < 5; n++) assert.throws(() => decodeFrame(bomb, 1024 * 1024), isTyped);
  assert.ok(process.memoryUsage().arrayBuffers - before < 32 * 1024 * 1024);
  const fits = gzipSync(Buffer.alloc(1024, 0x20));
  const frame = Buffer.concat([Buffer.from([17, 0x90, 17, 0]), Buffer.alloc(4), fits]);
  frame.writeUInt32BE(fits.length, 4);
  assert.equal(decodeFrame(frame, 1024).payload.length, 1024);
  assert.throws(() => decodeFrame(frame, 1023), isTyped);
});

test('payloads that are no object are refused', () => {
  for (const text of ['{"a":', '[1]', '"x"', 'null', '7', '\u0000']) {
    const body = Buffer.from(text);
    const frame = Buffer.concat([Buffer.from([17, 0x90, 16, 0, 0, 0, 0, body.length]), body]);
    assert.throws(() => jsonOf(decodeFrame(frame)), isTyped, text);
  }
  assert.deepEqual(jsonOf(decodeFrame(Buffer.from([17, 0x90, 16, 0, 0, 0, 0, 0]))), {});
});

test('no bytes whatever make the codec throw anything but its own error', () => {
  const seed = 7_654_321;
  const random = seeded(seed);
  const whole = [
    eventFrame(352, SESSION, {}),
    resultFrame(-9, { result: {} }),
    errorFrame(55000031, 'busy', { event: 153, id: SESSION }),
    bombFrame(2_000_000, SESSION),
  ];
  let refused = 0;
  for (let n = 0; n < 6000; n++) {
    const bytes =
      n % 2 === 0
        ? Buffer.from(whole[n % whole.length] as Buffer)
        : Buffer.from(Array.from({ length: random() % 64 }, () => random() % 256));
    for (let flips = random() % 6; flips >= 0 && bytes.length > 0; flips--) {
      bytes[random() % Math.min(bytes.length, 60)] = random() % 256;
    }
    try {
      const frame = decodeFrame(bytes, 1_000_000);
      assert.ok(frame.payload.length <= 1_000_000);
      jsonOf(frame);
    } catch (error) {
      refused += 1;
      assert.ok(isTyped(error), `seed ${seed}, round ${n}: ${String(error)}`);
    }
  }
  assert.ok(refused > 3000, `${refused} refused`);
});

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state >> 3;
  };
}
