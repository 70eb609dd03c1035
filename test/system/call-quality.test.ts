/** The quality record over real sockets: a hand-made peer with loss on the way and RTCP of its own, strangers about. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  RtcpPacketConverter,
  RtcpReceiverInfo,
  RtcpRrPacket,
  RtcpSenderInfo,
  RtcpSourceDescriptionPacket,
  RtcpSrPacket,
} from 'werift-rtp';
import { silentLog } from '#lib/log.ts';
import { CODEC_IMPAIRMENTS, mosOf, rFactor } from '#media/quality/e-model.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaOptions, MediaStats, NegotiatedAudio } from '#media/types.ts';

const engine = createMediaEngine({ rtpPorts: { first: 24_600, last: 24_639 }, log: silentLog });
after(() => engine.close());

const HOST = '127.0.0.1';
const THEIRS = 0x5151_5151;
const FRAMES = 300;
/** What the peer holds our report before it answers. */
const HELD_MS = 60;
const OPTIONS: MediaOptions = {
  callId: 'made-up',
  localAddress: HOST,
  recordingPath: null,
  firstRtpTimeoutMs: 30_000,
  rtpTimeoutMs: 15_000,
};

async function bound(port = 0): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(port, HOST);
  await once(socket, 'listening');
  socket.unref();
  // A call that is over answers by ICMP.
  socket.on('error', () => undefined);
  return socket;
}

/** RTP on an even port and RTCP on the next, as phones have them. */
async function pair(): Promise<[Socket, Socket]> {
  for (let port = 24_700; port < 24_800; port += 2) {
    const [rtp, rtcp] = await Promise.allSettled([bound(port), bound(port + 1)]);
    if (rtp.status === 'fulfilled' && rtcp.status === 'fulfilled') return [rtp.value, rtcp.value];
    for (const each of [rtp, rtcp]) if (each.status === 'fulfilled') each.value.close();
  }
  throw new Error('no pair of ports');
}

type Peer = {
  readonly lossPct?: number;
  /** Of our packets, as it reports. */
  readonly farLossPct?: number;
  readonly isMuxed?: boolean;
  readonly isDeaf?: boolean;
  /** Somebody else on the same host who lies about the call. */
  readonly hasStranger?: boolean;
};

type Outcome = {
  readonly stats: MediaStats;
  /** Our compound packets, as an independent implementation reads them. */
  readonly reports: readonly RtcpSrPacket[];
  readonly descriptions: number;
};

/** One call of six seconds with this peer. */
async function call(peer: Peer): Promise<Outcome> {
  const { lossPct = 0, farLossPct = 0, isMuxed = false } = peer;
  const session = await engine.open(OPTIONS);
  const [rtp, rtcp] = await pair();
  const reports: RtcpSrPacket[] = [];
  let descriptions = 0;
  let heard = 0;
  let isOver = false;
  const control = isMuxed ? rtp : rtcp;
  const controlTo = session.localPort + (isMuxed ? 0 : 1);
  control.on('message', (bytes) => {
    if (bytes.readUInt8(1) < 192) return;
    for (const packet of RtcpPacketConverter.deSerialize(bytes)) {
      if (packet instanceof RtcpSourceDescriptionPacket) descriptions++;
      if (!(packet instanceof RtcpSrPacket)) continue;
      reports.push(packet);
      const answer = answerTo(packet, peer.isDeaf === true ? null : farLossPct, heard);
      setTimeout(() => {
        if (!isOver) control.send(answer, controlTo, HOST);
      }, HELD_MS);
    }
  });
  rtp.on('message', (bytes) => {
    if (bytes.readUInt8(1) < 192) heard++;
  });
  const audio: NegotiatedAudio = {
    codec: 'PCMU',
    payloadType: 0,
    receivePayloadType: 0,
    dtmfPayloadType: null,
    remoteAddress: HOST,
    remotePort: rtp.address().port,
    send: true,
    receive: true,
    rtcpMux: isMuxed,
  };
  session.start(audio);
  const stranger = await bound();
  const startMs = performance.now();
  for (let at = 0; at < FRAMES; at++) {
    await sleep(Math.max(0, startMs + at * 20 - performance.now()));
    // Evenly spread, so that every window has the same share: at 5 % every twentieth.
    const isLost = lossPct > 0 && at % (100 / lossPct) === 7;
    if (!isLost) rtp.send(packetOf(at), session.localPort, HOST);
    if (peer.hasStranger === true && at % 10 === 5) {
      const lie = lieOf(reports.at(-1)?.ssrc ?? 1);
      stranger.send(lie, session.localPort + 1, HOST);
      stranger.send(lie, session.localPort, HOST);
    }
  }
  const { stats } = await session.close();
  isOver = true;
  for (const socket of [rtp, rtcp, stranger]) socket.close();
  return { stats, reports, descriptions };
}

function packetOf(at: number): Buffer {
  const bytes = Buffer.alloc(172, 0xff);
  bytes.writeUInt16BE(0x8000, 0);
  bytes.writeUInt16BE(4000 + at, 2);
  bytes.writeUInt32BE(at * 160, 4);
  bytes.writeUInt32BE(THEIRS, 8);
  // A loud and a quiet half second by turns.
  for (let i = 12; i < bytes.length && at % 50 < 25; i++) bytes[i] = i % 2 === 0 ? 0x20 : 0xa0;
  return bytes;
}

/** The peer's sender report on our stream; `lossPct` null: it has heard nothing of it. */
function answerTo(ours: RtcpSrPacket, lossPct: number | null, heard: number): Buffer {
  const lsr = Number((ours.senderInfo.ntpTimestamp >> 16n) & 0xffff_ffffn);
  const block = new RtcpReceiverInfo({
    ssrc: ours.ssrc,
    fractionLost: Math.round(((lossPct ?? 0) * 256) / 100),
    packetsLost: 0,
    highestSequence: heard,
    jitter: 24,
    lsr,
    dlsr: Math.round((HELD_MS * 65_536) / 1000),
  });
  const senderInfo = new RtcpSenderInfo({
    ntpTimestamp: 0x1234_5678_0000_0000n,
    rtpTimestamp: 0,
    packetCount: 1,
    octetCount: 160,
  });
  const reports = lossPct === null ? [] : [block];
  return new RtcpSrPacket({ ssrc: THEIRS, senderInfo, reports }).serialize();
}

function lieOf(ssrc: number): Buffer {
  const none = { packetsLost: 9000, highestSequence: 9, jitter: 0xffff, lsr: 1, dlsr: 1 };
  const reports = [new RtcpReceiverInfo({ ssrc, fractionLost: 255, ...none })];
  return new RtcpRrPacket({ ssrc: THEIRS, reports }).serialize();
}

const score = (lossPct: number, delayMs: number): number =>
  mosOf(rFactor({ codec: CODEC_IMPAIRMENTS.PCMU, lossPct, burstRatio: 1, delayMs }));

const near = (actual: number | null | undefined, expected: number, within: number): void =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= within, `${actual}, not ${expected}`);

test('four calls at once: clean, lossy both ways with strangers, muxed, and one that hears nothing of us', async () => {
  const [clean, lossy, muxed, deaf] = await Promise.all([
    call({}),
    call({ lossPct: 5, farLossPct: 10, hasStranger: true }),
    call({ lossPct: 2, isMuxed: true, hasStranger: true }),
    call({ isDeaf: true }),
  ]);

  for (const { stats, reports, descriptions } of [clean, lossy, muxed, deaf]) {
    assert.ok(reports.length >= 1, 'we report');
    assert.ok(descriptions >= reports.length);
    assert.equal(stats.rtcpMalformed, 0);
  }
  for (const { stats } of [clean, lossy, muxed]) near(stats.quality?.roundTripMs, 0, 40);
  near(clean.stats.quality?.mos, score(0, 60), 0.1);
  assert.equal(clean.stats.quality?.fault, null);
  near(clean.stats.quality?.far?.mos, score(0, 80), 0.1);
  near(clean.stats.quality?.far?.jitterMs, 3, 0.01);
  assert.equal(clean.stats.rtcpForeign, 0);

  near(lossy.stats.quality?.lossPct, 5, 0.5);
  near(lossy.stats.quality?.mos, score(5, 60), 0.2);
  assert.equal(lossy.stats.quality?.fault, 'loss');
  near(lossy.stats.quality?.far?.lossPct, 10, 0.3);
  near(lossy.stats.quality?.far?.mos, score(10, 80), 0.2);
  // The stranger said that everything was lost, thirty times.
  assert.ok((lossy.stats.rtcpForeign ?? 0) >= 25, `${lossy.stats.rtcpForeign} strangers`);

  near(muxed.stats.quality?.mos, score(2, 60), 0.2);
  assert.equal(muxed.stats.quality?.fault, null);
  near(muxed.stats.quality?.far?.lossPct, 0, 0.01);

  // Reports without our stream: not yet often enough to be called one-way audio.
  assert.equal(deaf.stats.quality?.far, null);
  assert.equal(deaf.stats.quality?.fault, null);
  // Our second report answers the first of theirs (RFC 3550 6.4.1).
  const answered = lossy.reports.findLast(({ reports: [block] }) => (block?.lsr ?? 0) !== 0);
  if (lossy.reports.length > 1) assert.equal(answered?.reports[0]?.lsr, 0x5678_0000);
});
