/** What every speech-to-speech provider must do, whoever made it: run over each against its vendor's simulator. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import type { RealtimeEvent, RealtimeProvider, RealtimeSession } from '#providers/contract.ts';
import type { SimAnswer, SimQuestion } from '#providers/sim/openai-realtime-kit.ts';
import type { FaultPlan } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import type { VendorSettings, VendorTools } from '#providers/vendor.ts';
import { atEnd } from './_store.ts';

export type OpenOptions = Parameters<RealtimeProvider['open']>[0];

/** One provider and the simulator it talks to. */
export type RealtimeWorld = {
  readonly provider: RealtimeProvider;
  readonly faults: FaultPlan;
  readonly violations: readonly string[];
  /** Sockets that are open at the simulator, and all there were. */
  readonly server: { readonly open: number; readonly accepted: number };
  /** How much of each cut reply the vendor was told to have been heard. */
  cuts(): readonly number[];
  close(): Promise<void>;
};

export type RealtimeContract = {
  readonly name: string;
  readonly start: () => Promise<RealtimeWorld>;
  readonly codec?: 'PCMA' | 'PCMU' | 'L16';
  /** The vendor can be told what of a reply was heard. */
  readonly truncates: boolean;
  /** The model may ask for tools. Default true. */
  readonly hasTools?: boolean;
  /** The least correlation of what was heard with what the simulator said. Default 0.97. */
  readonly likeness?: number;
};

export const WORDS = { '7': 'what is the weather', '8': 'please use the tool', '9': 'good bye' };

/** What every simulated model answers. */
export function answer({ said, toolResult, tools }: SimQuestion): SimAnswer {
  if (toolResult !== null)
    return { text: `the result is ${toolResult.replace(/\W+/g, ' ').trim()}` };
  if (said.includes('tool') && tools.includes('lookup')) {
    return { text: 'one moment', calls: [{ name: 'lookup', arguments: { id: 41 } }] };
  }
  return { text: said === '' ? 'I am here' : `you said ${said}` };
}

export const TOOL = {
  name: 'lookup',
  description: 'looks something up',
  parameters: { type: 'object', properties: { id: { type: 'number' } } },
};

let resampling: ReturnType<typeof loadStreamResampling> | undefined;

export const vendorTools: VendorTools = {
  log: silentLog,
  clock: systemClock,
  resampling: () => (resampling ??= loadStreamResampling()),
};

export function vendorSettings(
  options: Readonly<Record<string, unknown>>,
  credentials: Readonly<Record<string, string>> = { api_key: 'key-1' },
): VendorSettings {
  return {
    ...{ setting: 'realtime account "test"', credentials, options },
    ...{ model: null, temperature: null, maxTokens: null, voice: null },
    ...{ speed: null, volume: null, token: null },
  };
}

/** Speech of utterance `id`, and the silence that ends it. */
export function utterance(id: number, silenceMs = 900): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(800 + code.length + 2_400 + silenceMs * 8);
  pcm.set(code, 800);
  for (let i = 0; i < 2_400; i++) {
    pcm[800 + code.length + i] = Math.round(6_000 * Math.sin((2 * Math.PI * 180 * i) / 8_000));
  }
  return pcm;
}

/** One call, and all that was told of it. Nothing may be told from inside a call of the session's functions. */
export class Listener {
  readonly events: RealtimeEvent[] = [];
  #isInside = false;
  session: RealtimeSession | null = null;

  readonly onEvent = (event: RealtimeEvent): void => {
    assert.equal(this.#isInside, false, `${event.type} was told from inside a call`);
    this.events.push(event);
  };

  do(act: (session: RealtimeSession) => void): void {
    assert.ok(this.session !== null);
    this.#isInside = true;
    try {
      act(this.session);
    } finally {
      this.#isInside = false;
    }
  }

  speak(id: number, silenceMs?: number): void {
    const pcm = utterance(id, silenceMs);
    // Odd pieces, in a buffer that is used again.
    const piece = new Int16Array(173);
    for (let at = 0; at < pcm.length; at += piece.length) {
      const part = pcm.subarray(at, at + piece.length);
      piece.fill(0);
      piece.set(part);
      this.do((session) => session.push(piece.subarray(0, part.length)));
      piece.fill(12_345);
    }
  }

  all<T extends RealtimeEvent['type']>(type: T): Extract<RealtimeEvent, { type: T }>[] {
    return this.events.filter(
      (event): event is Extract<RealtimeEvent, { type: T }> => event.type === type,
    );
  }

  textOf(generation: number): string {
    return this.all('agent_text')
      .filter((event) => event.generation === generation)
      .map(({ text }) => text)
      .join('');
  }

  soundOf(generation: number): Int16Array {
    const parts = this.all('audio').filter((event) => event.generation === generation);
    return Int16Array.from(parts.flatMap(({ pcm }) => [...pcm]));
  }

  async until(what: string, isSo: () => boolean, withinMs = 4_000): Promise<void> {
    const endMs = performance.now() + withinMs;
    while (!isSo()) {
      const seen = this.events.map((event) =>
        event.type === 'audio' ? '·' : JSON.stringify(event),
      );
      assert.ok(performance.now() < endMs, `no ${what} in ${withinMs} ms: ${seen.join(' ')}`);
      await pause(3);
    }
  }

  turnDone(generation: number): Promise<void> {
    return this.until(`end of turn ${generation}`, () =>
      this.all('turn_done').some((event) => event.generation === generation),
    );
  }
}

export async function openCall(
  t: TestContext,
  provider: RealtimeProvider,
  more: Partial<OpenOptions> = {},
): Promise<Listener> {
  const listener = new Listener();
  const session = await provider.open(
    {
      ...{ callId: 'call-1', language: 'en', instructions: 'Be brief.', tools: [], history: [] },
      ...{ codec: 'L16', onEvent: listener.onEvent, ...more },
    },
    new AbortController().signal,
  );
  listener.session = session;
  atEnd(t, () => session.close());
  return listener;
}

/** 0..1: how much `heard` is `said`, shifted by up to 8 ms. */
export function likeness(heard: Int16Array, said: Int16Array): number {
  let best = 0;
  for (let shift = 0; shift <= 64; shift++) {
    let [both, ofHeard, ofSaid] = [0, 0, 0];
    for (let i = 0; i < said.length; i++) {
      const [a, b] = [heard[i + shift] ?? 0, said[i] ?? 0];
      both += a * b;
      ofHeard += a * a;
      ofSaid += b * b;
    }
    best = Math.max(best, both / Math.sqrt(ofHeard * ofSaid || 1));
  }
  return best;
}

async function begin(t: TestContext, contract: RealtimeContract, more: Partial<OpenOptions> = {}) {
  const world = await contract.start();
  atEnd(t, () => world.close());
  const codec = contract.codec ?? 'L16';
  const listener = await openCall(t, world.provider, { codec, ...more });
  return { world, listener };
}

async function allClosed(world: RealtimeWorld): Promise<void> {
  const endMs = performance.now() + 2_000;
  while (world.server.open > 0 && performance.now() < endMs) await pause(5);
  assert.equal(world.server.open, 0, 'every socket is closed');
  assert.deepEqual(world.violations, []);
}

export function testRealtime(contract: RealtimeContract): void {
  const { name } = contract;

  test(`${name}: hears the caller, writes him down, answers in one turn with the sound that was sent`, async (t) => {
    const { world, listener } = await begin(t, contract);
    listener.speak(7);
    await listener.turnDone(1);
    const kinds = [...new Set(listener.events.map(({ type }) => type))];
    for (const type of ['speech_started', 'speech_stopped', 'user_transcript', 'usage'] as const) {
      assert.ok(kinds.includes(type), `no ${type}`);
    }
    assert.equal(
      listener.all('user_transcript').findLast(({ isFinal }) => isFinal)?.text,
      WORDS[7],
    );
    for (const { text, isFinal } of listener.all('user_transcript')) {
      assert.ok(isFinal || WORDS[7].startsWith(text), text);
    }
    const order = [
      'speech_started',
      'speech_stopped',
      'turn_started',
      'audio',
      'turn_done',
    ] as const;
    const places = order.map((type) => listener.events.findIndex((event) => event.type === type));
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    assert.equal(listener.all('turn_started').length, 1);
    assert.equal(listener.textOf(1), `you said ${WORDS[7]}`);
    const said = simSpeech(`you said ${WORDS[7]}`, 8_000);
    const heard = listener.soundOf(1);
    assert.ok(Math.abs(heard.length - said.length) <= 80, `${heard.length} of ${said.length}`);
    const like = likeness(heard, said);
    assert.ok(like >= (contract.likeness ?? 0.97), `the sound is another: ${like}`);
    listener.do((session) => session.close());
    await allClosed(world);
  });

  test(`${name}: says what it is told, word for word, one after the other`, async (t) => {
    const { world, listener } = await begin(t, contract);
    listener.do((session) => {
      session.say('Good morning, this is the front desk.');
      session.say('How can I help?');
    });
    await listener.turnDone(2);
    assert.equal(listener.textOf(1), 'Good morning, this is the front desk.');
    assert.equal(listener.textOf(2), 'How can I help?');
    const second = likeness(listener.soundOf(2), simSpeech('How can I help?', 8_000));
    assert.ok(second >= (contract.likeness ?? 0.97), `${second}`);
    listener.do((session) => session.text('eleven'));
    await listener.turnDone(3);
    assert.match(listener.textOf(3), /eleven|I am here/);
    listener.do((session) => session.close());
    await allClosed(world);
  });

  test(`${name}: asks for a tool and goes on with its result`, async (t) => {
    if (contract.hasTools === false) {
      const world = await contract.start();
      atEnd(t, () => world.close());
      assert.equal(world.provider.hasTools, false);
      return;
    }
    const { world, listener } = await begin(t, contract, { tools: [TOOL] });
    assert.equal(world.provider.hasTools, true);
    listener.speak(8);
    await listener.turnDone(1);
    const [asked, ...others] = listener.all('tool_call');
    assert.deepEqual(others, []);
    assert.deepEqual([asked?.call.name, asked?.call.arguments], ['lookup', { id: 41 }]);
    assert.equal(asked?.generation, 1);
    listener.do((session) => {
      session.toolResult('nobody asked', '{}');
      session.toolResult(asked?.call.id ?? '', '{"name":"forty one"}');
      session.toolResult(asked?.call.id ?? '', '{"name":"twice"}');
    });
    await listener.turnDone(2);
    assert.equal(listener.textOf(2), 'the result is name forty one');
    listener.do((session) => session.close());
    await allClosed(world);
  });

  test(`${name}: what is interrupted is void, and the vendor knows what was heard`, async (t) => {
    const { world, listener } = await begin(t, contract);
    listener.do((session) => session.say('one two three four five six seven eight nine ten'));
    await listener.until('two pieces of sound', () => listener.all('audio').length >= 2);
    const before = listener.events.length;
    listener.do((session) => {
      session.interrupt(1, 150);
      session.interrupt(1, 90_000);
    });
    await pause(60);
    const after = listener.events.slice(before).filter((event) => 'generation' in event);
    assert.deepEqual(after, [], 'nothing of a void reply is told');
    listener.speak(7);
    await listener.turnDone(2);
    assert.equal(listener.textOf(2), `you said ${WORDS[7]}`);
    // After the end of it, and far beyond what there was.
    listener.do((session) => session.interrupt(2, 60_000));
    listener.do((session) => session.say('still here'));
    await listener.turnDone(3);
    const cuts = world.cuts();
    if (contract.truncates) assert.equal(cuts[0], 150);
    listener.do((session) => session.close());
    await allClosed(world);
  });

  test(`${name}: closing is done once, and nothing is told after it`, async (t) => {
    const { world, listener } = await begin(t, contract);
    listener.speak(7);
    await listener.until('sound', () => listener.all('audio').length > 0);
    listener.do((session) => {
      session.close();
      session.close();
    });
    const count = listener.events.length;
    listener.do((session) => {
      session.push(new Int16Array(160));
      session.say('nobody');
      session.text('nobody');
      session.toolResult('x', '{}');
      session.interrupt(1, 10);
    });
    await allClosed(world);
    assert.equal(listener.events.length, count);
  });

  test(`${name}: an abort ends the opening, and nothing stays open`, async (t) => {
    const world = await contract.start();
    atEnd(t, () => world.close());
    const open = (signal: AbortSignal): Promise<RealtimeSession> =>
      world.provider.open(
        {
          ...{ callId: 'call-1', language: 'zh', instructions: '', tools: [], history: [] },
          ...{ codec: contract.codec ?? 'L16', onEvent: () => assert.fail('nothing is told') },
        },
        signal,
      );
    const isAborted = (error: unknown): boolean =>
      error instanceof AppError && error.code === 'E_ABORTED';
    await assert.rejects(open(AbortSignal.abort()), isAborted);
    world.faults.add({ kind: 'hang' });
    const abort = new AbortController();
    const opening = open(abort.signal);
    setTimeout(() => abort.abort(), 60);
    await assert.rejects(opening, isAborted);
    await allClosed(world);
  });

  test(`${name}: a line that is cut in the middle is made anew, and nothing is lost`, async (t) => {
    const world = await contract.start();
    atEnd(t, () => world.close());
    world.faults.add({ kind: 'cut' }, null);
    const codec = contract.codec ?? 'L16';
    const listener = await openCall(t, world.provider, { codec });
    listener.speak(7);
    await listener.turnDone(2);
    assert.ok(listener.all('turn_done').some(({ generation }) => generation === 1));
    listener.speak(9);
    await listener.turnDone(3);
    assert.equal(listener.textOf(3), `you said ${WORDS[9]}`);
    assert.equal(listener.all('error').length, 0);
    assert.equal(world.server.accepted, 2);
    listener.do((session) => session.close());
    await allClosed(world);
  });
}
