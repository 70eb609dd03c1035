/** Who answered: words, tables of greetings in time, random walks, tones made by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AmdCause, AmdResult } from '#lib/call-events.ts';
import { AMD_TIMES, AnswerClassifier, type AmdEvent, type AmdVerdict } from '#sessions/amd.ts';
import { judgeWords, type WordsVerdict } from '#sessions/amd-words.ts';
import { ToneFinder, type FoundTone } from '#media/speech/tone-finder.ts';

test('what words say', () => {
  const rows: [string, WordsVerdict][] = [
    ['Hello?', null],
    ['喂，你好。', null],
    ['喂，请问哪位？', 'person'],
    ['Acme accounting, Jo speaking, how can I help?', 'person'],
    ['Please leave a message after the tone.', 'machine'],
    ["Hi, you've reached the voicemail of Ann.", 'machine'],
    ['The person you are calling is not available.', 'machine'],
    ['The subscriber you have dialed is switched off.', 'machine'],
    ['您好，您拨打的用户正忙，请稍后再拨。', 'machine'],
    ['您所拨打的电话已关机。', 'machine'],
    ['请在嘀声后留言。', 'machine'],
    ['听到提示音后请留言，留言结束请按井号键。', 'machine'],
    ['Leave your message after the beep, or press 1 for more options.', 'machine'],
    ['Hi, this is Ann, I will call you back.', 'perhaps machine'],
    ['我现在不方便接电话。', 'perhaps machine'],
    ['他不在。', 'perhaps machine'],
    ['For sales, press 1. For support, press two.', 'menu'],
    ['Press 2 to leave a message for the office.', 'menu'],
    ['Please enter your extension, or press #.', 'menu'],
    ['查询余额请按1，人工服务请按零。', 'menu'],
    ['请直接拨分机号，查号请拨0。', 'menu'],
    ['你好，我八点按时到。', null],
    ['I was pressed for time.', null],
    ['请问你说的是哪一件事？', 'person'],
  ];
  for (const [text, expected] of rows) assert.equal(judgeWords(text), expected, text);
});

/** Speech from, to and words read so long after its end; or a tone. */
type Sound =
  | { readonly from: number; readonly to: number; readonly text?: string; readonly readMs?: number }
  | { readonly hz: number; readonly from: number; readonly to: number };
type Told = { readonly at: number; readonly verdict: AmdVerdict };

const HANGOVER_MS = 200;

/** Runs in steps of 20 ms until it is over or `untilMs`. */
function run(sounds: readonly Sound[], { reads = true, untilMs = 60_000 } = {}): Told[] {
  const events: { at: number; event: AmdEvent }[] = [];
  for (const sound of sounds) {
    const { from: startMs, to: endMs } = sound;
    if ('hz' in sound) {
      const tone = { type: 'tone', hz: sound.hz, startMs } as const;
      if (endMs - startMs >= 1_000) {
        const at = startMs + 1_000;
        events.push({ at, event: { ...tone, endMs: at, isOver: false } });
      }
      events.push({ at: endMs + 60, event: { ...tone, endMs, isOver: true } });
      continue;
    }
    events.push({ at: startMs + 60, event: { type: 'speech.started', startMs } });
    events.push({ at: endMs + HANGOVER_MS, event: { type: 'speech.stopped', startMs, endMs } });
    if (!reads) continue;
    const { text = '', readMs = 100 } = sound;
    const at = endMs + HANGOVER_MS + readMs;
    events.push({ at, event: { type: 'words', text, isFinal: true } });
  }
  events.sort((a, b) => a.at - b.at);
  const classifier = new AnswerClassifier({ reads });
  const told: Told[] = [];
  for (let at = 0; at <= untilMs && !classifier.isOver(at); at += 20) {
    while ((events[0]?.at ?? Infinity) <= at) {
      const { event } = events.shift() as { event: AmdEvent };
      told.push(...classifier.take(event, at).map((verdict) => ({ at, verdict })));
    }
    told.push(...classifier.take({ type: 'time' }, at).map((verdict) => ({ at, verdict })));
  }
  return told;
}

test('greetings in time', () => {
  type Row = [
    what: string,
    sounds: Sound[],
    results: [AmdResult, AmdCause][],
    withinMs: number,
    ready?: string,
  ];
  const rows: Row[] = [
    ['hello', [{ from: 300, to: 900, text: 'Hello?' }], [['human', 'short_greeting']], 1_500],
    ['wei', [{ from: 300, to: 700, text: '喂？' }], [['human', 'short_greeting']], 1_500],
    [
      'an office',
      [{ from: 200, to: 4_200, text: 'Acme accounting, Jo speaking, how can I help you today?' }],
      [['human', 'short_greeting']],
      4_800,
    ],
    [
      'read late',
      [{ from: 300, to: 900, text: 'Hello?', readMs: 900 }],
      [['human', 'short_greeting']],
      2_100,
    ],
    [
      'never read',
      [{ from: 300, to: 900, text: 'Hello?', readMs: 90_000 }],
      [['human', 'short_greeting']],
      3_000,
    ],
    ['quiet', [], [['no_speech', 'silence']], AMD_TIMES.noSpeechMs],
    [
      'a voicemail box in English',
      [
        { from: 300, to: 3_900, text: 'Please leave a message after the tone.' },
        { hz: 1_000, from: 4_600, to: 5_000 },
      ],
      [['machine', 'words']],
      4_300,
      'beep',
    ],
    [
      'a voicemail box in Chinese',
      [
        { from: 300, to: 3_900, text: '您拨打的用户无法接听，请在嘀声后留言。' },
        { hz: 440, from: 4_600, to: 4_800 },
      ],
      [['machine', 'words']],
      4_300,
      'beep',
    ],
    [
      'hello first',
      [
        { from: 300, to: 800, text: '您好。' },
        { from: 2_000, to: 5_000, text: '我不在，请在嘟声后留言。' },
        { hz: 800, from: 5_400, to: 5_700 },
      ],
      [
        ['human', 'short_greeting'],
        ['machine', 'words'],
      ],
      5_400,
      'beep',
    ],
    [
      'no beep',
      [{ from: 300, to: 3_900, text: '您所拨打的电话已关机。' }],
      [['machine', 'words']],
      4_300,
      'silence',
    ],
    [
      'a name and a beep',
      [
        { from: 300, to: 1_300, text: 'Bob and Jane.' },
        { hz: 1_400, from: 1_500, to: 1_900 },
      ],
      [
        ['human', 'short_greeting'],
        ['machine', 'beep'],
      ],
      3_000,
      'beep',
    ],
    [
      'a monologue nobody can read',
      [{ from: 200, to: 12_000, text: '' }],
      [['machine', 'long_greeting']],
      AMD_TIMES.monologueMs + 300,
      'silence',
    ],
    [
      'longer than a person, shorter than a monologue',
      [{ from: 200, to: 4_000, text: 'This is the house of the Smiths and their seven dogs' }],
      [['machine', 'long_greeting']],
      5_600,
      'silence',
    ],
    [
      'a person who is told to be away',
      [{ from: 200, to: 1_500, text: '他不在。' }],
      [['human', 'short_greeting']],
      3_100,
    ],
    ['a menu', [{ from: 300, to: 2_300, text: 'For sales, press 1.' }], [['ivr', 'words']], 2_700],
    [
      'thanks first, then a menu',
      [
        { from: 300, to: 1_900, text: 'Thank you for calling.' },
        { from: 2_700, to: 5_000, text: '查询请按1，人工请按0。' },
      ],
      [
        ['human', 'short_greeting'],
        ['ivr', 'words'],
      ],
      5_400,
    ],
    ['fax that answers', [{ hz: 2_100, from: 500, to: 3_500 }], [['fax', 'tone']], 1_600],
    ['fax that calls', [{ hz: 1_100, from: 500, to: 1_000 }], [['fax', 'tone']], 1_100],
    [
      'a switchboard that rings',
      [
        { hz: 450, from: 0, to: 1_000 },
        { hz: 450, from: 5_000, to: 6_000 },
        { from: 7_000, to: 7_500, text: '喂？' },
      ],
      [['human', 'short_greeting']],
      8_100,
    ],
  ];
  for (const [what, sounds, results, withinMs, ready] of rows) {
    const told = run(sounds);
    const found = told.flatMap(({ verdict, at }) =>
      verdict.type === 'result' ? [{ at, pair: [verdict.result, verdict.cause] }] : [],
    );
    assert.deepEqual(
      found.map(({ pair }) => pair),
      results,
      what,
    );
    const at = found.at(-1)?.at ?? Infinity;
    assert.ok(at <= withinMs, `${what}: decided at ${at} ms, not within ${withinMs}`);
    const readiness = told.flatMap(({ verdict }) =>
      verdict.type === 'ready' ? [verdict.cause] : [],
    );
    assert.deepEqual(readiness, ready === undefined ? [] : [ready], what);
  }
});

test('a beep is waited for while the machine speaks, and not for ever', () => {
  const words = { from: 300, to: 3_900, text: 'Leave a message after the tone.' };
  const long = [words, { from: 4_500, to: 20_000, text: 'And now some news of our house.' }];
  const [, ready] = run([...long, { hz: 1_000, from: 21_000, to: 21_400 }]);
  assert.deepEqual(ready?.verdict, { type: 'ready', cause: 'beep' });
  assert.ok((ready?.at ?? 0) >= 21_800 && (ready?.at ?? 0) <= 22_000, String(ready?.at));
  const [, late] = run([words, { from: 4_500, to: 59_000, text: '' }]);
  assert.deepEqual(late?.verdict, { type: 'ready', cause: 'limit' });
  assert.ok((late?.at ?? 0) <= 4_300 + AMD_TIMES.readyLimitMs);
});

test('a beep that somebody speaks after at once is none', () => {
  const told = run([
    { from: 300, to: 2_000, text: 'Good day to you' },
    { hz: 1_000, from: 2_050, to: 2_250 },
    { from: 2_350, to: 2_600, text: 'hello' },
  ]);
  const result = { type: 'result', result: 'human', cause: 'short_greeting' };
  assert.deepEqual(
    told.map(({ verdict }) => verdict),
    [result],
  );
});

test('any sequence is decided in time, each result once, ready once and only of a machine', () => {
  const words = ['', 'Hello?', '喂？', 'after the tone', 'press 1', '请问', '不在', '请按2'];
  let seed = 20_261_121;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  for (let round = 0; round < 400; round++) {
    const sounds: Sound[] = [];
    for (let at = random(3_000); at < 40_000; at += random(4_000)) {
      const from = at;
      const to = (at += 40 + random(random(4) === 0 ? 9_000 : 2_000));
      if (random(4) === 0) sounds.push({ hz: 300 + random(2_000), from, to });
      else {
        const text = words[random(words.length)] as string;
        sounds.push({ from, to, text, readMs: random(3_000) });
      }
    }
    const told = run(sounds, { reads: random(4) > 0 });
    const results = told.filter(({ verdict }) => verdict.type === 'result');
    const ready = told.filter(({ verdict }) => verdict.type === 'ready');
    assert.ok(results.length >= 1 && results.length <= 3, JSON.stringify({ told, sounds }));
    assert.ok((results[0]?.at ?? Infinity) <= AMD_TIMES.limitMs, JSON.stringify({ told, sounds }));
    const names = results.map(({ verdict }) => (verdict as { result: string }).result);
    assert.equal(new Set(names).size, names.length, names.join());
    assert.equal(
      ready.length,
      names.at(-1) === 'machine' ? 1 : 0,
      JSON.stringify({ told, sounds }),
    );
  }
});

// ---- Tones ----

function sine(hz: number, ms: number, amplitude = 6_000): Int16Array {
  const pcm = new Int16Array(ms * 8);
  for (let i = 0; i < pcm.length; i++)
    pcm[i] = Math.round(amplitude * Math.sin((2 * Math.PI * hz * i) / 8_000));
  return pcm;
}

function join(...parts: Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function tonesIn(pcm: Int16Array, chunk = 160): FoundTone[] {
  const tones: FoundTone[] = [];
  const finder = new ToneFinder((tone) => tones.push(tone));
  for (let at = 0; at < pcm.length; at += chunk) {
    const part = pcm.subarray(at, at + chunk);
    finder.push(part, part.length, (at + part.length) / 8);
  }
  return tones;
}

/** Seeded white noise. */
function noise(ms: number, amplitude: number): Int16Array {
  let seed = 7;
  return Int16Array.from({ length: ms * 8 }, () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.round((seed / 2 ** 31 - 1) * amplitude);
  });
}

const add = (a: Int16Array, b: Int16Array): Int16Array => a.map((x, i) => x + (b[i] ?? 0));
const silence = (ms: number): Int16Array => new Int16Array(ms * 8);

test('tones of all frequencies that machines use, loud and soft, on a noisy line, in chunks of any size', () => {
  for (const hz of [400, 425, 450, 600, 777, 1_000, 1_100, 1_400, 1_850, 2_000, 2_100]) {
    for (const amplitude of [300, 6_000, 30_000]) {
      for (const chunk of [160, 57, 1_600]) {
        const line = join(silence(200), sine(hz, 300, amplitude), silence(300));
        const [tone, more] = tonesIn(add(line, noise(800, amplitude / 12)), chunk);
        assert.ok(tone !== undefined && more === undefined, `${hz} Hz ${amplitude} ${chunk}`);
        assert.ok(Math.abs(tone.hz - hz) <= 12, `${hz} Hz was taken for ${tone.hz}`);
        assert.ok(Math.abs(tone.startMs - 200) <= 20 && Math.abs(tone.endMs - 500) <= 20);
        assert.equal(tone.isOver, true);
      }
    }
  }
});

test('what is no tone: noise, two tones, a glide, a blip, a voice, a whisper of one', () => {
  const glide = new Int16Array(4_000).map((_, i) =>
    Math.round(6_000 * Math.sin((2 * Math.PI * (500 + 0.1 * i) * i) / 8_000)),
  );
  const voice = new Int16Array(8_000).map((_, i) => {
    const f0 = 120 + 30 * Math.sin((2 * Math.PI * 3 * i) / 8_000);
    let sum = 0;
    for (let h = 1; h <= 12; h++) sum += Math.sin((2 * Math.PI * f0 * h * i) / 8_000) / h;
    return Math.round(4_000 * sum);
  });
  const rows: [string, Int16Array][] = [
    ['noise', noise(2_000, 8_000)],
    ['a key', add(sine(697, 400), sine(1_209, 400))],
    ['ringing in two tones', add(sine(440, 1_000), sine(480, 1_000))],
    ['a glide', glide],
    ['a blip', join(silence(100), sine(1_000, 80), silence(100))],
    ['a voice', voice],
    ['too soft', sine(1_000, 400, 40)],
    ['too low', sine(200, 400)],
  ];
  for (const [what, pcm] of rows) assert.deepEqual(tonesIn(join(pcm, silence(200))), [], what);
});

test('a long tone is told once before its end; a fax may turn the phase round', () => {
  const turned = join(
    sine(2_100, 450),
    sine(2_100, 450).map((x) => -x),
    sine(2_100, 450),
  );
  const told = tonesIn(join(silence(100), turned, silence(200)));
  assert.deepEqual(
    told.map(({ isOver }) => isOver),
    [false, true],
  );
  assert.ok((told[1]?.endMs ?? 0) - (told[1]?.startMs ?? 0) >= 1_300);
});
