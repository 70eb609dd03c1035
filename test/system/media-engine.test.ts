/** The media engine with its real worker over loopback: latch, both directions, recording, barge-in, spoofing, leaks. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEvent, MediaOptions, MediaSession, NegotiatedAudio } from '#media/types.ts';
import { concat, find, heardSignal, RtpPhone, sweep, tone } from './_rtp-phone.ts';

const engine = createMediaEngine({ rtpPorts: { first: 23_000, last: 23_399 }, log: silentLog });
const folder = await mkdtemp(join(tmpdir(), 'callyard-media-'));
after(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const OPTIONS: MediaOptions = {
  callId: 'made-up',
  localAddress: '127.0.0.1',
  recordingPath: null,
  firstRtpTimeoutMs: 30_000,
  rtpTimeoutMs: 15_000,
};

const audioTo = (phone: RtpPhone, address = '127.0.0.1'): NegotiatedAudio => ({
  codec: 'PCMU',
  payloadType: 0,
  receivePayloadType: 0,
  dtmfPayloadType: 101,
  remoteAddress: address,
  remotePort: phone.port,
  send: true,
  receive: true,
});

/** Events of a session, and a wait for one of them with a deadline. */
function watch(session: MediaSession) {
  const events: MediaEvent[] = [];
  const waiting = new Set<() => void>();
  session.onEvent((event) => {
    events.push(event);
    for (const look of waiting) look();
  });
  const wait = <T extends MediaEvent['type']>(
    type: T,
  ): Promise<Extract<MediaEvent, { type: T }>> => {
    const { promise, resolve, reject } = Promise.withResolvers<Extract<MediaEvent, { type: T }>>();
    const timer = setTimeout(() => reject(new Error(`no ${type} within 10 s`)), 10_000);
    const look = (): void => {
      const found = events.find((event) => event.type === type);
      if (found === undefined) return;
      clearTimeout(timer);
      waiting.delete(look);
      resolve(found as Extract<MediaEvent, { type: T }>);
    };
    waiting.add(look);
    look();
    return promise;
  };
  return { events, wait };
}

async function say(session: MediaSession, utterance: number, pcm: Int16Array): Promise<void> {
  session.beginUtterance(utterance);
  const written = session.write(utterance, pcm);
  session.endUtterance(utterance);
  await written;
}

async function channels(path: string): Promise<[Int16Array, Int16Array]> {
  const bytes = await readFile(path);
  assert.equal(bytes.readUInt32LE(40), bytes.length - 44, 'the header tells the length');
  const frames = (bytes.length - 44) / 4;
  const sides: [Int16Array, Int16Array] = [new Int16Array(frames), new Int16Array(frames)];
  for (let i = 0; i < frames; i++) {
    sides[0][i] = bytes.readInt16LE(44 + i * 4);
    sides[1][i] = bytes.readInt16LE(44 + i * 4 + 2);
  }
  return sides;
}

const peak = (pcm: Int16Array): number => pcm.reduce((max, x) => Math.max(max, Math.abs(x)), 0);

test('audio both ways, on the wire, in the ring and in the recording', async () => {
  const recordingPath = join(folder, 'both.wav');
  const session = await engine.open({ ...OPTIONS, recordingPath });
  const phone = await RtpPhone.open();
  const { events, wait } = watch(session);
  session.start(audioTo(phone));
  const agent = sweep(300, 2000, 1000);
  const caller = sweep(2500, 500, 1000);
  await say(session, 1, agent);
  const heardByUs: number[] = [];
  const chunk = new Int16Array(1600);
  await phone.play(concat(new Int16Array(1600), caller, new Int16Array(4000)), session.localPort);
  for (let n = session.readCaller(chunk); n > 0; n = session.readCaller(chunk)) {
    heardByUs.push(...chunk.subarray(0, n));
  }
  const done = await wait('playout.done');
  const { stats, recording } = await session.close();
  phone.close();

  assert.equal(done.heardMs, 1000);
  assert.ok(find(agent, heardSignal(phone)).correlation >= 0.98, 'agent on the wire');
  assert.ok(find(caller, Int16Array.from(heardByUs)).correlation >= 0.98, 'caller in the ring');
  const [left, right] = await channels(recordingPath);
  const [callerAt, agentAt] = [find(caller, left), find(agent, right)];
  assert.ok(callerAt.correlation >= 0.98, `caller recorded: ${callerAt.correlation}`);
  assert.ok(agentAt.correlation >= 0.98, `agent recorded: ${agentAt.correlation}`);
  assert.ok(Math.abs(agentAt.at / 8 - firstTime(events, 'playout.started')) <= 25);
  const latched = await wait('media.latched');
  assert.equal(latched.port, phone.port);
  assert.ok(Math.abs(callerAt.at / 8 - (latched.atMs + 200)) <= 30, 'caller at its wire time');
  assert.equal(recording?.truncated, false);
  // The last packet of either side may still be on its way.
  assert.ok(stats.packetsSent - phone.heard.length <= 1);
  assert.ok(phone.sentAtMs.length - stats.packetsReceived <= 1);
  assert.equal(stats.codec, 'PCMU');
  for (const [i, packet] of phone.heard.entries()) {
    assert.equal(packet.sequence, ((phone.heard[0]?.sequence ?? 0) + i) & 0xffff);
  }
});

function firstTime(events: readonly MediaEvent[], type: MediaEvent['type']): number {
  return events.find((event) => event.type === type)?.atMs ?? Number.NaN;
}

test('barge-in: heard_ms agrees with the capture; flush tells the same', async () => {
  const session = await engine.open(OPTIONS);
  const phone = await RtpPhone.open();
  const { wait } = watch(session);
  session.start(audioTo(phone));
  session.armBargeIn(true);
  await say(session, 1, tone(1000, 6000));
  await phone.play(
    concat(new Int16Array(12_000), tone(440, 400, 8000, true), new Int16Array(6400)),
    session.localPort,
  );
  const paused = await wait('playout.paused');
  session.flush();
  const flushed = await wait('playout.flushed');
  await session.close();
  phone.close();
  // The ramp of 5 ms after the cut is not part of the utterance.
  const loud = phone.heard.filter(({ pcm }) => peak(pcm.subarray(80)) > 1000);
  assert.ok(Math.abs(paused.heardMs - loud.length * 20) <= 20, `${paused.heardMs}`);
  assert.equal(flushed.heardMs, paused.heardMs);
  assert.equal(flushed.utterance, 1);
  assert.ok(paused.heardMs > 1400 && paused.heardMs < 1700, `${paused.heardMs}`);
  assert.equal((await wait('speech.stopped')).startMs, (await wait('speech.started')).startMs);
});

test('a phone that sends from another address is latched, others are not heard', async () => {
  const recordingPath = join(folder, 'elsewhere.wav');
  const session = await engine.open({ ...OPTIONS, recordingPath });
  const phone = await RtpPhone.open('127.0.0.1');
  const spoofer = await RtpPhone.open('127.0.0.9', 0x66666666);
  const { wait } = watch(session);
  session.start(audioTo(phone, '127.0.0.31'));
  const caller = sweep(400, 2500, 1500);
  const playing = phone.play(concat(caller, new Int16Array(1600)), session.localPort);
  const latched = await wait('media.latched');
  assert.deepEqual([latched.address, latched.port], ['127.0.0.1', phone.port]);
  await spoofer.play(tone(700, 400, 16_000), session.localPort);
  await playing;
  await session.close();
  phone.close();
  spoofer.close();
  const [left] = await channels(recordingPath);
  const { correlation, at } = find(caller, left);
  assert.ok(correlation >= 0.98, `the first half second is kept: ${correlation}`);
  assert.ok(at < 800);
  assert.ok(phone.heard.length > 30, 'symmetric: we send where it sends from');
  assert.equal(spoofer.heard.length, 0, 'nothing goes to a stranger');
});

test('a re-INVITE moves the media to another phone', async () => {
  const session = await engine.open(OPTIONS);
  const [first, second] = [await RtpPhone.open(), await RtpPhone.open('127.0.0.1', 0x5555)];
  const { events } = watch(session);
  session.start(audioTo(first));
  await first.play(new Int16Array(3200), session.localPort);
  session.start(audioTo(second));
  await second.play(new Int16Array(3200), session.localPort);
  const { stats } = await session.close();
  assert.equal(events.filter(({ type }) => type === 'media.latched').length, 2);
  assert.ok(second.heard.length >= 15, `${second.heard.length}`);
  const [last, next] = [first.heard.at(-1), second.heard[0]];
  assert.ok(last && next);
  assert.equal(next.sequence, (last.sequence + 1) & 0xffff);
  // The last packet of either phone may still be on its way.
  assert.ok(stats.packetsReceived >= 36, `${stats.packetsReceived}`);
  first.close();
  second.close();
});

test('a port held by another program is stepped over; no port left is told', async () => {
  const small = createMediaEngine({ rtpPorts: { first: 23_400, last: 23_403 }, log: silentLog });
  const blocker = createSocket('udp4');
  blocker.bind(23_401, '127.0.0.1');
  await once(blocker, 'listening');
  try {
    const session = await small.open(OPTIONS);
    assert.equal(session.localPort, 23_402);
    await assert.rejects(small.open(OPTIONS), { code: 'E_MEDIA_PORTS' });
    await session.close();
    await assert.rejects(small.open({ ...OPTIONS, localAddress: '192.0.2.1' }), {
      code: 'E_MEDIA',
    });
    assert.deepEqual(await small.census(), { sessions: 0, sockets: 0, timers: 0 });
  } finally {
    blocker.close();
    await small.close();
  }
});

test('a hundred sessions leave nothing behind', async () => {
  for (let round = 0; round < 5; round++) {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => engine.open(OPTIONS)));
    const phone = await RtpPhone.open();
    for (const session of sessions) {
      session.start(audioTo(phone));
      session.beginUtterance(1);
      void session.write(1, new Int16Array(8000)).then(
        () => session.endUtterance(1),
        (error: unknown) => assert.match(String(error), /utterance 1/),
      );
    }
    const census = await engine.census();
    assert.deepEqual([census.sessions, census.sockets, census.timers], [20, 40, 1]);
    await Promise.all(sessions.flatMap((session) => [session.close(), session.close()]));
    phone.close();
  }
  assert.deepEqual(await engine.census(), { sessions: 0, sockets: 0, timers: 0 });
});

test('a closed engine answers at once, starts no thread again, and opens nothing', async () => {
  const own = createMediaEngine({ rtpPorts: { first: 23_520, last: 23_539 }, log: silentLog });
  const opening = assert.rejects(own.open(OPTIONS), { code: 'E_MEDIA' });
  await own.close();
  await opening;
  assert.deepEqual(await own.census(), { sessions: 0, sockets: 0, timers: 0 });
  assert.deepEqual(await own.pacing(), []);
  await assert.rejects(own.open(OPTIONS), { code: 'E_MEDIA' });
});

test('a recording that cannot be written is told, and the call goes on', async () => {
  const own = createMediaEngine({ rtpPorts: { first: 23_500, last: 23_519 }, log: silentLog });
  const recordingPath = '/dev/full/not-a-folder/call.wav';
  try {
    const session = await own.open({ ...OPTIONS, recordingPath });
    const phone = await RtpPhone.open();
    const { wait } = watch(session);
    session.start(audioTo(phone));
    await wait('recording.failed');
    await phone.play(new Int16Array(1600), session.localPort);
    const { recording, stats } = await session.close();
    assert.equal(recording, null);
    assert.ok(stats.packetsSent > 5, 'the call went on');
    phone.close();
  } finally {
    await own.close();
  }
});
