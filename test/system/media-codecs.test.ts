/** G.722 and Opus over real sockets: a phone with codecs of its own talks and listens to the engine. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createDecoder, createEncoder } from 'libopus-wasm';
import { silentLog } from '#lib/log.ts';
import { G722Decoder, G722Encoder } from '#media/codec/g722.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { Codec, MediaEvent, MediaOptions, NegotiatedAudio } from '#media/types.ts';
import { concat, find, RtpPhone, sweep, type HeardPacket } from './_rtp-phone.ts';

const engine = createMediaEngine({ rtpPorts: { first: 24_000, last: 24_099 }, log: silentLog });
after(() => engine.close());

const OPTIONS: MediaOptions = {
  callId: 'made-up',
  localAddress: '127.0.0.1',
  recordingPath: null,
  firstRtpTimeoutMs: 30_000,
  rtpTimeoutMs: 15_000,
};

const PAYLOAD_TYPE = 109;

const audioTo = (
  port: number,
  codec: Codec,
  more: Partial<NegotiatedAudio> = {},
): NegotiatedAudio => ({
  codec,
  payloadType: PAYLOAD_TYPE,
  receivePayloadType: PAYLOAD_TYPE,
  dtmfPayloadType: 101,
  remoteAddress: '127.0.0.1',
  remotePort: port,
  send: true,
  receive: true,
  ...more,
});

/** A codec as a phone has it: packets of `ms` out of samples of 8 kHz, and samples out of packets. */
type PhoneCodec = {
  readonly clockHz: number;
  encode(pcm: Int16Array): Uint8Array;
  decode(payload: Uint8Array): Int16Array;
  free(): void;
};

function g722(): PhoneCodec {
  const [encoder, decoder] = [new G722Encoder(), new G722Decoder()];
  return {
    clockHz: 8000,
    encode: (pcm) => {
      const codes = new Uint8Array(pcm.length);
      encoder.encode(pcm, pcm.length, codes);
      return codes;
    },
    decode: (payload) => {
      const pcm = new Int16Array(payload.length);
      decoder.decode(new DataView(payload.buffer, payload.byteOffset, payload.length), pcm);
      return pcm;
    },
    free: () => undefined,
  };
}

/** As a soft phone has it: 48 kHz, stereo in name only. */
async function opus(): Promise<PhoneCodec> {
  const encoder = await createEncoder({ sampleRate: 48_000, channels: 1, bitrate: 64_000 });
  const decoder = await createDecoder({ sampleRate: 48_000, channels: 1 });
  return {
    clockHz: 48_000,
    encode: (pcm) => {
      const wide = Int16Array.from({ length: pcm.length * 6 }, (_, i) => {
        const at = Math.floor(i / 6);
        const [a, b] = [pcm[at] ?? 0, pcm[Math.min(at + 1, pcm.length - 1)] ?? 0];
        return Math.round(a + ((b - a) * (i % 6)) / 6);
      });
      return encoder.encode(wide, { frameSize: wide.length });
    },
    decode: (payload) => decoder.decode(payload).filter((_, i) => i % 6 === 0),
    free: () => {
      encoder.free();
      decoder.free();
    },
  };
}

async function play(
  phone: RtpPhone,
  codec: PhoneCodec,
  pcm: Int16Array,
  ms: number,
  port: number,
  payloadType = PAYLOAD_TYPE,
): Promise<void> {
  const length = ms * 8;
  const startMs = performance.now();
  for (let n = 0; (n + 1) * length <= pcm.length; n++) {
    const waitMs = startMs + n * ms - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const payload = codec.encode(pcm.slice(n * length, (n + 1) * length));
    phone.send(payload, payloadType, (n * length * codec.clockHz) / 8000, port);
  }
}

/** What a phone heard, by time stamp. */
function heard(packets: readonly HeardPacket[], codec: PhoneCodec): Int16Array {
  return concat(...packets.map(({ payload }) => codec.decode(payload)));
}

for (const [name, codec, ms, make] of [
  ['G722', 'G722', 20, g722],
  ['G722 in packets of 30 ms', 'G722', 30, g722],
  ['Opus', 'opus', 20, opus],
  ['Opus in packets of 60 ms', 'opus', 60, opus],
] as const) {
  test(`${name}: what is said is heard, both ways`, async () => {
    const session = await engine.open(OPTIONS);
    const phone = await RtpPhone.open();
    const events: MediaEvent[] = [];
    session.onEvent((event) => events.push(event));
    const coder = await make();
    session.start(audioTo(phone.port, codec, { ptimeMs: ms }));
    const [agent, caller] = [sweep(300, 1500, 800), sweep(1800, 400, 800)];
    session.beginUtterance(1);
    const written = session.write(1, agent);
    session.endUtterance(1);
    await play(
      phone,
      coder,
      concat(new Int16Array(960), caller, new Int16Array(2880)),
      ms,
      session.localPort,
    );
    await written;
    const chunk = new Int16Array(32_000);
    const us = chunk.subarray(0, session.readCaller(chunk));
    const { stats } = await session.close();
    phone.close();
    const there = find(agent, heard(phone.heard, coder)).correlation;
    const here = find(caller, us).correlation;
    coder.free();
    assert.ok(there >= 0.9, `agent: ${there.toFixed(3)}`);
    assert.ok(here >= 0.9, `caller: ${here.toFixed(3)}`);
    assert.equal(stats.codec, codec);
    assert.equal(stats.malformedDropped, 0);
    assert.ok(!events.some(({ type }) => type === 'media.failed'));
    for (const [i, { sequence, timestamp }] of phone.heard.entries()) {
      const first = phone.heard[0] as HeardPacket;
      assert.equal(sequence, (first.sequence + i) & 0xffff);
      assert.equal(timestamp, (first.timestamp + i * ms * (coder.clockHz / 1000)) >>> 0);
    }
    const gaps = phone.heard.slice(1).map(({ atMs }, i) => atMs - (phone.heard[i]?.atMs ?? 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    assert.ok(Math.abs(mean - ms) < 1, `a packet every ${mean.toFixed(1)} ms`);
  });
}

test('from G.711 to Opus and to G.722 in the middle of a call: heard on, both ways', async () => {
  const session = await engine.open(OPTIONS);
  const phone = await RtpPhone.open();
  const events: MediaEvent[] = [];
  session.onEvent((event) => events.push(event));
  const [wide, sub] = [await opus(), g722()];
  const agent = sweep(300, 1200, 1800);
  session.start({ ...audioTo(phone.port, 'PCMU'), payloadType: 0, receivePayloadType: 0 });
  session.beginUtterance(1);
  const written = session.write(1, agent);
  session.endUtterance(1);
  await phone.play(sweep(500, 900, 600), session.localPort);
  session.start(audioTo(phone.port, 'opus'));
  const caller = sweep(1500, 600, 600);
  await play(phone, wide, caller, 20, session.localPort);
  session.start({ ...audioTo(phone.port, 'G722'), payloadType: 9, receivePayloadType: 9 });
  await play(phone, sub, new Int16Array(5600), 20, session.localPort, 9);
  await written;
  const chunk = new Int16Array(32_000);
  const us = chunk.subarray(0, session.readCaller(chunk));
  const { stats } = await session.close();
  phone.close();
  const types = new Set(phone.heard.map(({ payloadType }) => payloadType));
  assert.deepEqual(types, new Set([0, PAYLOAD_TYPE, 9]));
  for (const [i, { sequence }] of phone.heard.entries()) {
    assert.equal(sequence, ((phone.heard[0]?.sequence ?? 0) + i) & 0xffff);
  }
  const pcm = concat(
    ...phone.heard.map(({ payload, payloadType, pcm: plain }) => {
      if (payloadType === 0) return plain;
      return (payloadType === 9 ? sub : wide).decode(payload);
    }),
  );
  wide.free();
  // Each codec by a stretch of its own: another delay each.
  for (const [part, name] of [
    [agent.subarray(800, 4000), 'G.711'],
    [agent.subarray(6400, 8800), 'Opus'],
    [agent.subarray(11_200, 13_600), 'G.722'],
  ] as const) {
    const { correlation } = find(part, pcm);
    assert.ok(correlation >= 0.9, `agent in ${name}: ${correlation.toFixed(3)}`);
  }
  const { correlation } = find(caller.subarray(800, 4000), us);
  assert.ok(correlation >= 0.9, `caller in Opus: ${correlation.toFixed(3)}`);
  assert.equal(stats.malformedDropped, 0);
  assert.equal(stats.codec, 'G722');
  assert.ok(!events.some(({ type }) => type === 'media.failed'));
});

test('a codec that nobody knows: the media of the call ends with the reason, the others go on', async () => {
  const [bad, good] = [await engine.open(OPTIONS), await engine.open(OPTIONS)];
  const phone = await RtpPhone.open();
  const failed = new Promise<string>((resolve) => {
    bad.onEvent((event) => {
      if (event.type === 'media.failed') resolve(event.message);
    });
  });
  good.start(audioTo(phone.port, 'G722'));
  bad.start(audioTo(phone.port, 'G729' as Codec));
  assert.match(await failed, /no codec G729/);
  const before = phone.heard.length;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(phone.heard.length > before);
  await Promise.all([bad.close(), good.close()]);
  phone.close();
});
