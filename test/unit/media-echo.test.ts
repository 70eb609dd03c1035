/** The agent's own voice coming back is not the caller's: recorded speech, as an echo and as double talk. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { EchoGuard } from '#media/echo-guard.ts';
import { loadSpeechClassifiers, Vad } from '#media/vad.ts';
import { simWords, simWordSound } from '#providers/sim/tts.ts';

const FRAME = 160;
const newClassifier = await loadSpeechClassifiers();

/** 8 kHz, 16 bits, one channel: the voice that the product ships with. */
function recorded(name: string): Int16Array {
  const bytes = readFileSync(
    new URL(`../../src/providers/local/prompts/${name}.wav`, import.meta.url),
  );
  const data = bytes.indexOf('data', 12, 'latin1');
  const pcm = new Int16Array(bytes.readUInt32LE(data + 4) / 2);
  for (let i = 0; i < pcm.length; i++) pcm[i] = bytes.readInt16LE(data + 8 + i * 2);
  return pcm;
}

const AGENT = { en: recorded('about-en'), zh: recorded('about-zh') };
const CALLER = { en: recorded('menu-en'), zh: recorded('greeting-zh') };

const onTheLine = (sample: number): number => {
  const clipped = Math.max(-32_000, Math.min(32_000, Math.round(sample)));
  return G711.PCMA.decode[G711.PCMA.encode[clipped & 0xffff] as number] as number;
};

type Line = {
  readonly delay: number;
  readonly echoDb: number;
  /** Of the path, unit energy; default: nothing but delay. */
  readonly path?: readonly number[];
  readonly caller?: Int16Array;
  readonly callerAt?: number;
  readonly callerDb?: number;
  readonly isGuarded?: boolean;
};

/** Call times (ms) at which the detector said that speech begins; and the delay that was found. */
function listen(
  agent: Int16Array,
  line: Line,
): { readonly starts: number[]; readonly lag: number } {
  const { delay, echoDb, path = [1], caller, callerAt = 0, callerDb = 0 } = line;
  const [echoGain, callerGain] = [10 ** (echoDb / 20), 10 ** (callerDb / 20)];
  const guard = new EchoGuard();
  const starts: number[] = [];
  const vad = new Vad(
    newClassifier(),
    { started: (startMs) => starts.push(startMs), stopped: () => undefined },
    line.isGuarded === false
      ? {}
      : { isEcho: (frame, startMs, isLoud) => guard.isEcho(frame, startMs * 8, isLoud) },
  );
  const out = new Int16Array(FRAME);
  const back = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= agent.length; at += FRAME) {
    for (let i = 0; i < FRAME; i++) out[i] = onTheLine(agent[at + i] as number);
    guard.sent(out, at);
    for (let i = 0; i < FRAME; i++) {
      let echo = 0;
      for (const [tap, weight] of path.entries())
        echo += weight * (agent[at + i - delay * 8 - tap] ?? 0);
      back[i] = onTheLine(echo * echoGain + (caller?.[at + i - callerAt * 8] ?? 0) * callerGain);
    }
    vad.write(back, FRAME, at / 8, at / 8);
  }
  vad.free();
  return { starts, lag: guard.lag };
}

/** When the detector hears a caller of this level to whom nobody speaks. */
function unguarded(caller: Int16Array, callerDb: number): number {
  const line = { delay: 0, echoDb: -90, caller, callerDb, isGuarded: false };
  return listen(new Int16Array(16_000), line).starts[0] ?? 0;
}

for (const language of ['en', 'zh'] as const) {
  test(`${language}: the agent does not hear itself, 20-200 ms late and 12-30 dB down`, () => {
    let without = 0;
    let withGuard = 0;
    for (const delay of [20, 47, 80, 133, 200])
      for (const echoDb of [-12, -18, -24, -30]) {
        const { starts, lag } = listen(AGENT[language], { delay, echoDb });
        withGuard += starts.length;
        if (lag >= 0) assert.ok(Math.abs(lag - delay * 8) <= 1, `${lag} for ${delay} ms`);
        without += listen(AGENT[language], { delay, echoDb, isGuarded: false }).starts.length;
      }
    assert.ok(without >= 100, `${without}: the detector alone hears it all the time`);
    assert.ok(withGuard <= 2, `${withGuard} of ${without}`);
  });

  test(`${language}: a hybrid's path is more than a delay`, () => {
    const taps = [0.2, 0.7, 1, -0.35, 0.15, -0.05];
    const size = Math.hypot(...taps);
    const path = taps.map((tap) => tap / size);
    let without = 0;
    let withGuard = 0;
    for (const delay of [20, 80, 200])
      for (const echoDb of [-12, -20, -28]) {
        withGuard += listen(AGENT[language], { delay, echoDb, path }).starts.length;
        without += listen(AGENT[language], { delay, echoDb, path, isGuarded: false }).starts.length;
      }
    assert.ok(withGuard <= without * 0.15, `${withGuard} of ${without}`);
  });

  test(`${language}: who really speaks over the agent is heard in time, echo or not`, () => {
    for (const name of ['en', 'zh'] as const) {
      const late: number[] = [];
      for (const echoDb of [-90, -14])
        for (const callerDb of [0, -8])
          for (const callerAt of [500, 1700, 3700]) {
            const caller = CALLER[name];
            const alone = unguarded(caller, callerDb);
            const line = { delay: 80, echoDb, caller, callerAt, callerDb };
            const first = listen(AGENT[language], line).starts.find((at) => at >= callerAt - 40);
            late.push((first ?? Number.POSITIVE_INFINITY) - callerAt - alone);
          }
      // The very voice of the agent, from another mouth, is the hardest there is.
      const limitMs = name === language ? 260 : 60;
      assert.ok(Math.max(...late) <= limitMs, `${name}: ${late.join(' ')}`);
    }
  });
}

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

test('what is judged on a known path is the agent’s own for those who read it', () => {
  const guard = new EchoGuard();
  const agent = AGENT.en;
  let own = 0;
  let loud = 0;
  const out = new Int16Array(FRAME);
  const back = new Int16Array(FRAME);
  for (let at = 0; at + FRAME <= 40_000; at += FRAME) {
    for (let i = 0; i < FRAME; i++) out[i] = agent[at + i] as number;
    guard.sent(out, at);
    for (let i = 0; i < FRAME; i++) back[i] = Math.round((agent[at + i - 640] ?? 0) * 0.2);
    const isLoud = Math.hypot(...back) / Math.sqrt(FRAME) > 150;
    guard.isEcho(back, at, isLoud);
    if (isLoud) loud++;
    if (guard.isOwn(at)) own++;
  }
  assert.ok(loud > 100 && own > loud * 0.9 && own <= loud, `${own} of ${loud}`);
});

/** A voice of pure tones, as scripts, music and hums have it: like every other tone of about its pitch. */
function toned(text: string): Int16Array {
  return joined(simWords(text).map((word) => simWordSound(word.text)));
}

function joined(parts: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function hum(hz: number): Int16Array {
  const swing = (i: number): number => 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
  const wave = (i: number): number => Math.sin((2 * Math.PI * hz * i) / 8000);
  return Int16Array.from({ length: 7200 }, (_, i) => 6000 * swing(i) * wave(i));
}

const TONAL: readonly [what: string, caller: (hz: number) => Int16Array][] = [
  ['a hum', hum],
  ['words of tones', (hz) => toned(`w${hz} x${hz} yes`)],
];
for (const [what, caller] of TONAL)
  test(`${what} over words of tones: no path is made up, the caller is heard in time`, () => {
    const late: number[] = [];
    let known = 0;
    for (const text of [
      'Fire alarm leave now and do not come back before it is over please everybody go',
      'Welcome to the line this is a long sentence that nobody will hear to its end',
      '本公司的服务时间是每天早上九点到晚上八点如果您有任何问题都可以',
    ])
      for (const hz of [110, 140, 180, 220, 300])
        for (const callerAt of [413, 625, 766])
          for (const callerDb of [0, -6, -12]) {
            const tone = { delay: 0, echoDb: -90, caller: caller(hz), callerAt, callerDb };
            const agent = toned(text);
            const [alone] = listen(agent, { ...tone, isGuarded: false }).starts;
            if (alone === undefined) continue; // the detector alone does not take it for speech
            const { starts, lag } = listen(agent, tone);
            late.push((starts[0] ?? Number.POSITIVE_INFINITY) - alone);
            if (lag >= 0) known++;
          }
    assert.ok(late.length > 100, `${late.length} callers`);
    assert.ok(Math.max(...late) <= 80, `at worst ${Math.max(...late)} ms late`);
    assert.ok(known <= late.length / 50, `${known} of ${late.length} paths made up`);
  });
