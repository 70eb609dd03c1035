/** The agent's own voice coming back is not the caller's: recorded speech, as an echo and as double talk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EchoGuard, isSilent } from '#media/speech/echo-guard.ts';
import { loadSpeechClassifiers } from '#media/speech/vad.ts';
import { simWords, simWordSound } from '#providers/sim/tts.ts';
import { callerOver, heardAlone, HYBRIDS, levelDb, listenTo } from './_echo-lines.ts';
import { PURE, room, through, type EchoPath } from './_echo-lines.ts';
import { noise, recorded } from './_noises.ts';

const FRAME = 160;
const newClassifier = await loadSpeechClassifiers();

const AGENT = {
  en: recorded('about-en').subarray(0, 32_000),
  zh: recorded('about-zh').subarray(0, 32_000),
};
const CALLER = {
  en: recorded('menu-en').subarray(0, 12_000),
  zh: recorded('greeting-zh').subarray(0, 12_000),
};
const LANGUAGES = ['en', 'zh'] as const;

const PATHS: Readonly<Record<string, EchoPath>> = {
  'nothing but delay': PURE,
  'a short hybrid': HYBRIDS[0] ?? [],
  'a hybrid that reflects twice': HYBRIDS[1] ?? [],
  'a hybrid that rings': HYBRIDS[2] ?? [],
  'a room': room(100, 0, 2),
};

for (const [name, path] of Object.entries(PATHS))
  test(`${name}: the agent does not hear itself, 20-200 ms late and 12-30 dB down`, () => {
    let without = 0;
    let withGuard = 0;
    for (const language of LANGUAGES)
      for (const delay of [20, 80, 200]) {
        const agent = AGENT[language];
        const echo = through(agent, path, delay);
        for (const echoDb of [-12, -21, -30]) {
          const guard = new EchoGuard();
          withGuard += listenTo(agent, { echo, echoDb, guard }, newClassifier()).length;
          assert.ok(
            guard.lag < 0 || (guard.lag >= delay * 8 - 24 && guard.lag <= delay * 8 + 96),
            `${guard.lag} for ${delay} ms`,
          );
        }
        without += listenTo(agent, { echo, echoDb: -12, guard: null }, newClassifier()).length;
      }
    assert.ok(without >= 10, `${without}: the detector alone hears it all the time`);
    assert.ok(withGuard <= 1, `${withGuard}, and at one level of three ${without} without`);
  });

test('who really speaks over the agent is heard in time, echo or not', () => {
  const late: Record<number, number[]> = { 0: [], 6: [], 12: [] };
  for (const [path, echoDb] of [
    [PURE, -90],
    [PURE, -14],
    [HYBRIDS[1] ?? [], -14],
    [room(100, 0, 2), -18],
  ] as const)
    for (const language of LANGUAGES) {
      const agent = AGENT[language].subarray(0, 26_000);
      const echo = through(agent, path, 80);
      for (const name of LANGUAGES)
        for (const over of [0, 6, 12]) {
          const caller = CALLER[name];
          const callerDb = callerOver(agent, Math.max(-18, echoDb), caller, over);
          const alone = heardAlone(caller, callerDb, newClassifier());
          const callerAt = name === language ? 500 : 1700;
          const line = { echo, echoDb, caller, callerAt, callerDb, guard: new EchoGuard() };
          const starts = listenTo(agent, line, newClassifier());
          const first = starts.find(({ startMs }) => startMs >= callerAt - 100);
          late[over]?.push((first?.saidMs ?? Number.POSITIVE_INFINITY) - callerAt - alone);
        }
    }
  for (const [over, all] of Object.entries(late)) {
    all.sort((a, b) => a - b);
    const most = all[Math.floor(all.length * 0.9)] ?? Number.NaN;
    assert.ok(most <= 20 && Math.max(...all) <= 250, `${over} dB over: ${all.join(' ')}`);
  }
});

test('a path that becomes another one, as when the stream is placed anew, is found again', () => {
  for (const language of LANGUAGES) {
    const agent = recorded(`about-${language}`).subarray(0, 64_000);
    const [before, after] = [
      through(agent, HYBRIDS[0] ?? [], 80),
      through(agent, HYBRIDS[0] ?? [], 120),
    ];
    const echo = before.map((x, i) => (i < 32_000 ? x : (after[i] as number)));
    const guard = new EchoGuard();
    const starts = listenTo(agent, { echo, echoDb: -15, guard }, newClassifier());
    assert.ok(starts.length <= 1, JSON.stringify(starts));
    assert.ok(Math.abs(guard.lag - 120 * 8) <= 64, `${guard.lag}`);
  }
});

test('a sound behind the agent neither blinds the guard nor keeps a caller from being heard', () => {
  const agent = AGENT.en;
  const office = noise('babble', 9, agent.length / 8, -38);
  const said = agent.map((x, i) => x + Math.round(office[i] as number));
  const echo = through(said, HYBRIDS[0] ?? [], 60);
  const own = listenTo(said, { echo, echoDb: -14, guard: new EchoGuard() }, newClassifier());
  assert.deepEqual(own, []);
  const quiet = Int16Array.from(office, Math.round);
  const line = { echo: through(quiet, PURE, 60), echoDb: -14, caller: CALLER.zh, callerDb: -6 };
  const alone = heardAlone(CALLER.zh, -6, newClassifier());
  const callerAt = 1000;
  const [first] = listenTo(quiet, { ...line, callerAt, guard: new EchoGuard() }, newClassifier());
  assert.ok((first?.saidMs ?? 9999) - callerAt - alone <= 20, JSON.stringify(first));
});

test('nothing sent, nothing guarded: the detector hears what it always heard', () => {
  const guard = new EchoGuard();
  const frame = new Int16Array(FRAME).fill(4000);
  for (let at = 0; at < 100 * FRAME; at += FRAME)
    assert.equal(guard.isEcho(frame, at, true), false);
  // A gap in what was sent is silence, however long.
  guard.sent(frame, 0);
  guard.sent(frame, 1_000_000);
  assert.equal(guard.isEcho(frame, 990_000, true), false);
});

test('a call whose first frames were due before it began is guarded as any other', () => {
  for (const early of [-1, -5, -160, -163, -8160]) {
    const guard = new EchoGuard();
    const frame = Int16Array.from({ length: FRAME }, (_, i) => 3000 * Math.sin(i / 3));
    for (let i = 0; i < 60; i++) {
      guard.sent(frame, early + i * FRAME);
      guard.isEcho(frame, early + i * FRAME, true);
    }
  }
});

test('silence that nothing can come back of need not be told: the verdicts are the same', () => {
  const pause = 1500 * 8;
  const agent = new Int16Array(3 * (16_000 + pause));
  for (let turn = 0; turn < 3; turn++)
    agent.set(AGENT.en.subarray(turn * 4000, turn * 4000 + 16_000), turn * (16_000 + pause));
  const echo = through(agent, HYBRIDS[1] ?? [], 80);
  const [all, few] = [new EchoGuard(), new EchoGuard()];
  const counts = { untold: 0, own: 0 };
  let until = -1;
  const back = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= agent.length; at += FRAME) {
    const frame = agent.subarray(at, at + FRAME);
    all.sent(frame, at);
    if (at > until && isSilent(frame)) counts.untold++;
    else until = few.sent(frame, at);
    for (let i = 0; i < FRAME; i++) back[i] = Math.round((echo[at + i] as number) * 0.2);
    const isLoud = Math.hypot(...back) > 100 * Math.sqrt(FRAME);
    const isEcho = all.isEcho(back, at, isLoud);
    assert.equal(at <= until && few.isEcho(back, at, isLoud), isEcho, `at ${at}`);
    assert.equal(few.isOwn(at), all.isOwn(at));
    if (all.isOwn(at)) counts.own++;
  }
  assert.ok(counts.untold > 100 && counts.own > 100, JSON.stringify(counts));
});

test('what is judged on a known path is the agent’s own for those who read it', () => {
  const guard = new EchoGuard();
  const agent = AGENT.en;
  let own = 0;
  let loud = 0;
  const back = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= agent.length; at += FRAME) {
    guard.sent(agent.subarray(at, at + FRAME), at);
    for (let i = 0; i < FRAME; i++) back[i] = Math.round((agent[at + i - 640] ?? 0) * 0.2);
    const isLoud = Math.hypot(...back) / Math.sqrt(FRAME) > 150;
    guard.isEcho(back, at, isLoud);
    if (isLoud) loud++;
    if (guard.isOwn(at)) own++;
  }
  assert.ok(loud > 80 && own > loud * 0.9 && own <= loud, `${own} of ${loud}`);
});

/** A voice of pure tones, as scripts, music and hums have it: like every other tone of about its pitch. */
function toned(text: string): Int16Array {
  const parts = simWords(text).map((word) => simWordSound(word.text));
  return Int16Array.from(parts.flatMap((part) => [...part]));
}

function hum(hz: number): Int16Array {
  const swing = (i: number): number => 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
  const wave = (i: number): number => Math.sin((2 * Math.PI * hz * i) / 8000);
  return Int16Array.from({ length: 7200 }, (_, i) => 6000 * swing(i) * wave(i));
}

const SCRIPTS = [
  'Fire alarm leave now and do not come back before it is over',
  'Welcome to the line this is a long sentence that nobody will hear',
  '本公司的服务时间是每天早上九点到晚上',
].map(toned);
const TONAL: readonly [what: string, caller: (hz: number) => Int16Array][] = [
  ['a hum', hum],
  ['words of tones', (hz) => toned(`w${hz} x${hz} yes`)],
];
for (const [what, makeCaller] of TONAL)
  test(`${what} over words of tones: no path is made up, the caller is heard in time`, () => {
    const late: number[] = [];
    let known = 0;
    for (const hz of [110, 140, 180, 220, 300]) {
      const caller = makeCaller(hz);
      for (const callerDb of [0, -12]) {
        const alone = heardAlone(caller, callerDb, newClassifier());
        if (Number.isNaN(alone)) continue; // the detector alone does not take it for speech
        for (const agent of SCRIPTS)
          for (const callerAt of [413, 766]) {
            const guard = new EchoGuard();
            const line = { echo: new Float64Array(agent.length), echoDb: -90, caller, callerAt };
            const [first] = listenTo(agent, { ...line, callerDb, guard }, newClassifier());
            late.push((first?.saidMs ?? Number.POSITIVE_INFINITY) - callerAt - alone);
            if (guard.lag >= 0) known++;
          }
      }
    }
    assert.ok(late.length >= 30, `${late.length} callers`);
    assert.ok(Math.max(...late) <= 100, `at worst ${Math.max(...late)} ms late`);
    assert.ok(known <= late.length / 20, `${known} of ${late.length} paths made up`);
  });

test('a level is that of what is loud', () => {
  const tone = Int16Array.from({ length: 3200 }, (_, i) =>
    i < 1600 ? 0 : 1000 * Math.SQRT2 * Math.sin(i),
  );
  assert.ok(Math.abs(levelDb(tone) - 60) < 0.2, `${levelDb(tone)}`);
});
