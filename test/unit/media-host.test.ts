/** The calls of one worker: whatever closing one of them meets, it is answered and the others go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { SampleRing } from '#lib/sample-ring.ts';
import { MediaHost } from '#media/media-host.ts';
import type { MediaReply, OpenRequest } from '#media/media-protocol.ts';
import { UtteranceMarks } from '#media/playout/utterance-marks.ts';
import { AUDIO, FakeTransport, MemoryDisk } from './_media.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const request = (): OpenRequest => ({
  localAddress: '127.0.0.1',
  port: 4000,
  recordingPath: '/made/up.wav',
  firstRtpTimeoutMs: 30_000,
  rtpTimeoutMs: 15_000,
  callerRing: SampleRing.create(32_000).buffer,
  playoutRing: SampleRing.create(64_000).buffer,
  marks: UtteranceMarks.create().buffer,
});

function setUp(gate: Promise<void> = Promise.resolve()) {
  const clock = new SimulatedClock();
  const replies: MediaReply[] = [];
  const transports: FakeTransport[] = [];
  const disks: MemoryDisk[] = [];
  let freed = 0;
  const host = new MediaHost({
    clock,
    wireOriginMs: 0,
    openSocket: async () => {
      await gate;
      const transport = new FakeTransport(clock);
      transports.push(transport);
      return transport;
    },
    openSocketCount: () => transports.filter(({ isClosed }) => !isClosed).length,
    newClassifier: () => ({ isSpeech: () => false, free: () => freed++ }),
    openRecording: () => {
      const disk = new MemoryDisk();
      disks.push(disk);
      return Promise.resolve(disk);
    },
    reply: (reply) => replies.push(reply),
  });
  const types = (session: number) =>
    replies.flatMap((reply) =>
      'session' in reply && reply.session === session
        ? [reply.type === 'event' ? reply.event.type : reply.type]
        : [],
    );
  return { clock, host, replies, transports, disks, types, freed: () => freed };
}

const broken = (): never => {
  throw new Error('broken');
};

for (const [name, sabotage] of Object.entries<(transport: FakeTransport) => void>({
  'the last RTCP': (transport) => (transport.sendRtcp = broken),
  'closing the sockets': (transport) => (transport.close = broken),
})) {
  test(`a throw in ${name} is told, everything else is released, and 'closed' is answered`, async () => {
    const { host, types, clock, transports, disks, freed, replies } = setUp();
    for (const session of [1, 2]) host.handle({ type: 'open', session, request: request() });
    await turn();
    for (const session of [1, 2]) host.handle({ type: 'start', session, audio: AUDIO });
    clock.advance(200);
    const [first, second] = transports;
    assert.ok(first && second);
    sabotage(first);
    host.handle({ type: 'close', session: 1 });
    for (let i = 0; i < 20; i++) await turn();
    assert.deepEqual(types(1), ['opened', 'described', 'media.failed', 'closed']);
    const closed = replies.find((reply) => reply.type === 'closed');
    assert.ok(closed?.closed.recording, 'the recording is kept');
    assert.ok(disks[0]?.isClosed);
    assert.equal(freed(), 1);
    assert.equal(first.isClosed, name === 'the last RTCP');
    const before = second.sent.length;
    clock.advance(200);
    assert.ok(second.sent.length > before, 'the other call goes on');
    host.handle({ type: 'close', session: 2 });
    for (let i = 0; i < 20; i++) await turn();
    assert.equal(host.census().sessions, 0);
    assert.equal(clock.pending, 0);
  });
}

test('a close that comes while the call is still opening is carried out', async () => {
  const gate = Promise.withResolvers<void>();
  const { host, types, transports } = setUp(gate.promise);
  host.handle({ type: 'open', session: 1, request: request() });
  host.handle({ type: 'close', session: 1 });
  gate.resolve();
  for (let i = 0; i < 20; i++) await turn();
  assert.deepEqual(types(1), ['opened', 'closed']);
  assert.ok(transports[0]?.isClosed);
  assert.equal(host.census().sessions, 0);
});
