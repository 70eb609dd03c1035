/** Web calls with the real media worker: audio exact both ways, loss and return, no port, nothing left. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine } from '#media/media-client.ts';
import { WEB_AUDIO } from '#media/web/web-transport.ts';
import type { ProviderSet } from '#providers/contract.ts';
import { AudioPump } from '#sessions/audio-pump.ts';
import type { Attachment } from '#sessions/call-attach-types.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { ACCOUNT, createService } from '../unit/_call-service.ts';
import { AGENT } from '../unit/_fakes.ts';
import { eventually } from './_app.ts';

// One port: whoever leases any gets no second one.
const engine = createMediaEngine({ rtpPorts: { first: 23_990, last: 23_991 }, log: silentLog });
const folder = await mkdtemp(join(tmpdir(), 'callyard-web-'));
after(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

const FRAME = 160;
const FRAME_MS = 20;

/** Noise without a quiet frame, the same for the same seed. */
function noise(seconds: number, seed: number): Int16Array {
  let state = seed;
  return Int16Array.from({ length: seconds * 8000 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return ((state >> 8) % 20_000) - 10_000;
  });
}

/** Where `part` begins in `whole`, sample for sample; -1 when it is not there. */
function indexOf(whole: Int16Array, part: Int16Array): number {
  for (let at = 0; at + part.length <= whole.length; at++) {
    let i = 0;
    while (i < part.length && whole[at + i] === part[i]) i++;
    if (i === part.length) return at;
  }
  return -1;
}

const REPLIES: Readonly<Record<string, Int16Array>> = {
  'Hello there my friend': noise(1.5, 3),
  'You said my order.': noise(2, 5),
};

/** A service whose calls have real media; `heard` is what the recogniser was given. */
function start() {
  const heard: number[] = [];
  const providers: ProviderSet = {
    stt: {
      vendor: 'fake',
      reads: true,
      open: () => ({
        push: (pcm) => {
          for (const sample of pcm) heard.push(sample);
        },
        speechStarted: () => undefined,
        speechStopped: () => undefined,
        close: () => undefined,
      }),
    },
    llm: {
      vendor: 'fake',
      async *reply({ input }) {
        await Promise.resolve();
        yield { type: 'text', text: `You said ${input.kind === 'speech' ? input.text : ''}.` };
        return undefined;
      },
    },
    tts: {
      vendor: 'fake',
      async *speak({ text }) {
        await Promise.resolve();
        const pcm = REPLIES[text] ?? new Int16Array(800);
        // In pieces, as vendors send it.
        for (let at = 0; at < pcm.length; at += 3000)
          yield { pcm: pcm.slice(at, at + 3000), marks: [{ chars: text.length, ms: 0 }] };
      },
    },
  };
  const turn = { ...AGENT.turn, bargeIn: false };
  const service = createService({
    changes: {
      deps: {
        media: engine,
        pump: new AudioPump(systemClock, (error) => assert.fail(String(error))),
        clock: systemClock,
        log: silentLog,
        newRecording: () => ({
          ...{ path: join(folder, 'r.cyr'), uri: 'r.cyr', keyEnc: '' },
          seal: { recordingId: newId(), key: new Uint8Array(32) },
        }),
      },
      agents: { defaultFor: () => Promise.resolve({ ...AGENT, turn }) } as never,
      providersFor: () => providers,
    },
  });
  return { ...service, heard };
}

/** Reads all the time, as a socket would; `got` is what came. */
class Reader {
  readonly got: number[] = [];
  readonly frames: CallFrame[] = [];
  client: Attachment | null = null;
  #isOver = false;
  readonly done: Promise<void>;

  constructor(t: TestContext) {
    this.done = this.#run();
    t.after(() => this.stop());
  }

  use(client: Attachment): void {
    this.client = client;
    client.onFrame((frame) => this.frames.push(frame));
  }

  async #run(): Promise<void> {
    const into = new Int16Array(FRAME);
    while (!this.#isOver) {
      for (let n = this.client?.read(into) ?? 0; n > 0; n = this.client?.read(into) ?? 0)
        for (const sample of into.subarray(0, n)) this.got.push(sample);
      await sleep(FRAME_MS);
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  saw(type: CallFrame['type'], name?: string): Promise<boolean> {
    const look = (): boolean =>
      this.frames.some(
        (frame) => frame.type === type && (frame.type !== 'mark' || frame.name === name),
      );
    return eventually(() => Promise.resolve(look()), Boolean);
  }
}

/** In real time, but 200 ms ahead, so that a stall of this machine is no stall of the stream. */
async function speak(client: Attachment, pcm: Int16Array): Promise<void> {
  const startMs = performance.now();
  for (let at = 0; at < pcm.length;) {
    const dueTo = (performance.now() - startMs + 200) * 8;
    for (; at < pcm.length && at < dueTo; at += FRAME)
      assert.equal(client.push(pcm.subarray(at, at + FRAME)), 0);
    await sleep(FRAME_MS);
  }
}

test('a whole web call: every sample both ways, also across a loss', async (t) => {
  const { calls, heard, types, record } = start();
  t.after(() => calls.drain(0));
  const placed = await calls.placeWeb({
    ...{ accountId: ACCOUNT, remoteNumber: null, direction: 'inbound' },
  });
  assert.ok(placed.ok);
  const { id } = placed.call;
  const attach = (): Attachment => {
    const result = calls.attach(ACCOUNT, id, { role: 'caller', allowedAgentIds: null });
    assert.ok(result.ok);
    return result.attachment;
  };
  const reader = new Reader(t);
  const listener = calls.attach(ACCOUNT, id, { role: 'listen', allowedAgentIds: null });
  assert.ok(listener.ok);
  const ear = new Reader(t);
  ear.use(listener.attachment);
  const first = attach();
  reader.use(first);
  assert.ok(await reader.saw('mark', 't1-p1'), 'the greeting was sent');
  const greeting = REPLIES['Hello there my friend'] as Int16Array;
  assert.ok(indexOf(Int16Array.from(reader.got), greeting) >= 0, 'the greeting arrived');

  const said = noise(3, 9);
  await speak(first, said);
  await sleep(600);
  assert.ok(indexOf(Int16Array.from(heard), said) >= 0, 'the recogniser got every sample');
  assert.equal((await engine.census()).sockets, 0, 'no port is bound');

  first.text('my order');
  await sleep(700);
  first.detach();
  reader.client = null;
  await sleep(1200);
  const second = attach();
  reader.use(second);
  assert.ok(await reader.saw('mark', 't2-p1'), 'the reply went on');
  const reply = REPLIES['You said my order.'] as Int16Array;
  assert.ok(indexOf(Int16Array.from(reader.got), reply) >= 0, 'and nothing of it is missing');
  const mixed = Int16Array.from(ear.got);
  assert.ok(indexOf(mixed, greeting) >= 0, 'a listener hears the agent');
  assert.ok(indexOf(mixed, said) >= 0, 'and the caller');

  second.hangup(null);
  assert.ok(await reader.saw('ended'));
  for (const each of [reader, ear]) each.stop();
  await Promise.all([reader.done, ear.done]);
  const view = await calls.get(ACCOUNT, id);
  assert.deepEqual([view?.outcome, view?.hangupReason], ['completed', 'user']);
  assert.equal(types().at(-1), 'call.ended');
  assert.equal(record()['sip_call_id'], null);
  const left = await eventually(
    () => engine.census(),
    ({ sessions }) => sessions === 0,
  );
  assert.deepEqual([left.sessions, left.timers], [0, 0]);
});

test('whoever does not come back within 10 s has lost the call', async () => {
  const { calls } = start();
  const placed = await calls.placeWeb({
    ...{ accountId: ACCOUNT, remoteNumber: null, direction: 'inbound' },
  });
  assert.ok(placed.ok);
  const { id } = placed.call;
  const attached = calls.attach(ACCOUNT, id, { role: 'caller', allowedAgentIds: null });
  assert.ok(attached.ok);
  const status = async (): Promise<string | undefined> =>
    (await calls.get(ACCOUNT, id))?.status ?? undefined;
  assert.equal(await eventually(status, (now) => now === 'answered'), 'answered');
  attached.attachment.detach();
  await sleep(9000);
  assert.equal(await status(), 'answered');
  await eventually(status, (now) => now === 'ended');
  assert.equal((await calls.get(ACCOUNT, id))?.outcome, 'media_lost');
  assert.equal((await engine.census()).sessions, 0);
});

test('the recording of a web call has every sample of both sides', async () => {
  const recordingPath = join(folder, 'web.wav');
  const session = await engine.open({
    ...{ callId: 'made-up', localAddress: '', recordingPath, web: true },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
  });
  const { web } = session;
  assert.ok(web);
  assert.equal(session.localPort, 0);
  const [caller, agent] = [noise(2, 11), noise(2, 13)];
  session.start(WEB_AUDIO);
  session.beginUtterance(1);
  const written = session.write(1, agent);
  session.endUtterance(1);
  assert.equal(web.push(caller.subarray(0, 8000)), 0);
  await sleep(500);
  assert.equal(web.push(caller.subarray(8000)), 0);
  await written;
  await sleep(2200);
  const { recording, stats } = await session.close();
  assert.equal(stats.codec, 'L16');
  assert.ok(recording);
  const wav = await readFile(recordingPath);
  const sides = [0, 2].map((offset) =>
    Int16Array.from({ length: (wav.length - 44) / 4 }, (_, i) =>
      wav.readInt16LE(44 + i * 4 + offset),
    ),
  );
  assert.ok(indexOf(sides[0] as Int16Array, caller) >= 0, 'caller');
  assert.ok(indexOf(sides[1] as Int16Array, agent) >= 0, 'agent');
});
