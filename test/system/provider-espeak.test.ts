/** The real voice in its real process: both languages, marks, speed, crash, disk. Skipped where the package is absent. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import type { Language } from '#providers/contract.ts';
import { heardText } from '#providers/heard-text.ts';
import { EspeakEngine } from '#providers/local/espeak-engine.ts';
import { openRecordedPrompts } from '#providers/local/recorded.ts';
import { createLocalTts, synthesise, type LocalTts } from '#providers/local/tts.ts';
import { allPrompts, promptText } from '#providers/prompts.ts';
import { createProviders } from '#providers/registry.ts';
import { collect, speakAll, testTts } from '../unit/_provider-contract.ts';

const dir = mkdtempSync(join(tmpdir(), 'voice-'));
const tts = createLocalTts({ log: silentLog, clock: systemClock, cacheDir: dir });
after(() => {
  tts.close();
  rmSync(dir, { recursive: true });
});

function needsVoice(t: TestContext, voice: LocalTts = tts): boolean {
  if (!voice.hasVoice) t.skip('the optional eSpeak NG package is not installed');
  return voice.hasVoice;
}

const never = (): AbortSignal => new AbortController().signal;
const TEXTS: { text: string; language: Language }[] = [
  { text: 'Your order number 42 will arrive on Monday, Dr. Smith.', language: 'en' },
  { text: '您的订单已经发货，预计明天下午到达。', language: 'zh' },
  { text: '您好，我是 Callyard 的助手。How can I help you today? 请说。', language: 'zh' },
  { text: 'Press 1 & wait <3 seconds> [now]; the total is $3.50!', language: 'en' },
  { text: 'Well, “quoted” words… and 您好 in the middle 😀', language: 'en' },
];
testTts('local tts', () => tts, TEXTS);

test('each word and each Chinese character has its own mark', async (t) => {
  if (!needsVoice(t)) return;
  const english = await speakAll(tts, TEXTS[0] as (typeof TEXTS)[0]);
  const text = TEXTS[0]?.text ?? '';
  const ends = english.marks.map((mark) => text.slice(0, mark.chars).split(' ').at(-1));
  assert.deepEqual(ends, text.split(' '));
  const chinese = await speakAll(tts, TEXTS[1] as (typeof TEXTS)[0]);
  assert.equal(chinese.marks.length, 16);
  const half = heardText({
    text: TEXTS[1]?.text ?? '',
    marks: chinese.marks,
    heardMs: chinese.pcm.length / 16,
  });
  assert.ok(half.length > 5 && half.length < 14, half);
});

test('a recording made today equals the committed one: the prompts are not stale', async (t) => {
  if (!needsVoice(t)) return;
  const engine = new EspeakEngine({ log: silentLog, clock: systemClock });
  try {
    const request = { text: promptText('greeting', 'en'), language: 'en' as const };
    const { items } = await collect(synthesise(engine, request, never()));
    const pcm = Int16Array.from(items.flatMap((chunk) => [...chunk.pcm]));
    const recorded = openRecordedPrompts().find(request.text, 'en');
    const marks = items.flatMap((chunk) => chunk.marks);
    assert.deepEqual(
      marks.map((mark) => mark.chars),
      recorded?.marks.map((mark) => mark.chars),
    );
    for (const [i, mark] of marks.entries()) {
      assert.ok(Math.abs(mark.ms - (recorded?.marks[i]?.ms ?? 0)) <= 10, JSON.stringify(mark));
    }
    assert.ok(Math.abs(pcm.length - (recorded?.pcm.length ?? 0)) <= 160);
  } finally {
    engine.close();
  }
});

test('many callers at once are all served', async (t) => {
  if (!needsVoice(t)) return;
  const spoken = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      speakAll(tts, { text: `Caller number ${i}, hello.`, language: 'en' }),
    ),
  );
  assert.ok(spoken.every(({ pcm }) => pcm.length > 8000));
});

test('the process is killed in the middle: the sentence is finished all the same', async (t) => {
  if (!needsVoice(t)) return;
  const engine = new EspeakEngine({ log: silentLog, clock: systemClock });
  try {
    await engine.start();
    const text = 'This sentence goes on for a while, so that there is time to die in it.';
    const whole = await collect(engine.synthesize({ voice: 'en-us', text }, never()));
    const stream = engine.synthesize({ voice: 'en-us', text }, never());
    const first = await stream.next();
    process.kill(engine.pid ?? 0, 'SIGKILL');
    const rest = await collect(stream);
    const samples = (chunks: readonly { pcm: Int16Array }[]): number =>
      chunks.reduce((sum, chunk) => sum + chunk.pcm.length, 0);
    assert.equal(
      samples([first.value as { pcm: Int16Array }, ...rest.items]),
      samples(whole.items),
    );
  } finally {
    engine.close();
  }
});

test('greetings of agents are said once, and come from disk after a restart', async (t) => {
  if (!needsVoice(t)) return;
  const greeting = { text: 'Welcome to the made-up bakery.', language: 'en' as const };
  await tts.warmUp([greeting, ...allPrompts()]);
  assert.equal(readdirSync(dir).length, 1, 'the recorded prompts are not made again');
  const { pcm } = await speakAll(tts, greeting);
  const voiceless = new EspeakEngine({ log: silentLog, clock: systemClock });
  voiceless.close();
  const next = createLocalTts({
    log: silentLog,
    clock: systemClock,
    cacheDir: dir,
    engine: voiceless,
  });
  await next.warmUp([greeting]);
  assert.deepEqual((await speakAll(next, greeting)).pcm, pcm);
});

test('the registry gives the voice back: nothing keeps the process alive', async () => {
  const settings = { llm: null, sttVendor: null, llmVendor: null, ttsVendor: null };
  const providers = createProviders({
    log: silentLog,
    clock: systemClock,
    cacheDir: dir,
    settings,
  });
  await providers.warmUp();
  const { tts: voice } = providers.forAgent({ vendors: { stt: null, llm: null, tts: null } });
  const { pcm } = await speakAll(voice, { text: promptText('greeting', 'zh'), language: 'zh' });
  assert.ok(pcm.length > 16_000);
  providers.close();
  providers.close();
});
