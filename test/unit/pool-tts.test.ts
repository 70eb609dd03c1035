/** Voices that stand in for each other inside a sentence: no word twice, no word lost, and marks that stay right. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import type { AppError, ErrorCode } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest, WordMark } from '#providers/contract.ts';
import { failoverTts } from '#providers/pool/failover-tts.ts';
import { SpokenPart } from '#providers/pool/spoken-part.ts';
import { SIM_WORD_MS, simWords, simWordSound } from '#providers/sim/tts.ts';
import { broken, pass, rigOf } from './_pool-kit.ts';

type Script = {
  readonly name: string;
  readonly firstMs?: number;
  readonly fails?: ErrorCode;
  /** After so many words, by an error or by silence. */
  readonly breaksAt?: number;
  readonly hangsAt?: number;
  readonly breaksOnce?: boolean;
  /** `late`: with the next word; `first`: all with the first word; `none`. */
  readonly marks?: 'with' | 'late' | 'first' | 'end' | 'none';
  readonly empty?: boolean;
};

/** One chunk for a word, as the simulator's voice says it, so that what was heard can be read from the sound. */
function voice(clock: SimulatedClock, script: Script, asked: TtsRequest[]): TtsProvider {
  const { name, firstMs = 80, fails, marks = 'with', breaksOnce = false } = script;
  let count = 0;
  return {
    vendor: name,
    async *speak(request, signal): AsyncGenerator<TtsChunk, void> {
      asked.push(request);
      const isFaulty = !breaksOnce || count === 0;
      count += 1;
      await delay(firstMs, signal, clock);
      if (fails !== undefined && isFaulty) throw broken(fails);
      if (script.empty === true) return;
      const words = simWords(request.text);
      const all = words.map(({ end }, at): WordMark => ({
        chars: end,
        ms: (at + 1) * SIM_WORD_MS,
      }));
      for (const [at, word] of words.entries()) {
        if (isFaulty && at === script.breaksAt) throw broken();
        if (isFaulty && at === script.hangsAt) await delay(1e9, signal, clock);
        const own = {
          with: all.slice(at, at + 1),
          late: at === 0 ? [] : all.slice(at - 1, at),
          first: at === 0 ? all : [],
          ...{ end: [], none: [] },
        }[marks];
        yield { pcm: simWordSound(word.text), marks: own };
      }
      const rest = { with: [], first: [], none: [], late: all.slice(-1), end: all }[marks];
      if (rest.length > 0) yield { pcm: new Int16Array(0), marks: rest };
    },
  };
}

type Heard = {
  words: string[];
  marks: WordMark[];
  ms: number;
  firstMs: number | null;
  end: string;
  gapMs: number;
};

async function hear(
  text: string,
  scripts: readonly Script[],
  lastResort?: Script,
): Promise<Heard & { asked: TtsRequest[]; failovers: string[]; failures: string[] }> {
  const clock = new SimulatedClock();
  const asked: TtsRequest[] = [];
  const rig = rigOf(
    ...(['tts', clock, scripts.map((script) => voice(clock, script, asked))] as const),
    ...(lastResort === undefined ? [] : [voice(clock, lastResort, asked)]),
  );
  const tts = failoverTts(rig.lineup);
  const known = new Map(simWords(text).map(({ text: word }) => [simWordSound(word).join(), word]));
  assert.equal(known.size, simWords(text).length, 'two words sound alike');
  const heard: Heard = { words: [], marks: [], ms: 0, firstMs: null, end: '', gapMs: 0 };
  const run = async (): Promise<string> => {
    try {
      const request = { text, language: 'en', voice: 'anna' } as const;
      for await (const { pcm, marks } of tts.speak(request, new AbortController().signal)) {
        heard.marks.push(...marks);
        if (pcm.length === 0) continue;
        heard.firstMs ??= clock.now();
        // How long the listener had nothing left to hear.
        const playedMs = clock.now() - heard.firstMs;
        heard.gapMs = Math.max(heard.gapMs, playedMs - heard.ms);
        heard.ms += pcm.length / 8;
        heard.words.push(known.get(pcm.join()) ?? '?');
      }
      return 'ok';
    } catch (error) {
      return (error as AppError).message;
    }
  };
  const done = run();
  await pass(clock, 15_000, 20);
  heard.end = await done;
  assert.equal(clock.pending, 0, 'a timer is left');
  for (const member of rig.members) assert.equal(member.inFlight, 0);
  return { ...heard, asked, failovers: rig.failovers, failures: rig.failures };
}

const EN = 'One two three, four five six seven.';
const ZH = '您好，这里是客服中心。';

function assertWhole(text: string, heard: Heard, name: string): void {
  assert.equal(heard.end, 'ok', name);
  assert.deepEqual(
    heard.words,
    simWords(text).map((word) => word.text),
    name,
  );
  const ends = simWords(text).map(({ end }, at) => ({ chars: end, ms: (at + 1) * SIM_WORD_MS }));
  for (const mark of heard.marks) {
    const isKnown = ends.some(({ chars, ms }) => chars === mark.chars && ms === mark.ms);
    assert.ok(isKnown, `${name}: ${JSON.stringify(mark)} of ${JSON.stringify(ends)}`);
  }
  for (const [at, mark] of heard.marks.entries()) {
    const before = heard.marks[at - 1];
    assert.ok(
      before === undefined || mark.chars > before.chars,
      `${name}: ${JSON.stringify(heard.marks)}`,
    );
  }
  assert.equal(heard.marks.at(-1)?.chars, text.length, name);
}

test('a voice that breaks or falls silent at any word is followed by the next one, at that word', async () => {
  for (const text of [EN, ZH]) {
    const words = simWords(text).length;
    for (const marks of ['with', 'first'] as const)
      for (const fault of ['breaksAt', 'hangsAt'] as const)
        for (let at = 0; at <= words; at++) {
          const name = `${text} ${marks} ${fault} ${at}`;
          const heard = await hear(text, [
            { name: 'a', marks, [fault]: at },
            { name: 'b', marks },
          ]);
          assertWhole(text, heard, name);
          assert.equal(heard.asked[0]?.text, text);
          assert.equal(
            heard.asked[1]?.text ?? '',
            at === words ? '' : text.slice(simWords(text)[at - 1]?.end ?? 0),
            name,
          );
          assert.deepEqual(heard.failovers, at === words ? [] : ['a>b'], name);
          assert.ok(heard.gapMs <= 500, `${name}: silent for ${heard.gapMs} ms`);
        }
  }
});

test('marks that lag behind their sound, or never come: the words are counted by the voice’s pace', async () => {
  for (const marks of ['late', 'end', 'none'] as const)
    for (let at = 1; at < simWords(ZH).length; at++) {
      const name = `${marks} ${at}`;
      // Without punctuation: the breath that a voice takes there is known from its marks alone.
      const plain = '这里是客服中心请讲话';
      const heard = await hear(plain, [{ name: 'a', marks, breaksAt: at }, { name: 'b' }]);
      assert.deepEqual(heard.words, Array.from(plain), name);
      assert.equal(heard.marks.at(-1)?.chars, plain.length);
      assert.equal(heard.marks.at(-1)?.ms, plain.length * SIM_WORD_MS, name);
    }
});

test('before the first sound: errors, silence, empty answers', async () => {
  const b = { name: 'b' };
  const rows: [Script[], Script | undefined, string, number | null, string[]][] = [
    [[{ name: 'a' }, b], undefined, 'ok', 80, []],
    [[{ name: 'a', fails: 'E_PROVIDER_AUTH' }, b], undefined, 'ok', 160, ['a>b']],
    [[{ name: 'a', fails: 'E_PROVIDER_PARAM' }, b], undefined, 'ok', 160, ['a>b']],
    [[{ name: 'a', empty: true }, b], undefined, 'ok', 160, ['a>b']],
    [[{ name: 'a', hangsAt: 0 }, b], undefined, 'ok', 680, ['a>b']],
    [
      [{ name: 'a', fails: 'E_PROVIDER_CONTENT' }, b],
      undefined,
      'scripted E_PROVIDER_CONTENT',
      null,
      [],
    ],
    [[{ name: 'a', fails: 'E_PROVIDER_SERVER', breaksOnce: true }], undefined, 'ok', 160, []],
    [
      [{ name: 'a', fails: 'E_PROVIDER_SERVER' }],
      undefined,
      'scripted E_PROVIDER_SERVER',
      null,
      [],
    ],
    [[{ name: 'a', fails: 'E_PROVIDER_AUTH' }], { name: 'local' }, 'ok', 160, ['a>local']],
    [[{ name: 'a', fails: 'E_PROVIDER_SERVER' }], { name: 'local' }, 'ok', 240, ['a>local']],
    // Slow is not broken: the last resort does not speak instead.
    [[{ name: 'a', firstMs: 900 }], { name: 'local' }, 'ok', 900, []],
    [[{ name: 'a', hangsAt: 0, breaksOnce: true }], { name: 'local' }, 'ok', 1_080, []],
    // The last resort has no word of it: the failure is told, not silence.
    [
      [{ name: 'a', fails: 'E_PROVIDER_AUTH' }],
      { name: 'local', empty: true },
      'scripted E_PROVIDER_AUTH',
      null,
      ['a>local'],
    ],
  ];
  for (const [scripts, last, end, firstMs, failovers] of rows) {
    const heard = await hear(EN, scripts, last);
    const name = JSON.stringify([scripts, last]);
    assert.deepEqual([heard.end, heard.firstMs, heard.failovers], [end, firstMs, failovers], name);
    if (end === 'ok') assertWhole(EN, heard, name);
  }
});

test('one vendor alone: it goes on at the word where it broke', async () => {
  for (let at = 1; at < simWords(EN).length; at++) {
    const heard = await hear(EN, [{ name: 'a', breaksAt: at, breaksOnce: true }]);
    assertWhole(EN, heard, String(at));
    assert.deepEqual(heard.failures, ['a server']);
  }
});

test('a vendor that breaks once goes on itself; the last resort finishes what it breaks again', async () => {
  const local = { name: 'local' };
  const once = await hear(EN, [{ name: 'a', breaksAt: 3, breaksOnce: true }], local);
  assertWhole(EN, once, 'once');
  assert.deepEqual([once.failovers, once.asked.length], [[], 2]);
  const twice = await hear(EN, [{ name: 'a', breaksAt: 2 }], local);
  assertWhole(EN, twice, 'twice');
  assert.deepEqual([twice.failovers, twice.asked.length], [['a>local'], 3]);
});

test('the agent’s voice is asked of its own vendor alone', async () => {
  const { asked } = await hear(EN, [{ name: 'a', breaksAt: 3 }, { name: 'b' }]);
  assert.deepEqual(
    asked.map((request) => request.voice),
    ['anna', undefined],
  );
});

test('whoever breaks at every sentence is not asked for ever', async () => {
  const heard = await hear(EN, [{ name: 'a', breaksAt: 1 }]);
  assert.equal(heard.end, 'scripted E_PROVIDER_SERVER');
  assert.equal(heard.asked.length, 2);
});

test('nothing to say asks the first alone, and yields nothing', async () => {
  const { end, words, asked } = await hear('?!', [{ name: 'a' }, { name: 'b' }]);
  assert.deepEqual([end, words, asked.length], ['ok', [], 1]);
});

test('a break inside a word: what was said whole is not said again, what was not is', () => {
  const words = simWords(ZH);
  const all = words.map(({ end }, at): WordMark => ({ chars: end, ms: (at + 1) * SIM_WORD_MS }));
  for (const known of ['first', 'with'] as const)
    for (let chunkMs = 7; chunkMs <= 400; chunkMs += 31)
      for (let ms = 0; ms <= words.length * SIM_WORD_MS; ms += chunkMs) {
        const part = new SpokenPart(ZH, { chars: 0, ms: 0 }, null);
        for (let at = 0; at < ms; at += chunkMs) {
          const due = all.filter((mark) => mark.ms > at && mark.ms <= at + chunkMs);
          const marks = known === 'with' ? due : at === 0 ? all : [];
          part.take({ pcm: new Int16Array(chunkMs * 8), marks });
        }
        const { chars } = part.broken();
        const said = all.findLast((mark) => mark.ms <= part.ms)?.chars ?? 0;
        // Before its first mark nothing is known of a voice's marks: its pace decides.
        const isRight = chars === said || (known === 'with' && part.ms < SIM_WORD_MS);
        assert.ok(isRight, `${known}, ${part.ms} ms: ${chars}, not ${said}`);
      }
});
