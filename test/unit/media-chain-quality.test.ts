/** RTCP and the quality record of a whole chain on a simulated clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByePacket, CompoundPacket, SenderReportPacket } from 'rtp.js/packets';
import { G711 } from '#lib/g711.ts';
import { LossyRing } from '#media/lossy-ring.ts';
import { WEB_AUDIO, WEB_RING_SAMPLES, WebTransport } from '#media/web/web-transport.ts';
import { AUDIO, PHONE, rtp, testChain, type TestChain } from './_media.ts';
import { seeded } from './_noises.ts';

const codes = (value: number): Uint8Array =>
  new Uint8Array(160).fill(G711.PCMU.encode[value & 0xffff] ?? 0);
const SILENCE = codes(0);
const LOUD = codes(8000);

/** A phone that sends one packet per 20 ms of simulated time, unless it is lost. */
function play(
  call: TestChain,
  frames: number,
  payload: Uint8Array,
  isLost: (at: number) => boolean = () => false,
): void {
  for (let at = 0; at < frames; at++) {
    const bytes = rtp({ sequence: 100 + at, timestamp: 9000 + at * 160, payload });
    if (!isLost(at)) call.transport.listener?.(bytes, PHONE.address, PHONE.port);
    call.clock.advance(20);
  }
}

test('RTCP: readable sender reports at their times, and a BYE', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  play(call, 1200, SILENCE);
  await call.chain.close();
  const { rtcp } = call.transport;
  // RFC 3550 6.2: 0.41 to 1.23 of 2.5 s, then of 5 s; the last one is the goodbye.
  assert.ok(rtcp.length >= 5 && rtcp.length <= 13, `${rtcp.length} in 24 s`);
  let beforeMs = -1020;
  for (const [i, { atMs, bytes }] of rtcp.entries()) {
    const packets = new CompoundPacket(new DataView(bytes.buffer)).getPackets();
    const [report] = packets;
    assert.ok(report instanceof SenderReportPacket);
    assert.ok(Math.abs(report.getPacketCount() - atMs / 20) <= 2);
    assert.equal(report.getReports()[0]?.getSsrc(), 7);
    assert.equal(report.getReports()[0]?.getTotalLost(), 0);
    const isLast = i === rtcp.length - 1;
    assert.equal(packets.at(-1) instanceof ByePacket, isLast);
    if (!isLast)
      assert.ok(atMs - beforeMs >= 2040 && atMs - beforeMs <= 6200, `${beforeMs} ${atMs}`);
    beforeMs = atMs;
  }
});

test("a call on hold goes on reporting, without a sender's part", async () => {
  const call = testChain();
  call.chain.start({ ...AUDIO, send: false });
  play(call, 600, SILENCE);
  await call.chain.close();
  assert.equal(call.transport.sent.length, 0);
  assert.ok(call.transport.rtcp.length >= 2);
  for (const { bytes } of call.transport.rtcp) assert.equal(bytes[1], 201);
});

test('the record of a call: what was lost, heard and said in RTCP', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  // Every 25th packet is lost on its way.
  play(call, 1000, LOUD, (at) => at % 25 === 24);
  const { address, port } = PHONE;
  const stray = Uint8Array.of(0x80, 201, 0, 1, 0, 0, 0, 7);
  call.transport.rtcpListener?.(stray, '192.0.2.66', port + 1, call.clock.now());
  call.transport.rtcpListener?.(stray.subarray(0, 4), address, port + 1, call.clock.now());
  const { stats } = await call.chain.close();
  assert.deepEqual([stats.rtcpForeign, stats.rtcpMalformed], [1, 1]);
  const { quality } = stats;
  assert.ok(quality);
  assert.ok(Math.abs(quality.lossPct - 4) < 0.2, `${quality.lossPct} %`);
  assert.ok(Math.abs(quality.mos - 3.96) < 0.1, `${quality.mos}`);
  assert.equal(quality.fault, 'loss');
  assert.ok((quality.noiseDbov ?? -99) > -20, 'one level all along is no voice');
});

test('a phone under other keys than ours is named, not only that nothing was heard', async () => {
  const key = (fill: number) => ({
    suite: 'AES_CM_128_HMAC_SHA1_80' as const,
    key: new Uint8Array(16).fill(fill),
    salt: new Uint8Array(14).fill(fill),
  });
  const call = testChain();
  call.chain.start({ ...AUDIO, srtp: { send: key(1), receive: key(2) } });
  play(call, 150, LOUD);
  const { stats } = await call.chain.close();
  assert.deepEqual([stats.srtp?.forged, stats.srtp?.forgedRun], [150, 150]);
  assert.equal(stats.dropped?.srtp, 150);
  assert.equal(stats.packetsReceived, 0);
  assert.deepEqual(stats.quality?.faults, ['srtp_mismatch', 'one_way_audio']);
  assert.deepEqual([stats.quality?.fault, stats.quality?.mos], ['srtp_mismatch', 1]);
});

test('a web client: nothing of it is lost on the way, and one that says nothing is named', async () => {
  for (const [isSpeaking, faults] of [
    [true, []],
    [false, ['silence']],
  ] as const) {
    const uplink = LossyRing.create(WEB_RING_SAMPLES);
    const downlink = LossyRing.create(WEB_RING_SAMPLES);
    const buffers = { uplink: uplink.buffer, downlink: downlink.buffer };
    const call = testChain({ transport: (pacer) => new WebTransport({ buffers, pacer }) });
    call.chain.start(WEB_AUDIO);
    for (let at = 0; at < 300; at++) {
      if (isSpeaking) uplink.write(noise(at, 5000, 1));
      call.clock.advance(20);
    }
    const { stats } = await call.chain.close();
    assert.deepEqual(stats.quality?.faults, faults);
    assert.deepEqual([stats.quality?.lossPct, stats.quality?.roundTripMs], [0, null]);
    assert.equal(stats.srtp, undefined);
  }
});

const FRAME = 160;

/** Plays what `caller` makes of each frame that has just been sent; the agent says `said`. */
async function talked(
  frames: number,
  said: Int16Array | null,
  caller: (at: number, sent: readonly Int16Array[]) => Int16Array,
): Promise<readonly string[]> {
  const isSpeech = (frame: Int16Array): boolean => frame.some((x) => Math.abs(x) > 100);
  const call = testChain({ isSpeech });
  call.chain.start(AUDIO);
  if (said !== null) {
    call.writer.begin(1);
    void call.writer.write(1, said);
    call.writer.end(1);
  }
  const sent: Int16Array[] = [];
  for (let at = 0; at < frames; at++) {
    const payload = Uint8Array.from(caller(at, sent), (x) => G711.PCMU.encode[x & 0xffff] ?? 0);
    const bytes = rtp({ sequence: 100 + at, timestamp: 9000 + at * FRAME, payload });
    call.transport.listener?.(bytes, PHONE.address, PHONE.port);
    call.clock.advance(20);
    const packet = call.transport.sent.at(-1);
    sent.push(Int16Array.from(packet?.payload ?? [], (x) => G711.PCMU.decode[x] ?? 0));
  }
  const { stats } = await call.chain.close();
  return stats.quality?.faults ?? ['none was made'];
}

function noise(seed: number, peak: number, frames: number): Int16Array {
  const random = seeded(seed);
  return Int16Array.from({ length: frames * FRAME }, () => Math.round((random() * 2 - 1) * peak));
}

test('faults of the sound, each made on purpose and measured by the whole chain', async () => {
  const voice = noise(7, 9000, 600);
  const agent = noise(8, 9000, 350);
  const quiet = new Int16Array(FRAME);
  const part = (pcm: Int16Array, at: number, gain: number): Int16Array =>
    pcm
      .subarray(at * FRAME, (at + 1) * FRAME)
      .map((x) => Math.max(-32_124, Math.min(32_124, x * gain)));
  /** Words of a second and a half with pauses between them. */
  const isWord = (at: number): boolean => at % 100 < 75;
  const say = (gain: number) => (at: number) => (isWord(at) ? part(voice, at, gain) : quiet);
  const rows: [string, Int16Array | null, Parameters<typeof talked>[2], string[]][] = [
    ['a good voice', null, say(1), []],
    ['a muted microphone', null, () => quiet, ['silence']],
    ['12 dB too loud', null, say(8), ['clipping']],
    ['30 dB too low', null, say(0.03), ['low_level']],
    ['both at once', agent, say(1), ['double_talk']],
    [
      'the agent comes back, 100 ms later and 20 dB lower',
      agent,
      (at, sent) => (sent[at - 5] ?? quiet).map((x) => x / 10),
      ['echo'],
    ],
  ];
  for (const [name, said, caller, expected] of rows)
    assert.deepEqual(await talked(400, said, caller), expected, name);
});
