/** A call's quality from end to end on a simulated clock: RTCP both ways, sources, windows, the record. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtcpReceiverInfo, RtcpRrPacket, RtcpSenderInfo, RtcpSrPacket } from 'werift-rtp';
import { SimulatedClock } from '#lib/clock.ts';
import { CallQualityMeter } from '#media/quality/call-quality.ts';
import { CODEC_IMPAIRMENTS, mosOf, rFactor } from '#media/quality/e-model.ts';
import { RtcpReader } from '#media/rtcp/rtcp-reader.ts';
import type { VoipMetrics } from '#media/rtcp/rtcp-xr.ts';
import { RtpSequence } from '#media/rtp/rtp-sequence.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { AUDIO, FakeTransport, PHONE } from './_media.ts';
import { seeded } from './_noises.ts';

const OURS = 0x0102_0304;
const THEIRS = 0x0a0b_0c0d;
const RTCP_PORT = PHONE.port + 1;
const near = (actual: number | undefined | null, expected: number, within: number): void =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= within, `${actual}, not ${expected}`);

/** One call: time passes by frames, packets come and go. */
function rig(audio: Partial<NegotiatedAudio> = {}) {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 21) + 0.5);
  const transport = new FakeTransport(clock);
  const sequence = new RtpSequence();
  const sender = { ssrc: OURS, timestamp: 0, packetsSent: 0, octetsSent: 0, streamPackets: 0 };
  let dropped = 0;
  /** What the jitter buffer holds, and has held in all. */
  const buffer = { ms: 60, held: 0, sumMs: 0 };
  const parts = {
    clock,
    transport,
    sequence,
    sender,
    cname: 'c',
    held: () => buffer.held,
    meanHeldMs: () => buffer.sumMs / Math.max(1, buffer.held),
    clockHz: () => 8000,
    dropped: () => dropped,
  };
  const meter = new CallQualityMeter({ ...parts, random: () => 0.5 });
  let number = 500;
  meter.start(clock.now());
  meter.negotiate({ ...AUDIO, ...audio });
  /** `frames` of call time; `fate` of the caller's packet of each: 1 comes, 0 is lost, -1 is late, NaN: none is sent. */
  const run = (frames: number, fate: (frame: number) => number = () => 1): void => {
    for (let frame = 0; frame < frames; frame++) {
      clock.advance(20);
      sender.packetsSent++;
      sender.streamPackets++;
      sender.octetsSent += 160;
      sender.timestamp += 160;
      buffer.held++;
      buffer.sumMs += buffer.ms;
      const what = fate(frame);
      if (!Number.isNaN(what)) number++;
      if (what === 1 || what === -1) {
        sequence.note(THEIRS, number & 0xffff, number * 160, clock.now() * 8);
        meter.packet(number & 0xffff, 160, what === -1);
      }
      meter.tick(clock.now(), true, true);
    }
  };
  const receive = (bytes: Uint8Array, port = RTCP_PORT, address = PHONE.address): void =>
    transport.rtcpListener?.(bytes, address, port, clock.now());
  const drop = (): void => void dropped++;
  return { clock, transport, sequence, sender, meter, run, receive, drop, buffer };
}

type Rig = ReturnType<typeof rig>;

function blockOf(fields: Partial<RtcpReceiverInfo>): RtcpReceiverInfo {
  const none = { fractionLost: 0, packetsLost: 0, highestSequence: 1, jitter: 0, lsr: 0, dlsr: 0 };
  return new RtcpReceiverInfo({ ssrc: OURS, ...none, ...fields });
}

const report = (fields: Partial<RtcpReceiverInfo> = {}, ssrc = THEIRS): Uint8Array =>
  new RtcpRrPacket({ ssrc, reports: [blockOf(fields)] }).serialize();

/** Our reports, as the other side reads them. */
function sent({ transport }: Rig) {
  return transport.rtcp.map(({ bytes, atMs }) => {
    const out = {
      atMs,
      ntp: null as number | null,
      lsr: 0,
      dlsr: 0,
      lost: 0,
      fraction: 0,
      bye: false,
    };
    const seen = { ...out, voip: null as VoipMetrics | null };
    const isRead = new RtcpReader().read(bytes, {
      report: (_ssrc, ntp) => (seen.ntp = ntp),
      reception: (_from, block) => {
        seen.lsr = block.lastReport;
        seen.dlsr = block.delaySinceReport;
        seen.lost = block.totalLost;
        seen.fraction = block.fractionLost;
      },
      voip: (_from, metrics) => (seen.voip = { ...metrics }),
      bye: () => (seen.bye = true),
    });
    assert.ok(isRead);
    return seen;
  });
}

test('reports go out on the tick, the first one early, and a goodbye ends them', () => {
  const call = rig();
  call.run(1500);
  call.meter.end(call.clock.now());
  call.meter.rtcp.send(true);
  const reports = sent(call);
  // 2500 / 1.218 = 2052 ms, then 4104 ms each: on the frame after.
  assert.deepEqual(
    reports.slice(0, 4).map(({ atMs }) => atMs),
    [2060, 6180, 10_300, 14_420],
  );
  assert.deepEqual(
    reports.map(({ bye }) => bye),
    [...reports.slice(1).map(() => false), true],
  );
  assert.ok(reports.every(({ ntp }) => ntp !== null));
  assert.equal(reports.at(-1)?.voip?.mosCq, 4.4);
});

test('who has not sent since the report before last is no sender', () => {
  const call = rig();
  call.run(400);
  const before = call.transport.rtcp.length;
  for (let frame = 0; frame < 1000; frame++) {
    call.clock.advance(20);
    call.meter.tick(call.clock.now(), true, false);
  }
  const isSender = sent(call).map(({ ntp }) => ntp !== null);
  assert.deepEqual(
    isSender.slice(0, before),
    Array.from({ length: before }, () => true),
  );
  assert.equal(isSender.at(-1), false);
});

test('the round trip, from reports the far end answers', () => {
  const call = rig();
  call.run(150);
  assert.equal(call.meter.rtcp.peer.roundTripMs, null);
  const [first] = sent(call);
  assert.ok(first?.ntp);
  // Sent at 2060; held 600 ms by the far end; comes at 3000: 340 ms on the way.
  const dlsr = Math.round(0.6 * 65_536);
  call.receive(report({ lsr: first.ntp, dlsr }));
  near(call.meter.rtcp.peer.roundTripMs, 340, 0.1);
  // An answer to what we never said, and one that would have come before it was sent.
  call.receive(report({ lsr: first.ntp + 1, dlsr: 0 }));
  call.receive(report({ lsr: first.ntp, dlsr: 5 * 65_536 }));
  near(call.meter.rtcp.peer.roundTripMs, 340, 0.1);
  call.run(400);
  near(call.meter.record(550)?.roundTripMs, 340, 0.1);
});

test('our blocks answer the far end: LSR, DLSR, loss since the report before', () => {
  const call = rig();
  call.run(100, (frame) => (frame >= 40 && frame < 50 ? 0 : 1));
  const info = { rtpTimestamp: 1, packetCount: 2, octetCount: 3 };
  const senderInfo = new RtcpSenderInfo({ ...info, ntpTimestamp: 0x1234_5678_9abc_def0n });
  call.receive(new RtcpSrPacket({ ssrc: THEIRS, senderInfo, reports: [] }).serialize());
  call.run(300);
  const [first, second] = sent(call);
  assert.equal(first?.lsr, 0x5678_9abc);
  // It came at 2000, ours left at 2060.
  assert.equal(first?.dlsr, Math.round(0.06 * 65_536));
  assert.equal(first?.lost, 10);
  assert.equal(first?.fraction, Math.floor((10 * 256) / 103));
  assert.deepEqual([second?.lost, second?.fraction], [10, 0]);
  assert.equal(second?.dlsr, Math.round(4.18 * 65_536));
});

test('a clean call, a short one, and one with nothing to judge', () => {
  const call = rig();
  call.run(1000);
  call.meter.end(call.clock.now());
  const record = call.meter.record(1000);
  // 20 ms of packet, 20 of network as long as none is measured, 60 of buffer.
  near(record?.delayMs, 100, 0.01);
  near(record?.mos, 4.36, 0.01);
  assert.equal(record?.mosMin, record?.mos);
  assert.deepEqual(
    [record?.lossPct, record?.fault, record?.far, record?.faults],
    [0, null, null, []],
  );

  const short = rig();
  short.run(60, (frame) => (frame === 30 ? 0 : 1));
  short.meter.end(short.clock.now());
  const brief = short.meter.record(59);
  near(brief?.lossPct, 100 / 60, 0.01);
  near(brief?.mos, 4.19, 0.03);
  assert.equal(brief?.mosMin, brief?.mos);
  assert.equal(brief?.fault, null);

  const refused = rig();
  refused.run(40, () => Number.NaN);
  refused.meter.end(refused.clock.now());
  assert.equal(refused.meter.record(0), null);
});

test('we send and hear nothing: one-way audio, with numbers', () => {
  const call = rig();
  call.run(400, () => Number.NaN);
  call.meter.end(call.clock.now());
  const record = call.meter.record(0);
  assert.deepEqual(
    [record?.fault, record?.mos, record?.mosMin, record?.lossPct, record?.jitterMs],
    ['one_way_audio', 1, 1, 100, 0],
  );
});

test('the score is that of the injected loss, and the worst window is found', () => {
  for (const lossPct of [1, 2, 5, 10]) {
    const random = seeded(lossPct);
    const call = rig();
    call.run(3000, () => (random() * 100 < lossPct ? 0 : 1));
    call.meter.end(call.clock.now());
    const record = call.meter.record(2900);
    const codec = CODEC_IMPAIRMENTS.PCMU;
    const expected = mosOf(rFactor({ codec, lossPct, burstRatio: 1, delayMs: 100 }));
    near(record?.mos, expected, 0.15);
    near(record?.lossPct, lossPct, 1.5);
    assert.ok((record?.mosMin ?? 5) <= (record?.mos ?? 0));
    assert.equal(record?.fault, lossPct >= 3 ? 'loss' : null);
  }
  // Half a minute of which five seconds were bad.
  const call = rig();
  call.run(1500, (frame) => (frame >= 500 && frame < 750 && frame % 4 === 0 ? 0 : 1));
  call.meter.end(call.clock.now());
  const record = call.meter.record(1440);
  assert.ok(
    (record?.mosMin ?? 5) < 3.3 && (record?.mos ?? 0) > 3.9,
    `${record?.mosMin} ${record?.mos}`,
  );
});

test('packets that come too late cost as much as lost ones, and are called jitter', () => {
  const call = rig();
  call.run(1000, (frame) => (frame % 20 === 19 ? -1 : 1));
  call.meter.end(call.clock.now());
  const record = call.meter.record(1000);
  near(record?.discardedPct, 5, 0.1);
  near(record?.lossPct, 5, 0.1);
  near(record?.mos, 3.82, 0.05);
  assert.equal(record?.fault, 'jitter');
});

test('packets that a codec could not take any more count as late', () => {
  const call = rig();
  call.run(500, (frame) => {
    if (frame % 20 === 19) call.drop();
    return 1;
  });
  call.meter.end(call.clock.now());
  near(call.meter.record(500)?.discardedPct, 5, 0.1);
  near(call.meter.record(500)?.mos, 3.82, 0.05);
});

test('what the far end hears: its loss, our score of it, its own', () => {
  const call = rig();
  call.run(250);
  call.receive(report({ fractionLost: 13, packetsLost: 12, highestSequence: 260, jitter: 80 }));
  call.run(250);
  call.receive(report({ fractionLost: 13, packetsLost: 25, highestSequence: 510, jitter: 80 }));
  call.meter.end(call.clock.now());
  const record = call.meter.record(500);
  near(record?.far?.lossPct, 5.08, 0.01);
  near(record?.far?.jitterMs, 10, 0.01);
  near(record?.far?.mos, 3.81, 0.05);
  assert.equal(record?.far?.reportedMos, null);
  assert.equal(record?.fault, 'loss');
  near(record?.mos, 4.36, 0.02);
});

test('a far end that hears nothing says so, report after report', () => {
  const none = (): Uint8Array => new RtcpRrPacket({ ssrc: THEIRS, reports: [] }).serialize();
  const other = (): Uint8Array =>
    new RtcpRrPacket({ ssrc: THEIRS, reports: [blockOf({ ssrc: OURS + 1 })] }).serialize();
  const deaf: [string, (at: number) => Uint8Array][] = [
    [
      'without a block, from one that had some',
      (at) => (at === 0 ? report({ highestSequence: 7 }) : none()),
    ],
    ['of another stream than ours', other],
    ['with an empty block', () => report({ highestSequence: 0, fractionLost: 255 })],
    ['with numbers that stand still', () => report({ highestSequence: 77 })],
  ];
  for (const [name, bytes] of deaf) {
    const call = rig();
    for (let i = 0; i < 4; i++) {
      call.run(250);
      call.receive(bytes(i));
    }
    assert.equal(call.meter.record(1000)?.fault, 'one_way_audio', name);
    // The path mends: the call was not one-way as a whole.
    call.run(250);
    call.receive(report({ highestSequence: 900 }));
    assert.notEqual(call.meter.record(1250)?.fault, 'one_way_audio', name);
  }
  // Gateways that never put a block into their reports say nothing by that.
  const silent = rig();
  for (let i = 0; i < 12; i++) {
    silent.run(250);
    silent.receive(none());
  }
  assert.equal(silent.meter.record(3000)?.fault, null);
});

test('reports by the thousand, and a goodbye in mid-call, change no score', () => {
  const call = rig();
  call.run(250);
  call.receive(report({ highestSequence: 250 }));
  for (let i = 0; i < 20_000; i++)
    call.receive(report({ highestSequence: 250, fractionLost: 255 }));
  call.receive(
    Uint8Array.of(0x80, 201, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d, 0x81, 203, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d),
  );
  call.run(250);
  call.receive(report({ highestSequence: 500 }));
  call.meter.end(call.clock.now());
  const record = call.meter.record(500);
  // They came at one moment, and none of our time is about them.
  near(record?.far?.lossPct, 0, 0.01);
  assert.equal(record?.fault, null);
  assert.equal(call.meter.rtcp.peer.saidBye, true);
  near(record?.mos, 4.36, 0.02);
});

test('sound that was recovered from the packet behind costs no score, and is told as lost all the same', () => {
  const call = rig({ codec: 'opus' });
  call.run(1000, (frame) => {
    if (frame % 10 === 1) call.meter.recovered((call.sequence.highest - 1) & 0xffff);
    return frame % 10 === 9 ? 0 : 1;
  });
  call.meter.end(call.clock.now());
  const record = call.meter.record(900);
  near(record?.lossPct, 10, 0.2);
  near(record?.recoveredPct, 10, 0.2);
  assert.ok((record?.mos ?? 0) > 4.3, `${record?.mos}`);
  assert.equal(record?.fault, null);
});

test('each window has the delay of its own five seconds', () => {
  const call = rig();
  call.run(250);
  call.buffer.ms = 460;
  call.run(250);
  call.buffer.ms = 60;
  call.run(1000);
  call.meter.end(call.clock.now());
  const record = call.meter.record(1500);
  const codec = CODEC_IMPAIRMENTS.PCMU;
  const worst = mosOf(rFactor({ codec, lossPct: 0, burstRatio: 1, delayMs: 500 }));
  near(record?.mosMin, worst, 0.03);
  near(record?.delayMs, 100 + 400 / 6, 3);
  near(record?.mos, (4.36 * 5 + worst) / 6, 0.03);
});

test('strangers are counted and change nothing', () => {
  const call = rig();
  call.run(250);
  const [first] = sent(call);
  const lie = report({ lsr: first?.ntp ?? 0, fractionLost: 255, jitter: 9999 });
  const strangers: [number, string][] = [
    [RTCP_PORT, '192.0.2.99'],
    [PHONE.port, PHONE.address],
    [RTCP_PORT + 1, PHONE.address],
    [0, PHONE.address],
  ];
  for (const [port, address] of strangers) call.receive(lie, port, address);
  assert.equal(call.meter.rtcp.foreign, 4);
  assert.equal(call.meter.rtcp.peer.roundTripMs, null);
  assert.equal(call.meter.record(250)?.far, null);
  assert.deepEqual(call.transport.rtcpRoute, { isMuxed: false, port: null });
  call.receive(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  assert.equal(call.meter.rtcp.malformed, 1);
});

test('where RTCP goes and comes from: the port above, one of its own, or the one of RTP', () => {
  const rows: [
    string,
    Partial<NegotiatedAudio>,
    { isMuxed: boolean; port: number | null },
    number,
  ][] = [
    ['the port above', {}, { isMuxed: false, port: null }, RTCP_PORT],
    ['RFC 3605', { remoteRtcpPort: 5999 }, { isMuxed: false, port: 5999 }, 5999],
    ['RFC 5761', { rtcpMux: true }, { isMuxed: true, port: null }, PHONE.port],
  ];
  for (const [name, audio, route, port] of rows) {
    const call = rig(audio);
    assert.deepEqual(call.transport.rtcpRoute, route, name);
    call.run(250);
    call.receive(report({ fractionLost: 1 }), port);
    assert.equal(call.meter.rtcp.foreign, 0, name);
    call.receive(report({ fractionLost: 1 }), port + 2);
    assert.equal(call.meter.rtcp.foreign, 1, name);
  }
});

test('behind a NAT the first RTCP of the audio’s own sender tells its port', () => {
  const call = rig();
  call.run(250);
  call.meter.rtcp.latched('192.0.2.7', 30_000);
  const probe = (ssrc: number, port: number): void =>
    call.receive(report({ fractionLost: 1 }, ssrc), port, '192.0.2.7');
  probe(0xbad, 41_000);
  assert.deepEqual(call.transport.rtcpRoute, { isMuxed: false, port: null });
  probe(THEIRS, 40_001);
  assert.deepEqual(call.transport.rtcpRoute, { isMuxed: false, port: 40_001 });
  probe(THEIRS, 41_000);
  assert.equal(call.meter.rtcp.foreign, 2);
  // A new address is a new question.
  call.meter.negotiate({ ...AUDIO, remoteAddress: '192.0.2.8' });
  probe(THEIRS, 40_001);
  assert.equal(call.meter.rtcp.foreign, 3);
});
