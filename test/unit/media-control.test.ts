/** What live control does to one call's audio: mute, hold and its tune, listeners, recordings begun and ended in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { G711 } from '#lib/g711.ts';
import { holdTune } from '#media/mix/hold-tune.ts';
import { RecordingFile } from '#media/recording/recording-file.ts';
import { TapReader } from '#media/mix/tap-reader.ts';
import type { MediaEvent } from '#media/types.ts';
import { AUDIO, MemoryDisk, PHONE, rtp, testChain, type TestChain } from './_media.ts';

const FRAME = 160;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await turn();
};
const codes = (value: number): Uint8Array =>
  new Uint8Array(FRAME).fill(G711.PCMU.encode[value & 0xffff] ?? 0);
const LOUD = codes(8000);
const QUIET = codes(0);
const isSilent = (payload: Uint8Array): boolean => payload.every((code) => (code | 0x80) === 0xff);

/** A phone that sends one packet per 20 ms of simulated time, each frame at a level of its own when wished. */
class Phone {
  sequence = 100;
  timestamp = 9000;
  readonly #test: TestChain;

  constructor(call: TestChain) {
    this.#test = call;
  }

  send(payload: Uint8Array, payloadType = 0): void {
    const { sequence, timestamp } = this;
    const bytes = rtp({ sequence, timestamp, payload, payloadType });
    this.#test.transport.listener?.(bytes, PHONE.address, PHONE.port);
    this.sequence++;
    this.timestamp += FRAME;
  }

  play(frames: number, payload: Uint8Array | ((frame: number) => Uint8Array)): void {
    for (let i = 0; i < frames; i++) {
      this.send(typeof payload === 'function' ? payload(i) : payload);
      this.#test.clock.advance(20);
    }
  }
}

const named = <T extends MediaEvent['type']>(call: TestChain, type: T) =>
  call.events.filter((event): event is Extract<MediaEvent, { type: T }> => event.type === type);

async function speak(call: TestChain, utterance: number, pcm: Int16Array): Promise<void> {
  call.writer.begin(utterance);
  const written = call.writer.write(utterance, pcm);
  call.writer.end(utterance);
  await written;
}

const steady = (ms: number, value = 6000): Int16Array => new Int16Array(ms * 8).fill(value);

function read(call: TestChain): Int16Array {
  const pcm = new Int16Array(call.callerRing.available);
  call.callerRing.read(pcm);
  return pcm;
}

test('a muted agent: silence on the wire, playout goes on, the recording keeps what was said', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  await speak(call, 1, steady(1000));
  call.clock.advance(300);
  const before = call.transport.sent.length;
  call.chain.output.mute(true);
  call.clock.advance(400);
  const muted = call.transport.sent.slice(before);
  // The first of them fades out over 5 ms.
  assert.ok(muted.slice(1).every(({ payload }) => isSilent(payload)));
  assert.ok(isSilent((muted[0]?.payload ?? LOUD).subarray(40)));
  call.chain.output.mute(false);
  call.clock.advance(600);
  const done = named(call, 'playout.done')[0];
  assert.equal(done?.heardMs, 1000);
  assert.ok(done && done.atMs <= 1040, `time passes while muted: ${done.atMs}`);
  const loud = call.transport.sent.filter(({ payload }) => !isSilent(payload)).length;
  assert.ok(Math.abs(loud - 31) <= 1, `${loud} packets heard of 50`);
  await call.chain.close();
  const agent = call.disk.channel(1);
  const first = agent.indexOf(6000);
  assert.deepEqual(agent.subarray(first, first + 8000), steady(1000), 'recorded as it was said');
});

test('a muted caller: silence, no speech, no barge-in, no digits; recording and listeners keep him', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  call.chain.armBargeIn(true);
  const tap = new TapReader(() => undefined);
  call.chain.taps.add(1, tap.buffers.caller, tap.buffers.agent);
  const phone = new Phone(call);
  await speak(call, 1, steady(3000));
  call.chain.muteCaller(true);
  phone.play(20, LOUD);
  for (const [frame, bits] of [0, 0, 0x80].entries()) {
    const payload = Uint8Array.of(5, bits | 10, 0, 160 * (frame + 1) - 1);
    const bytes = rtp({ sequence: phone.sequence++, timestamp: 20_000, payload, payloadType: 101 });
    call.transport.listener?.(bytes, PHONE.address, PHONE.port);
    phone.timestamp += FRAME;
    call.clock.advance(20);
  }
  phone.play(15, QUIET);
  for (const type of ['speech.started', 'dtmf', 'playout.paused'] as const)
    assert.deepEqual(named(call, type), [], type);
  assert.ok(read(call).every((x) => x === 0));
  const [caller, agent] = [new Int16Array(16_000), new Int16Array(16_000)];
  const count = tap.read(caller, agent);
  assert.ok(caller.subarray(0, count).some((x) => x > 7000));
  call.chain.muteCaller(false);
  phone.play(20, LOUD);
  assert.equal(named(call, 'speech.started').length, 1);
  assert.equal(named(call, 'playout.paused').length, 1);
  assert.ok(read(call).some((x) => x > 7000));
  await call.chain.close();
  const loud = call.disk.channel(0).filter((x) => x > 7000).length;
  assert.ok(Math.abs(loud - 40 * FRAME) <= 2 * FRAME, `${loud / FRAME} frames recorded of 40`);
});

test('a caller muted in mid-speech has stopped speaking', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(20, LOUD);
  call.chain.muteCaller(true);
  phone.play(40, LOUD);
  const [stopped] = named(call, 'speech.stopped');
  assert.ok(stopped && Math.abs(stopped.endMs - 400) <= 20, `${stopped?.endMs}`);
  await call.chain.close();
});

test('a loop takes the place of the agent, who goes on from the same sample afterwards', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const loop = new Int16Array(400).map((_, i) => 1000 + i);
  await speak(call, 1, steady(1000));
  call.clock.advance(500);
  const before = call.transport.sent.length;
  call.chain.output.loop.set(loop);
  call.clock.advance(400);
  const played = call.transport.sent.slice(before);
  assert.equal(played.length, 20);
  const wanted = Array.from(
    { length: 20 * FRAME },
    (_, i) => G711.PCMU.encode[loop[i % 400] ?? 0] ?? 0,
  );
  const got = played.flatMap(({ payload }) => [...payload]);
  assert.deepEqual(got.slice(40), wanted.slice(40), 'the loop, over and over, after its fade-in');
  assert.equal(named(call, 'playout.paused').length, 0);
  call.chain.output.loop.set(null);
  call.clock.advance(1000);
  assert.equal(named(call, 'playout.done')[0]?.heardMs, 1000);
  const loud = call.transport.sent
    .flatMap(({ payload }) => [...payload])
    .filter((code) => code === G711.PCMU.encode[6000]).length;
  // The fade-in after the loop makes up for 5 ms.
  assert.ok(8000 - loud <= 40, `${loud} samples of 8000`);
  for (const [i, packet] of call.transport.sent.entries()) {
    const first = call.transport.sent[0];
    assert.equal(packet.sequence, ((first?.sequence ?? 0) + i) & 0xffff);
    assert.equal(packet.timestamp, ((first?.timestamp ?? 0) + i * FRAME) >>> 0);
  }
  await call.chain.close();
  const agent = call.disk.channel(1);
  assert.ok(agent.includes(1399), 'the recording has what was sent');
});

function steepest(pcm: ArrayLike<number>): number {
  let most = 0;
  for (let i = 1; i < pcm.length; i++)
    most = Math.max(most, Math.abs((pcm[i] ?? 0) - (pcm[i - 1] ?? 0)));
  return most;
}

test('a loop that ends or gives way to another does not click, on the wire or in the recording', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const { loop } = call.chain.output;
  for (const pcm of [steady(60), steady(60, -6000), null]) {
    loop.set(pcm);
    call.clock.advance(200);
  }
  await call.chain.close();
  const heard = call.transport.sent.flatMap(({ payload }) =>
    [...payload].map((code) => G711.PCMU.decode[code] ?? 0),
  );
  assert.ok(heard.includes(G711.PCMU.decode[G711.PCMU.encode[6000] ?? 0] ?? 0));
  assert.ok(steepest(heard) <= 400, `on the wire: ${steepest(heard)}`);
  const recorded = call.disk.channel(1);
  assert.ok(recorded.includes(6000) && recorded.includes(-6000));
  assert.ok(steepest(recorded) <= 400, `in the recording: ${steepest(recorded)}`);
});

test('the hold tune: eight seconds at -24 dBFS, no click where it begins again, in shared memory', () => {
  const tune = holdTune();
  assert.equal(tune.length, 64_000);
  assert.ok(tune.buffer instanceof SharedArrayBuffer);
  assert.equal(holdTune(), tune, 'made once');
  const rms = Math.sqrt(tune.reduce((sum, x) => sum + x * x, 0) / tune.length);
  assert.ok(Math.abs(20 * Math.log10(rms / 32_768) + 24) < 0.1);
  const peak = tune.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  assert.ok(peak < 16_384, `${peak}`);
  let step = 0;
  for (let i = 1; i < tune.length; i++)
    step = Math.max(step, Math.abs((tune[i] ?? 0) - (tune[i - 1] ?? 0)));
  const seam = Math.abs((tune[0] ?? 0) - (tune.at(-1) ?? 0));
  assert.ok(seam <= step, `a step of ${seam} at the seam, ${step} within`);
});

test('on hold nothing is missed: no media.lost, playout and numbers as before', async () => {
  const call = testChain({ rtpTimeoutMs: 3000, firstRtpTimeoutMs: 3000 });
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(25, QUIET);
  call.chain.start({ ...AUDIO, receive: false });
  call.chain.output.loop.set(holdTune());
  call.clock.advance(20_000);
  assert.equal(named(call, 'media.lost').length, 0);
  call.chain.output.loop.set(null);
  call.chain.start({ ...AUDIO, send: false, receive: false });
  call.clock.advance(10_000);
  assert.equal(named(call, 'media.lost').length, 0);
  const before = call.transport.sent.at(-1);
  const left = call.transport.sent.length;
  call.chain.start(AUDIO);
  call.clock.advance(2900);
  assert.equal(named(call, 'media.lost').length, 0, 'counted from the resumption');
  const next = call.transport.sent[left];
  assert.ok(before && next);
  assert.equal(next.sequence, (before.sequence + 1) & 0xffff);
  assert.equal(next.timestamp, (before.timestamp + 501 * FRAME) >>> 0);
  call.clock.advance(200);
  assert.equal(named(call, 'media.lost').length, 1);
  read(call);
  phone.play(30, LOUD);
  assert.ok(read(call).some((x) => x > 7000));
  await call.chain.close();
});

/** Frame `i` of either side is known by its level, also through mu-law. */
const numbered = (i: number): Int16Array => new Int16Array(FRAME).fill(1000 + (i % 25) * 300);

test('listeners: aligned by the tick, and no sample of the call is changed by them', async () => {
  const payloads: string[][] = [];
  for (const listeners of [0, 8]) {
    const call = testChain();
    call.chain.start(AUDIO);
    const phone = new Phone(call);
    const taps = Array.from({ length: listeners }, (_, i) => {
      const tap = new TapReader(() => call.chain.taps.remove(i));
      call.chain.taps.add(i, tap.buffers.caller, tap.buffers.agent);
      return tap;
    });
    const said = new Int16Array(100 * FRAME);
    for (let i = 0; i < 100; i++) said.set(numbered(i), i * FRAME);
    await speak(call, 1, said);
    const heard: [number[], number[]] = [[], []];
    const [caller, agent] = [new Int16Array(480), new Int16Array(480)];
    phone.play(100, (i) =>
      numbered(i).reduce<Uint8Array>((all, x, k) => {
        all[k] = G711.PCMU.encode[x] ?? 0;
        return all;
      }, new Uint8Array(FRAME)),
    );
    for (let n = 1; n > 0;) {
      n = taps[3]?.read(caller, agent) ?? 0;
      assert.equal(n % FRAME, 0);
      heard[0].push(...caller.subarray(0, n));
      heard[1].push(...agent.subarray(0, n));
    }
    payloads.push(call.transport.sent.map(({ payload }) => Buffer.from(payload).toString('hex')));
    if (listeners > 0) {
      assert.equal(heard[0].length, heard[1].length);
      assert.ok(heard[1].length >= 95 * FRAME, `${heard[1].length / FRAME} frames`);
      for (let at = FRAME; at < 95 * FRAME; at += FRAME) {
        const frame = heard[1].slice(at, at + FRAME);
        assert.ok(
          frame.every((x) => x === frame[0]),
          `the agent's frame at ${at} is whole`,
        );
      }
      // The caller is the depth of the jitter buffer behind, and stays there.
      const nearest = (x: number): number => Math.round((x - 1000) / 300);
      const lags = Array.from({ length: 80 }, (_, i) => {
        const at = (i + 10) * FRAME + 80;
        return (25 + nearest(heard[1][at] ?? 0) - nearest(heard[0][at] ?? 0)) % 25;
      });
      assert.ok(
        Math.max(...lags) - Math.min(...lags) <= 2,
        `lags ${Math.min(...lags)}..${Math.max(...lags)}`,
      );
      assert.ok(Math.max(...lags) <= 5, 'no more than the jitter buffer and a frame');
    }
    for (const tap of taps) tap.close();
    assert.equal(taps[0]?.read(caller, agent) ?? 0, 0);
    await call.chain.close();
  }
  assert.deepEqual(payloads[0], payloads[1]);
});

test('a listener that does not read loses what is older than 2 s; a ninth is not taken in', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const tap = new TapReader(() => undefined);
  call.chain.taps.add(0, tap.buffers.caller, tap.buffers.agent);
  for (let i = 1; i < 8; i++) {
    const { caller, agent } = new TapReader(() => undefined).buffers;
    call.chain.taps.add(i, caller, agent);
  }
  const ninth = new TapReader(() => undefined);
  call.chain.taps.add(8, ninth.buffers.caller, ninth.buffers.agent);
  const said = new Int16Array(350 * FRAME);
  for (let i = 0; i < 350; i++) said.set(new Int16Array(FRAME).fill(i + 1), i * FRAME);
  const speaking = speak(call, 1, said);
  call.clock.advance(6900);
  await speaking;
  const [caller, agent] = [new Int16Array(32_000), new Int16Array(32_000)];
  assert.equal(tap.read(caller, agent), 16_000);
  const lastFrame = agent[15_999] ?? 0;
  assert.ok(Math.abs(lastFrame - 345) <= 1, `the newest: ${lastFrame}`);
  assert.equal(agent[0], lastFrame - 99);
  assert.equal(tap.read(caller, agent), 0);
  call.clock.advance(60);
  assert.equal(tap.read(caller.subarray(0, 100), agent), 0, 'no part of a frame');
  assert.equal(tap.read(caller.subarray(0, 200), agent), FRAME);
  assert.equal(ninth.read(caller, agent), 0);
  await call.chain.close();
});

test('recordings in mid-call: begun, paused, resumed, stopped, and another one after it', async () => {
  const call = testChain({ recordsOnCommand: true });
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  const disks = [new MemoryDisk(), new MemoryDisk()];
  const open = (disk: MemoryDisk | undefined) => (onFailed: (message: string) => void) =>
    new RecordingFile({
      path: `memory ${disks.indexOf(disk as MemoryDisk)}`,
      clock: new SimulatedClock(),
      onFailed,
      open: () => Promise.resolve(disk as MemoryDisk),
    });
  phone.play(10, LOUD);
  // Where the two sides of a cut fall within a frame is the network's matter.
  phone.play(2, QUIET);
  assert.equal(call.chain.startRecording(open(disks[0])), true);
  assert.equal(call.chain.startRecording(open(disks[1])), false, 'one at a time');
  phone.play(20, QUIET);
  call.chain.recording.pause();
  call.chain.recording.pause();
  phone.play(2, QUIET);
  phone.play(50, LOUD);
  phone.play(2, QUIET);
  call.chain.recording.resume();
  call.chain.recording.resume();
  phone.play(20, QUIET);
  const stopped = call.chain.stopRecording();
  phone.play(2, QUIET);
  phone.play(10, LOUD);
  await settle();
  const first = await stopped;
  assert.equal(first?.durationMs, 800, 'the pause is not in it');
  assert.ok(
    disks[0]?.channel(0).every((x) => x < 100),
    'nothing that was said outside of it',
  );
  assert.ok(disks[0]?.isClosed, 'closed while the call goes on');
  assert.equal(await call.chain.stopRecording(), null);
  assert.equal(call.chain.startRecording(open(disks[1])), true);
  phone.play(25, LOUD);
  const { recording } = await call.chain.close();
  assert.equal(recording?.path, 'memory 1');
  assert.ok(Math.abs((recording?.durationMs ?? 0) - 500) <= 60);
  assert.equal(call.disk.end, 0, 'the call’s own recording was never begun');
});

test('a stop waits for the caller to get there, and closing the call ends that wait', async () => {
  const call = testChain();
  call.chain.start(AUDIO);
  const phone = new Phone(call);
  phone.play(20, LOUD);
  const stopped = call.chain.stopRecording();
  const closed = await call.chain.close();
  assert.equal(closed.recording, null);
  const result = await stopped;
  assert.ok(Math.abs((result?.durationMs ?? 0) - 400) <= 20, `${result?.durationMs}`);
  assert.ok(call.disk.isClosed);
});
