/** RTCP as bytes: ours against an independent implementation and by hand, theirs read, lies refused, a seeded fuzz. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CompoundPacket,
  SenderReportPacket,
  VmExtendedReport,
  type XrPacket,
} from 'rtp.js/packets';
import {
  RtcpPacketConverter,
  RtcpReceiverInfo,
  RtcpRrPacket,
  RtcpSenderInfo,
  RtcpSourceDescriptionPacket,
  RtcpSrPacket,
  SourceDescriptionChunk,
  SourceDescriptionItem,
} from 'werift-rtp';
import { RtcpReader, type RtcpSink } from '#media/rtcp/rtcp-reader.ts';
import { rtcpIntervalMs } from '#media/rtcp/rtcp-timer.ts';
import type { VoipMetrics } from '#media/rtcp/rtcp-xr.ts';
import { RtcpReporter, shortNtp, type RtcpFigures } from '#media/rtcp/rtcp.ts';
import { seeded } from './_noises.ts';

const VOIP: VoipMetrics = {
  ssrc: 0x0a0b0c0d,
  lossPct: 2.4,
  discardPct: 0.8,
  burstDensityPct: 40,
  gapDensityPct: 1,
  burstMs: 120,
  gapMs: 4000,
  roundTripMs: 83,
  endSystemMs: 100,
  signalLevelDbm: -20,
  noiseLevelDbm: -60,
  gmin: 16,
  r: 82.4,
  mosLq: 4.1,
  mosCq: 4.02,
  jitterBufferMs: 60,
  jitterBufferMaxMs: 160,
};

const FIGURES: RtcpFigures = {
  ssrc: 0x01020304,
  isSender: true,
  wallMs: Date.UTC(2026, 0, 2, 3, 4, 5) + 500.25,
  rtpTimestamp: 0xfedcba98,
  packetsSent: 250,
  octetsSent: 40_000,
  remote: {
    ssrc: 0x0a0b0c0d,
    lost: 5,
    expected: 250,
    highestSequence: 66_000,
    jitterUnits: 41.4,
    lastReport: 0x11223344,
    delaySinceReport: 65_536,
  },
  voip: null,
};

/** What a reader told, as lines. */
function told(bytes: Uint8Array): { ok: boolean; lines: string[] } {
  const lines: string[] = [];
  const sink: RtcpSink = {
    report: (ssrc, ntp, blocks) => lines.push(`report ${ssrc} ${ntp ?? '-'} ${blocks}`),
    reception: (from, b) =>
      lines.push(
        `block ${from}: ${b.ssrc} ${b.fractionLost} ${b.totalLost} ${b.highestSequence} ` +
          `${b.jitterUnits} ${b.lastReport} ${b.delaySinceReport}`,
      ),
    voip: (from, m) => lines.push(`voip ${from}: ${m.ssrc} ${m.lossPct.toFixed(1)} ${m.r}`),
    bye: (ssrc) => lines.push(`bye ${ssrc}`),
  };
  return { ok: new RtcpReader().read(bytes, sink), lines };
}

const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'));

test('a sender report, byte for byte', () => {
  const bytes = new RtcpReporter('ab').report(FIGURES, true);
  // .50025 of 2^32 is 0x8010624d.
  const seconds = (Date.UTC(2026, 0, 2, 3, 4, 5) / 1000 + 2_208_988_800).toString(16);
  assert.equal(
    Buffer.from(bytes).toString('hex'),
    [
      `81c8000c01020304${seconds}8010624dfedcba98000000fa00009c40`,
      '0a0b0c0d05000005000101d0000000291122334400010000',
      '81ca0003010203040102616200000000',
      '81cb000101020304',
    ].join(''),
  );
});

test('an independent implementation reads what we report', () => {
  const bytes = new RtcpReporter('cname-of-a-call').report({ ...FIGURES, voip: VOIP }, false);
  const [report, description] = RtcpPacketConverter.deSerialize(Buffer.from(bytes));
  assert.ok(report instanceof RtcpSrPacket);
  assert.equal(report.ssrc, FIGURES.ssrc);
  assert.equal(report.senderInfo.packetCount, 250);
  assert.equal(report.senderInfo.octetCount, 40_000);
  assert.equal(
    Number((report.senderInfo.ntpTimestamp >> 16n) & 0xffff_ffffn),
    shortNtp(FIGURES.wallMs),
  );
  const [block] = report.reports;
  assert.deepEqual(
    [block?.ssrc, block?.fractionLost, block?.packetsLost, block?.highestSequence],
    [0x0a0b0c0d, 5, 5, 66_000],
  );
  assert.deepEqual([block?.jitter, block?.lsr, block?.dlsr], [41, 0x11223344, 65_536]);
  assert.ok(description instanceof RtcpSourceDescriptionPacket);
  assert.equal(description.chunks[0]?.items[0]?.text, 'cname-of-a-call');

  const receiver = new RtcpReporter('c').report({ ...FIGURES, isSender: false }, false);
  const [second] = RtcpPacketConverter.deSerialize(Buffer.from(receiver));
  assert.ok(second instanceof RtcpRrPacket);
  assert.equal(second.reports[0]?.dlsr, 65_536);
});

test('VoIP metrics go out in the fields of RFC 3611 4.7 and come back', () => {
  const bytes = new RtcpReporter('c').report({ ...FIGURES, voip: VOIP }, false);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const packets = new CompoundPacket(view).getPackets();
  const xr = packets[2] as XrPacket;
  const [block] = xr.getReports();
  assert.ok(block instanceof VmExtendedReport);
  const at = bytes.length - 36;
  // Type 7, 8 words; loss 2.4 % is 6/256, discard 2/256; 120 ms, 4000 ms; 83 ms, 100 ms; -20, -60; Gmin 16; R 82; 41, 40.
  assert.equal(
    Buffer.from(bytes.subarray(at)).toString('hex'),
    '07000008' +
      '0a0b0c0d' +
      '06026602' +
      '00780fa0' +
      '00530064' +
      'ecc47f10' +
      '527f2928' +
      'f000003c' +
      '00a000a0',
  );
  let read: VoipMetrics | null = null;
  const sink: RtcpSink = {
    report: () => undefined,
    reception: () => undefined,
    voip: (_from, metrics) => (read = { ...metrics }),
    bye: () => undefined,
  };
  assert.ok(new RtcpReader().read(bytes, sink));
  assert.deepEqual(read, {
    ...VOIP,
    lossPct: (6 * 100) / 256,
    discardPct: (2 * 100) / 256,
    burstDensityPct: (102 * 100) / 256,
    gapDensityPct: (2 * 100) / 256,
    r: 82,
    mosLq: 4.1,
    mosCq: 4,
  });
});

test('we read what an independent implementation writes', () => {
  const block = new RtcpReceiverInfo({
    ssrc: 0xfffffff0,
    fractionLost: 12,
    packetsLost: 70_000,
    highestSequence: 0x0002_0001,
    jitter: 160,
    lsr: 0xdeadbeef,
    dlsr: 0x8000_0000,
  });
  const report = new RtcpSrPacket({
    ssrc: 0xcafe_0001,
    senderInfo: new RtcpSenderInfo({
      ntpTimestamp: 0x1111_2222_3333_4444n,
      rtpTimestamp: 5,
      packetCount: 6,
      octetCount: 7,
    }),
    reports: [block],
  });
  for (const text of ['a', 'ab', 'abc', 'abcd', 'a longer name']) {
    const item = new SourceDescriptionItem({ type: 1, text });
    const chunk = new SourceDescriptionChunk({ source: 0xcafe_0001, items: [item] });
    const sdes = new RtcpSourceDescriptionPacket({ chunks: [chunk] });
    const bytes = Buffer.concat([report.serialize(), sdes.serialize()]);
    assert.deepEqual(told(bytes), {
      ok: true,
      lines: [
        `report ${0xcafe_0001} ${0x2222_3333} 1`,
        `block ${0xcafe_0001}: ${0xfffffff0} 12 70000 ${0x0002_0001} 160 ${0xdeadbeef} ${0x8000_0000}`,
      ],
    });
  }
  const empty = new RtcpRrPacket({ ssrc: 3, reports: [] });
  assert.deepEqual(told(empty.serialize()).lines, ['report 3 - 0']);
});

test('fewer lost than none: duplicates make the counter negative', () => {
  const bytes = hex('81c90007 00000001 00000002 00fffffe 00000003 00000004 00000005 00000006');
  assert.deepEqual(told(bytes).lines, ['report 1 - 1', 'block 1: 2 0 -2 3 4 5 6']);
});

const RR = '80c90001 00000001';
const LIES: readonly [string, string][] = [
  ['nothing', ''],
  ['a header alone', '80c90000'],
  ['an odd length', `${RR} 00`],
  ['version 1', '40c90001 00000001'],
  ['no report first', '81ca0002 00000001 01000000'],
  ['a report block that is not there', '81c90001 00000001'],
  ['31 report blocks in one', `9fc90007 ${'00000001'.repeat(7)}`],
  ['a sender report cut short', '80c80004 00000001 00000002 00000003 00000004'],
  ['a length beyond the packet', '80c90002 00000001'],
  ['a length of 262,144 bytes', '80c9ffff 00000001'],
  ['rubbish behind the report', `${RR} 00000000`],
  ['RTP behind the report', `${RR} 80000001 00000001`],
  ['padding before the last packet', `a0c90002 00000001 00000004 ${RR}`],
  ['padding of nothing', 'a0c90002 00000001 00000000'],
  ['padding that is no word', 'a0c90002 00000001 00000003'],
  ['padding longer than the packet', 'a0c90002 00000001 000000f0'],
  ['padding that eats the report', 'a0c90001 00000004'],
  ['a goodbye of sources that are not there', `${RR} 83cb0001 00000001`],
  ['a reason that is not there', `${RR} 81cb0002 00000001 ff616263`],
  ['an item beyond its packet', `${RR} 81ca0002 00000001 01ff6162`],
  ['a chunk that is not there', `${RR} 82ca0002 00000001 01016100`],
  ['an extended report without a source', `${RR} 80cf0000`],
  ['a block beyond its report', `${RR} 80cf0002 00000001 07000008`],
  ['VoIP metrics of another length', `${RR} 80cf0003 00000001 07000001 00000001`],
];

test('what lies about itself is refused as a whole', () => {
  for (const [name, text] of LIES) {
    assert.deepEqual(told(hex(text)), { ok: false, lines: [] }, name);
  }
  assert.equal(told(new Uint8Array(1504)).ok, false, 'too long');
});

test('what is odd and allowed is read', () => {
  const rows: [string, string, string[]][] = [
    ['a padded last packet', `${RR} a0cb0002 00000000 00000004`, ['report 1 - 0']],
    ['a profile extension', '80c90002 00000001 12345678', ['report 1 - 0']],
    ['a goodbye with a reason', `${RR} 81cb0002 00000009 03627965`, ['report 1 - 0', 'bye 9']],
    ['a type nobody knows', `${RR} 80df0001 00000001`, ['report 1 - 0']],
    ['a block nobody knows', `${RR} 80cf0002 00000001 63000000`, ['report 1 - 0']],
    ['two reports', `${RR} 80c90001 00000002`, ['report 1 - 0', 'report 2 - 0']],
  ];
  for (const [name, text, lines] of rows)
    assert.deepEqual(told(hex(text)), { ok: true, lines }, name);
});

test('100,000 mutated packets: nothing is thrown, some are taken and some refused', () => {
  const random = seeded(20_261_121);
  const source = new RtcpReporter('name').report({ ...FIGURES, voip: VOIP }, true);
  let accepted = 0;
  const reader = new RtcpReader();
  let figures = 0;
  const sink: RtcpSink = {
    report: (ssrc) => (figures += ssrc),
    reception: (_from, block) => (figures += block.totalLost),
    voip: (_from, { r }) => (figures += r ?? 0),
    bye: (ssrc) => (figures += ssrc),
  };
  for (let round = 0; round < 100_000; round++) {
    const bytes = source.slice(
      0,
      random() < 0.3 ? Math.floor(random() * source.length) : undefined,
    );
    const flips = Math.floor(random() * 4);
    for (let i = 0; i < flips && bytes.length > 0; i++) {
      // Mostly where lengths, types and counts are.
      const at = random() < 0.5 ? Math.floor(random() * 8) : Math.floor(random() * bytes.length);
      if (at < bytes.length) bytes[at] = Math.floor(random() * 256);
    }
    if (!reader.read(bytes, sink)) continue;
    accepted++;
  }
  assert.ok(Number.isFinite(figures));
  assert.ok(accepted > 20_000 && accepted < 80_000, `${accepted} accepted`);
});

test('when RTCP is due: the table of RFC 3550 6.3.1', () => {
  const usual = { packetBytes: 150, sessionBps: 80_000 };
  const half = Math.E - 1.5;
  const rows: [string, Parameters<typeof rtcpIntervalMs>[0], number][] = [
    ['first, soonest', { ...usual, isFirst: true, random: 0 }, 1250 / half],
    ['first, latest', { ...usual, isFirst: true, random: 1 }, 3750 / half],
    ['soonest', { ...usual, isFirst: false, random: 0 }, 2500 / half],
    ['middle', { ...usual, isFirst: false, random: 0.5 }, 5000 / half],
    ['latest', { ...usual, isFirst: false, random: 1 }, 7500 / half],
    // 2 members x 2000 bytes over a twentieth of 80 kbit/s.
    ['large packets', { ...usual, packetBytes: 2000, isFirst: false, random: 0.5 }, 8000 / half],
  ];
  for (const [name, input, expected] of rows)
    assert.ok(Math.abs(rtcpIntervalMs(input) - expected) < 0.01, name);
});

test('a report by rtp.js is a report to us', () => {
  const packet = new SenderReportPacket();
  packet.setSsrc(9);
  packet.setNtpSeconds(0x0001_0002);
  packet.setNtpFraction(0x0003_0004);
  packet.serialize();
  const view = packet.getView();
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  assert.deepEqual(told(bytes).lines, [`report 9 ${0x0002_0003} 0`]);
});
