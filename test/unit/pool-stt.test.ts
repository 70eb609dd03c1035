/** Recognisers that stand in for each other: every utterance is read once, whatever breaks and whenever. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { ErrorCode } from '#lib/errors.ts';
import type { SttEvent, SttProvider, UtteranceAudio } from '#providers/contract.ts';
import { failoverStt } from '#providers/pool/failover-stt.ts';
import { broken, pass, rigOf, type Rig } from './_pool-kit.ts';

/** Each caller utterance is a level of its own: what a recogniser was given can be read from the samples. */
const LEVEL = 1_000;
const FRAME = 160;

type Script = {
  readonly name: string;
  readonly finalMs?: number;
  readonly hasPartials?: boolean;
  /** From this call time on nothing more comes from the vendor, though its line is open. */
  deafFromMs?: number;
  /** At this call time the session breaks. */
  readonly breaksAtMs?: number;
  readonly breaksWith?: ErrorCode;
  readonly refuses?: ErrorCode;
  /** Answers every utterance with an error of its own, and hears on. */
  readonly stumbles?: boolean;
  /** Answers without words. */
  readonly hearsNothing?: boolean;
  readonly throws?: boolean;
};

type Given = { readonly name: string; levels: number[]; events: string[]; isClosed: boolean };

function ears(clock: SimulatedClock, script: Script, given: Given[]): SttProvider {
  const { name, finalMs = 150, hasPartials = true } = script;
  let opened = 0;
  return {
    vendor: name,
    reads: true,
    open: (call) => {
      opened += 1;
      const own: Given = { name, levels: [], events: [], isClosed: false };
      given.push(own);
      const isDeaf = (): boolean => clock.now() >= (script.deafFromMs ?? Infinity);
      const tell = (event: SttEvent, ms: number): void =>
        void clock.setTimer(() => {
          if (!own.isClosed && !isDeaf()) call.onEvent(event);
        }, ms);
      const fatal = (code: ErrorCode): SttEvent => ({
        type: 'error',
        error: broken(code),
        isFatal: true,
      });
      if (script.refuses !== undefined) tell(fatal(script.refuses), 50);
      if (script.breaksAtMs !== undefined && opened === 1 && script.breaksAtMs >= clock.now()) {
        tell(fatal(script.breaksWith ?? 'E_PROVIDER_SERVER'), script.breaksAtMs - clock.now());
      }
      let heard = new Set<number>();
      let heardSamples = 0;
      return {
        push(pcm) {
          if (script.throws === true) throw new TypeError('a bug in a client');
          for (const sample of pcm) {
            const level = sample / LEVEL;
            if (level === 0) continue;
            if (own.levels.at(-1) !== level) own.levels.push(level);
            if (hasPartials && heardSamples++ % 2_400 === 0)
              tell({ type: 'partial', text: `u${level}` }, 100);
            heard.add(level);
          }
        },
        speechStarted: (startMs) => void own.events.push(`start ${startMs}`),
        speechStopped({ startMs, endMs }: UtteranceAudio) {
          own.events.push(`stop ${endMs}`);
          const text =
            script.hearsNothing === true ? '' : [...heard].map((level) => `u${level}`).join(' ');
          heard = new Set();
          if (script.stumbles === true) return tell({ type: 'error', error: broken() }, finalMs);
          const rest = { confidence: null, startMs, endMs, language: null };
          tell({ type: 'final', text, ...rest }, finalMs);
        },
        close() {
          own.isClosed = true;
        },
      };
    },
  };
}

type Call = {
  readonly finals: string[];
  /** From the end of each utterance to its text. */
  readonly lateMs: number[];
  readonly errors: string[];
  readonly given: Given[];
  readonly rig: Rig<SttProvider>;
  readonly clock: SimulatedClock;
};

/** Utterances of `speechMs` with `pauseMs` behind each, heard by `scripts`. */
async function call(
  scripts: readonly Script[],
  { count = 4, speechMs = 600, pauseMs = 1_400 } = {},
): Promise<Call> {
  const clock = new SimulatedClock();
  const given: Given[] = [];
  const rig = rigOf(
    'stt',
    clock,
    scripts.map((script) => ears(clock, script, given)),
  );
  const stt = failoverStt(rig.lineup);
  const finals: string[] = [];
  const lateMs: number[] = [];
  const errors: string[] = [];
  let isInside = false;
  const session = stt.open({
    ...{ callId: 'c', language: 'en' },
    onEvent: (event) => {
      assert.equal(isInside, false, 'never from inside a call of the session');
      if (event.type === 'final') {
        finals.push(`${event.startMs}-${event.endMs} ${event.text}`);
        lateMs.push(clock.now() - (event.endMs ?? 0));
      }
      if (event.type === 'error') errors.push(event.error.message);
    },
  });
  const inside = (act: () => void): void => {
    isInside = true;
    act();
    isInside = false;
  };
  const push = async (level: number, ms: number): Promise<void> => {
    for (let done = 0; done < ms; done += 20) {
      inside(() => session.push(new Int16Array(FRAME).fill(level * LEVEL)));
      await pass(clock, 20, 20);
    }
  };
  await push(0, 1_000);
  for (let n = 1; n <= count; n++) {
    const startMs = clock.now();
    inside(() => session.speechStarted(startMs));
    await push(n, speechMs);
    const endMs = clock.now();
    inside(() => session.speechStopped({ pcm: new Int16Array(8), startMs, endMs }));
    await push(0, pauseMs);
  }
  await push(0, 2_000);
  inside(() => session.close());
  assert.ok(
    given.every((each) => each.isClosed),
    'a session is left open',
  );
  for (const member of rig.members) assert.equal(member.inFlight, 0);
  await pass(clock, 10_000, 1_000);
  assert.equal(clock.pending, 0, 'a timer is left');
  return { finals, lateMs, errors, given, rig, clock };
}

const ALL = ['1000-1600 u1', '3000-3600 u2', '5000-5600 u3', '7000-7600 u4'];

test('one that works hears all of it, and is the only one', async () => {
  const { finals, lateMs, errors, given, rig } = await call([{ name: 'a' }, { name: 'b' }]);
  assert.deepEqual(finals, ALL);
  assert.deepEqual(lateMs, [150, 150, 150, 150]);
  assert.deepEqual([errors, given.length, rig.failovers], [[], 1, []]);
});

test('a session that breaks at any moment of two utterances: nothing is lost, nothing is read twice', async () => {
  for (let breaksAtMs = 0; breaksAtMs <= 5_000; breaksAtMs += 70) {
    const { finals, lateMs, errors, given, rig } = await call([
      { name: 'a', breaksAtMs },
      { name: 'b' },
    ]);
    const name = `broken at ${breaksAtMs}`;
    assert.deepEqual(finals, ALL, name);
    assert.ok(Math.max(...lateMs) <= 320, `${name}: ${lateMs.join()}`);
    assert.deepEqual([errors, given.length, rig.failovers], [[], 2, ['a>b']], name);
    // What had been read was not heard again.
    const before = finals.filter((_, at) => 1_750 + at * 2_000 < breaksAtMs).length;
    assert.equal(given[1]?.levels[0], before + 1, `${name}: ${given[1]?.levels.join()}`);
  }
});

test('a line that dies without a word: left in the speech that it lets pass, or after it', async () => {
  for (const hasPartials of [true, false])
    for (let deafFromMs = 0; deafFromMs <= 4_000; deafFromMs += 170) {
      const script = { name: 'a', deafFromMs, hasPartials };
      const { finals, lateMs, errors } = await call([script, { name: 'b' }]);
      const name = `${hasPartials ? 'with' : 'without'} partial texts, deaf from ${deafFromMs}`;
      assert.deepEqual(finals, ALL, name);
      assert.ok(Math.max(...lateMs) <= 1_380, `${name}: ${lateMs.join()}`);
      assert.deepEqual(errors, [], name);
    }
});

test('long speech: a dead line is left within 2 s, while it goes on, and the whole of it is read', async () => {
  const { finals, lateMs, rig, given } = await call(
    [{ name: 'a', deafFromMs: 9_500 }, { name: 'b' }],
    { count: 2, speechMs: 6_000, pauseMs: 1_500 },
  );
  assert.deepEqual(finals, ['1000-7000 u1', '8500-14500 u2']);
  assert.deepEqual(lateMs, [150, 150]);
  assert.deepEqual([rig.failovers, rig.failures], [['a>b'], ['a server']]);
  assert.deepEqual(given[1]?.events[0], 'start 8500');
});

test('every kind of trouble at the first one', async () => {
  const rows: [Script, string[], number][] = [
    [{ name: 'a', refuses: 'E_PROVIDER_AUTH' }, ['a auth'], 150],
    [{ name: 'a', refuses: 'E_PROVIDER_QUOTA' }, ['a quota'], 150],
    [{ name: 'a', refuses: 'E_TIMEOUT' }, ['a server'], 150],
    [{ name: 'a', throws: true }, ['a server'], 150],
    [{ name: 'a', stumbles: true }, ['a server'], 300],
    [{ name: 'a', finalMs: 1_100, hasPartials: false }, ['a server'], 850],
    [{ name: 'a', finalMs: 1_100 }, [], 1_100],
  ];
  for (const [script, failures, worstMs] of rows) {
    const { finals, lateMs, errors, rig } = await call([script, { name: 'b' }]);
    const name = JSON.stringify(script);
    assert.deepEqual(finals, ALL, name);
    assert.deepEqual([errors, rig.failures], [[], failures], name);
    assert.equal(Math.max(...lateMs), worstMs, name);
  }
});

test('one that hears nothing in speech: another one is asked, once; noise is not carried to and fro', async () => {
  const nothing = { name: 'a', hearsNothing: true, hasPartials: false };
  const long = { count: 4, speechMs: 1_000, pauseMs: 1_000 };
  const words = await call([nothing, { name: 'b' }], long);
  assert.deepEqual(words.finals, ['1000-2000 u1', '3000-4000 u2', '5000-6000 u3', '7000-8000 u4']);
  assert.deepEqual(words.rig.failovers, ['a>b']);
  const noise = await call([nothing, { ...nothing, name: 'b' }], long);
  assert.deepEqual(noise.finals, ['1000-2000 ', '3000-4000 ', '5000-6000 ', '7000-8000 ']);
  assert.deepEqual(noise.rig.failovers, ['a>b'], 'once in half a minute');
  assert.deepEqual(noise.rig.failures, [], 'and it is nobody’s fault');
});

test('nobody else: the call goes on deaf until somebody hears again, and says so once', async () => {
  const { finals, errors, given } = await call([{ name: 'a', breaksAtMs: 3_300 }]);
  assert.deepEqual(finals, ALL);
  assert.deepEqual(errors, ['scripted E_PROVIDER_SERVER']);
  assert.deepEqual(
    given.map((each) => each.levels[0]),
    [1, 2],
  );
  const dead = await call([{ name: 'a', refuses: 'E_PROVIDER_AUTH' }]);
  assert.deepEqual(dead.finals, []);
  assert.deepEqual(dead.errors, ['scripted E_PROVIDER_AUTH']);
  assert.equal(dead.given.length, 1, 'it is not asked again');
  const both = await call([
    { name: 'a', refuses: 'E_PROVIDER_SERVER' },
    { name: 'b', refuses: 'E_PROVIDER_SERVER' },
  ]);
  assert.deepEqual(both.finals, []);
  assert.ok(both.given.length <= 8, `asked ${both.given.length} times`);
});

test('what is kept to be heard again is bounded: of a very long speech, its end', async () => {
  const { given } = await call([{ name: 'a', breaksAtMs: 30_000 }, { name: 'b' }], {
    count: 1,
    speechMs: 32_000,
  });
  assert.equal(given.length, 2);
  assert.deepEqual(given[1]?.events, ['start 1000', 'stop 33000']);
});
