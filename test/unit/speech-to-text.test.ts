/** Uploaded recordings (contract 2.6 row 11): WAV in all its forms, sample rates, utterances, a recogniser that fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock, systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { readPcm, readWav } from '#lib/wav-read.ts';
import { toTelephoneRate } from '#media/codec/resample.ts';
import type { SttEvent, SttProvider } from '#providers/contract.ts';
import { createLocalStt } from '#providers/local/stt.ts';
import { parseSimScript } from '#providers/sim/script.ts';
import { createSimStt } from '#providers/sim/stt.ts';
import { createSpeechToText } from '#sessions/speech-to-text.ts';

const ACCOUNT = '11111111-1111-4111-8111-111111111111';

type WavParts = {
  readonly codec?: number;
  readonly channels?: number;
  readonly rateHz?: number;
  readonly bits?: number;
  readonly samples?: readonly number[];
  readonly before?: Buffer;
  readonly dataBytes?: number;
  readonly subFormat?: number;
};

function wav(parts: WavParts = {}): Buffer {
  const { codec = 1, channels = 1, rateHz = 8_000, bits = 16, samples = [1, -2, 3, -4] } = parts;
  const { before = Buffer.alloc(0), subFormat } = parts;
  const format = Buffer.alloc(subFormat === undefined ? 16 : 40);
  format.writeUInt16LE(codec, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(rateHz, 4);
  format.writeUInt32LE(rateHz * channels * 2, 8);
  format.writeUInt16LE(channels * 2, 12);
  format.writeUInt16LE(bits, 14);
  if (subFormat !== undefined) format.writeUInt16LE(subFormat, 24);
  const data = Buffer.from(Int16Array.from(samples).buffer);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(parts.dataBytes ?? data.length);
  const formatSize = Buffer.alloc(4);
  formatSize.writeUInt32LE(format.length);
  return Buffer.concat([
    Buffer.from('RIFF\0\0\0\0WAVE'),
    ...[before, Buffer.from('fmt '), formatSize, format],
    ...[Buffer.from('data'), size, data],
  ]);
}

test('WAV: what is read', () => {
  const rows: [string, Buffer, number[], number][] = [
    ['mono', wav(), [1, -2, 3, -4], 8_000],
    [
      'stereo becomes the mean',
      wav({ channels: 2, samples: [10, 20, -10, -20] }),
      [15, -15],
      8_000,
    ],
    ['16 kHz', wav({ rateHz: 16_000 }), [1, -2, 3, -4], 16_000],
    ['extensible', wav({ codec: 0xfffe, subFormat: 1 }), [1, -2, 3, -4], 8_000],
    [
      'other chunks before',
      wav({ before: Buffer.from('LIST\x03\0\0\0abc\0') }),
      [1, -2, 3, -4],
      8_000,
    ],
    ['a stream’s open length', wav({ dataBytes: 0xffffffff }), [1, -2, 3, -4], 8_000],
    ['a length of 0', wav({ dataBytes: 0 }), [1, -2, 3, -4], 8_000],
    ['a length beyond the end', wav({ dataBytes: 1_000 }), [1, -2, 3, -4], 8_000],
    ['cut in a sample', wav().subarray(0, 51), [1, -2, 3], 8_000],
  ];
  for (const [name, bytes, samples, rateHz] of rows) {
    const read = readWav(bytes);
    assert.ok(read.ok, name);
    assert.deepEqual([[...read.pcm], read.rateHz], [samples, rateHz], name);
  }
  const odd = Buffer.concat([Buffer.from([9]), wav()]).subarray(1);
  assert.equal(readWav(odd).ok, true, 'at an odd address');
});

test('WAV: what is refused, and what it is instead', () => {
  const rows: [string, Buffer, string, string | null][] = [
    ['empty', Buffer.alloc(0), 'wav', null],
    ['other', Buffer.from('OggS and more bytes'), 'wav', null],
    ['header alone', Buffer.from('RIFF\0\0\0\0WAVE'), 'wav', null],
    ['no format', Buffer.from('RIFF\0\0\0\0WAVEdata\x02\0\0\0ab'), 'wav', null],
    ['A-law', wav({ codec: 6, bits: 8 }), 'codec', 'A-law'],
    ['mu-law', wav({ codec: 7, bits: 8 }), 'codec', 'mu-law'],
    ['float', wav({ codec: 3, bits: 32 }), 'codec', 'IEEE float'],
    ['MP3', wav({ codec: 0x55 }), 'codec', 'MP3'],
    ['unknown', wav({ codec: 0x1234 }), 'codec', 'format 4660'],
    ['extensible float', wav({ codec: 0xfffe, subFormat: 3 }), 'codec', 'IEEE float'],
    ['8 bit', wav({ bits: 8 }), 'codec', '8-bit PCM'],
    ['24 bit', wav({ bits: 24 }), 'codec', '24-bit PCM'],
    ['no channel', wav({ channels: 0 }), 'channels', '0'],
    ['six channels', wav({ channels: 6 }), 'channels', '6'],
    ['slow', wav({ rateHz: 100 }), 'sample_rate', '100'],
    ['fast', wav({ rateHz: 1_000_000 }), 'sample_rate', '1000000'],
    ['no sound', wav({ samples: [] }), 'empty', null],
  ];
  for (const [name, bytes, fault, found] of rows) {
    assert.deepEqual(readWav(bytes), { ok: false, fault, found }, name);
  }
});

test('no bytes break the WAV reader', () => {
  const whole = wav({ channels: 2, samples: Array.from({ length: 64 }, (_, at) => at) });
  for (let cut = 0; cut < whole.length; cut++) readWav(whole.subarray(0, cut));
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 0xff, 0x7f]) {
      const bytes = Buffer.from(whole);
      bytes[at] = value;
      readWav(bytes);
    }
  }
  assert.deepEqual([...readPcm(Uint8Array.of(1, 0, 2))], [1], 'an odd byte is no sample');
});

function tone(rateHz: number, hz: number, seconds: number): Int16Array {
  return Int16Array.from({ length: rateHz * seconds }, (_, at) =>
    Math.round(8_000 * Math.sin((2 * Math.PI * hz * at) / rateHz)),
  );
}

test('sample rates become 8 kHz, in step and in shape', async () => {
  const wanted = tone(8_000, 440, 1);
  for (const rateHz of [16_000, 44_100, 48_000, 11_025, 22_050]) {
    const made = await toTelephoneRate(tone(rateHz, 440, 1), rateHz);
    assert.equal(made.length, 8_000, `${rateHz}`);
    let fault = 0;
    for (let at = 200; at < 7_800; at++) {
      fault = Math.max(fault, Math.abs((made[at] ?? 0) - (wanted[at] ?? 0)));
    }
    assert.ok(fault < 400, `${rateHz}: off by ${fault} of 8000`);
  }
  const same = tone(8_000, 440, 0.1);
  assert.equal(await toTelephoneRate(same, 8_000), same);
  assert.equal((await toTelephoneRate(new Int16Array(0), 16_000)).length, 0);
});

/** Tones with the utterance's number, then something with the level of speech. */
function spoken(...ids: number[]): Int16Array {
  const parts = ids.flatMap((id) => [
    new Int16Array(4_000),
    encodeUtteranceId(id),
    Int16Array.from({ length: 6_400 }, (_, i) => {
      const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8_000);
      const voice =
        Math.sin((2 * Math.PI * 180 * i) / 8_000) + 0.5 * Math.sin((2 * Math.PI * 720 * i) / 8_000);
      return Math.round(6_000 * envelope * voice);
    }),
    new Int16Array(8_000),
  ]);
  const all = new Int16Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const script = parseSimScript({ utterances: { '1': 'I want a refund.', '2': 'Thank you.' } });

test('utterances are read one by one, with their places', async () => {
  const stt = createSimStt({ script, clock: systemClock });
  const speech = createSpeechToText({
    sttFor: async () => ({ stt, language: 'en' }),
    clock: systemClock,
  });
  const pcm = spoken(1, 2);
  const heard = await speech.recognise(ACCOUNT, pcm, 8_000, null);
  assert.equal(heard?.text, 'I want a refund. Thank you.');
  assert.deepEqual(
    [heard.confidence, heard.vendor, heard.durationMs],
    [1, 'sim', Math.round(pcm.length / 8)],
  );
  assert.equal(heard.segments.length, 2);
  const [first, second] = heard.segments;
  assert.ok((first?.startMs ?? 0) >= 400 && (first?.endMs ?? 0) > (first?.startMs ?? 0));
  assert.ok((second?.startMs ?? 0) > (first?.endMs ?? 0));
  assert.ok((second?.endMs ?? 0) <= heard.durationMs);
  const silent = await speech.recognise(ACCOUNT, new Int16Array(16_000), 8_000, null);
  assert.deepEqual([silent?.text, silent?.segments, silent?.confidence], ['', [], null]);
});

test('a recogniser that does not read is none', async () => {
  const stt = createLocalStt();
  const sttFor = async () => ({ stt, language: 'zh' }) as const;
  const speech = createSpeechToText({ sttFor, clock: systemClock });
  assert.equal(await speech.recognise(ACCOUNT, spoken(1), 8_000, null), null);
});

type Act = (onEvent: (event: SttEvent) => void) => void;

function scripted(act: Act): { stt: SttProvider; closed: () => number; languages: string[] } {
  let closed = 0;
  const languages: string[] = [];
  const stt: SttProvider = {
    vendor: 'v',
    reads: true,
    open: (call) => {
      languages.push(call.language);
      return {
        push: () => undefined,
        speechStarted: () => undefined,
        speechStopped: () => act((event) => call.onEvent(event)),
        close: () => void closed++,
      };
    },
  };
  return { stt, closed: () => closed, languages };
}

const final = (text: string, more: object = {}): SttEvent => ({
  ...{ type: 'final', text, confidence: null, startMs: null, endMs: null, language: null },
  ...more,
});

test('Chinese runs on, silence between words does not; sessions are closed; the language is handed on', async () => {
  const texts = ['你好', '我要退款。', 'OK', ''];
  const { stt, closed, languages } = scripted((onEvent) => onEvent(final(texts.shift() ?? '')));
  const speech = createSpeechToText({
    sttFor: async () => ({ stt, language: 'en' }),
    clock: systemClock,
  });
  const heard = await speech.recognise(ACCOUNT, spoken(1, 2, 1, 2), 8_000, 'zh');
  assert.equal(heard?.text, '你好我要退款。OK');
  assert.equal(heard.segments.length, 3);
  assert.deepEqual([closed(), languages], [1, ['zh']]);
});

test('nobody waits any more: the recogniser is given up, wherever it is', async () => {
  const mute = scripted(() => left.abort());
  const speech = createSpeechToText({
    sttFor: async () => ({ stt: mute.stt, language: 'en' }),
    clock: systemClock,
  });
  let left = new AbortController();
  const work = speech.recognise(ACCOUNT, spoken(1, 2), 8_000, null, left.signal);
  await assert.rejects(work, { code: 'E_ABORTED' });
  assert.equal(mute.closed(), 1);
  left = new AbortController();
  left.abort();
  const never = speech.recognise(ACCOUNT, spoken(1), 8_000, null, left.signal);
  await assert.rejects(never, { code: 'E_ABORTED' });
  assert.equal(mute.closed(), 1, 'not even begun');
});

test('settings that the database does not give in time', async () => {
  const clock = new SimulatedClock();
  const speech = createSpeechToText({ sttFor: () => new Promise(() => undefined), clock });
  const work = speech.recognise(ACCOUNT, spoken(1), 8_000, null);
  clock.advance(2_000);
  await assert.rejects(work, { code: 'E_TIMEOUT', message: /^the database / });
  assert.equal(clock.pending, 0);
});

test('a recogniser that fails, or never answers', async () => {
  const broken = scripted((onEvent) =>
    onEvent({ type: 'error', error: new AppError('E_PROVIDER_AUTH', 'no') }),
  );
  const failing = createSpeechToText({
    sttFor: async () => ({ stt: broken.stt, language: 'en' }),
    clock: systemClock,
  });
  await assert.rejects(failing.recognise(ACCOUNT, spoken(1), 8_000, null), {
    code: 'E_PROVIDER_AUTH',
  });
  assert.equal(broken.closed(), 1);

  const clock = new SimulatedClock();
  const asked = Promise.withResolvers<void>();
  const mute = scripted(() => asked.resolve());
  const late = createSpeechToText({
    sttFor: async () => ({ stt: mute.stt, language: 'en' }),
    clock,
  });
  const work = late.recognise(ACCOUNT, spoken(1), 8_000, null);
  await asked.promise;
  clock.advance(4_500);
  await assert.rejects(work, { code: 'E_TIMEOUT' });
  while (mute.closed() === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(clock.pending, 0);
});
