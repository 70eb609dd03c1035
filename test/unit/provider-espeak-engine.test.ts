/** The owner of the voice process, against a process played by the test, on a simulated clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import {
  EspeakEngine,
  type EspeakChunk,
  type VoiceProcess,
} from '#providers/local/espeak-engine.ts';
import type { EspeakReply, EspeakRequest } from '#providers/local/espeak-protocol.ts';
import { markMaker, planSpeech } from '#providers/local/speech-plan.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { collect, speakAll } from './_provider-contract.ts';

const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

class FakeProcess implements VoiceProcess {
  readonly jobs: EspeakRequest[] = [];
  isKilled = false;
  reply: (reply: EspeakReply) => void = () => assert.fail('nobody listens');
  exit: (reason: string) => void = () => assert.fail('nobody listens');
  send(request: EspeakRequest): void {
    this.jobs.push(request);
  }
  onReply(listener: (reply: EspeakReply) => void): void {
    this.reply = listener;
  }
  onExit(listener: (reason: string) => void): void {
    this.exit = listener;
  }
  kill(): void {
    this.isKilled = true;
  }
  chunk(job: number, samples: number, value = 1): void {
    this.reply({ type: 'chunk', job, pcm: new Int16Array(samples).fill(value), events: [] });
  }
}

function setUp(): {
  clock: SimulatedClock;
  engine: EspeakEngine;
  processes: FakeProcess[];
  last: () => FakeProcess;
} {
  const clock = new SimulatedClock();
  const processes: FakeProcess[] = [];
  const engine = new EspeakEngine({
    ...{ log: silentLog, clock, random: () => 0.5 },
    launch: () => {
      const started = new FakeProcess();
      processes.push(started);
      return started;
    },
  });
  return { clock, engine, processes, last: () => processes.at(-1) as FakeProcess };
}

function speak(
  engine: EspeakEngine,
  text: string,
  signal = new AbortController().signal,
): Promise<number> {
  const stream = engine.synthesize({ voice: 'en-us', text }, signal);
  return collect(stream).then(({ items }) => samplesOf(items));
}

function samplesOf(chunks: readonly EspeakChunk[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.pcm.length, 0);
}

test('jobs wait for the start, go two at a time and in order', async () => {
  const { engine, clock, last, processes } = setUp();
  const all = Promise.all(['a', 'b', 'c'].map((text) => speak(engine, text)));
  await turns();
  assert.equal(processes.length, 1);
  assert.deepEqual(last().jobs, []);
  last().reply({ type: 'ready' });
  assert.deepEqual(
    last().jobs.map((job) => job.text),
    ['a', 'b'],
  );
  last().chunk(1, 100);
  last().chunk(1, 50);
  last().reply({ type: 'done', job: 1 });
  assert.deepEqual(
    last().jobs.map((job) => job.text),
    ['a', 'b', 'c'],
  );
  for (const job of [2, 3]) {
    last().chunk(job, 10 * job);
    last().reply({ type: 'done', job });
  }
  assert.deepEqual(await all, [150, 20, 30]);
  engine.close();
  engine.close();
  assert.ok(last().isKilled);
  assert.equal(clock.pending, 0);
});

test('an abort gives up at once; what waits is never sent, what comes late is ignored', async () => {
  const { engine, last } = setUp();
  const aborts = ['a', 'b', 'c'].map(() => new AbortController());
  const jobs = aborts.map((abort, i) => speak(engine, `${i}`, abort.signal));
  await turns();
  last().reply({ type: 'ready' });
  aborts[0]?.abort();
  aborts[2]?.abort();
  await assert.rejects(jobs[0] as Promise<number>, { code: 'E_ABORTED' });
  await assert.rejects(jobs[2] as Promise<number>, { code: 'E_ABORTED' });
  last().chunk(1, 100);
  last().reply({ type: 'done', job: 1 });
  last().chunk(2, 7);
  last().reply({ type: 'done', job: 2 });
  assert.equal(await jobs[1], 7);
  assert.deepEqual(
    last().jobs.map((job) => job.text),
    ['0', '1'],
  );
  assert.deepEqual(engine.stats, { waiting: 0, running: 0, dropped: 0, restarts: 0 });
  engine.close();
});

test('a crash costs nothing that was heard: the text is said again from where it broke off', async () => {
  const { engine, clock, last, processes } = setUp();
  const job = speak(engine, 'a');
  await turns();
  last().reply({ type: 'ready' });
  last().chunk(1, 100);
  last().exit('SIGSEGV');
  assert.equal(processes.length, 1);
  clock.advance(199);
  assert.equal(processes.length, 1, 'it backs off');
  clock.advance(1);
  assert.equal(processes.length, 2);
  last().reply({ type: 'ready' });
  last().chunk(1, 60, 2);
  last().chunk(1, 60, 2);
  last().reply({ type: 'done', job: 1 });
  assert.equal(await job, 120);
  assert.equal(engine.stats.restarts, 1);
  engine.close();
});

test('a text that kills the process twice fails; the next one is served', async () => {
  const { engine, clock, last } = setUp();
  const poison = speak(engine, 'poison');
  const failed = assert.rejects(poison, {
    code: 'E_PROVIDER_SERVER',
    message: /died on this text: SIGSEGV/,
  });
  await turns();
  last().reply({ type: 'ready' });
  last().exit('SIGSEGV');
  clock.advance(200);
  last().reply({ type: 'ready' });
  last().exit('SIGSEGV');
  await failed;
  const next = speak(engine, 'next');
  await turns();
  clock.advance(400);
  last().reply({ type: 'ready' });
  assert.deepEqual(
    last().jobs.map((job) => job.text),
    ['next'],
  );
  last().chunk(2, 5);
  last().reply({ type: 'done', job: 2 });
  assert.equal(await next, 5);
  engine.close();
  assert.equal(clock.pending, 0);
});

test('deadlines: 3 s without a chunk fails the text, 5 s of silence kills the process', async () => {
  const { engine, clock, last, processes } = setUp();
  const job = speak(engine, 'a');
  await turns();
  const first = last();
  first.reply({ type: 'ready' });
  clock.advance(2999);
  await turns();
  clock.advance(1);
  await assert.rejects(job, { code: 'E_TIMEOUT' });
  clock.advance(2000);
  assert.ok(first.isKilled);
  first.exit('SIGKILL');
  clock.advance(200);
  assert.equal(processes.length, 2, 'one restart for one death');
  clock.advance(15_000);
  assert.ok(last().isKilled, 'and a process that never gets ready is killed too');
  engine.close();
  assert.equal(clock.pending, 0);
});

test('the queue is bounded', async () => {
  const { engine, last } = setUp();
  const jobs = Array.from({ length: 256 }, (_, i) => speak(engine, `${i}`));
  const refused = Promise.allSettled(jobs);
  await turns();
  await assert.rejects(speak(engine, 'one too many'), { code: 'E_QUEUE_FULL' });
  assert.equal(engine.stats.dropped, 1);
  last().reply({ type: 'ready' });
  engine.close();
  const results = await refused;
  assert.ok(results.every((result) => result.status === 'rejected'));
  await assert.rejects(speak(engine, 'late'), { code: 'E_PROVIDER_SERVER' });
});

test('start resolves when ready, and also when the process dies: the call must not wait for ever', async () => {
  const { engine, last } = setUp();
  const first = engine.start();
  last().exit('no such file');
  await first;
  const second = engine.start();
  engine.close();
  await second;
});

test('a voice that fails before its first sound is replaced by a recording; after it, the error shows', async () => {
  const { engine, clock, last } = setUp();
  const tts = createLocalTts({ log: silentLog, clock, cacheDir: null, engine });
  const request = { text: 'Something new altogether.', language: 'en' as const };
  const spoken = speakAll(tts, request);
  await turns();
  last().reply({ type: 'ready' });
  clock.advance(3000);
  const { pcm, marks } = await spoken;
  assert.ok(pcm.length > 8000);
  assert.equal(marks.at(-1)?.chars, request.text.length);
  last().reply({ type: 'done', job: 1 });
  const broken = speakAll(tts, request);
  const failed = assert.rejects(broken, { code: 'E_TIMEOUT' });
  await turns();
  last().chunk(2, 800);
  await turns();
  clock.advance(3000);
  await failed;
  tts.close();
});

test('planSpeech: one voice per stretch, guests stay, nothing is lost', () => {
  const rows: [string, 'zh' | 'en', [string, string, number][]][] = [
    ['Hello there.', 'en', [['en-us', 'Hello there.', 150]]],
    ['您好，这里是 Callyard。', 'zh', [['cmn', '您好，这里是 Callyard。', 150]]],
    [
      '您好。Hello there.',
      'zh',
      [
        ['cmn', '您好。', 250],
        ['en-us', 'Hello there.', 150],
      ],
    ],
    [
      'Say 您好 now',
      'en',
      [
        ['en-us', 'Say ', 0],
        ['cmn', '您好 now', 0],
      ],
    ],
    ['12345', 'zh', [['cmn', '12345', 0]]],
    ['12345', 'en', [['en-us', '12345', 0]]],
    ['a <b> & [[c]] 😀𠀀 d', 'en', [['en-us', 'a  b   and    c      d', 0]]],
    ['...', 'en', []],
  ];
  for (const [text, language, expected] of rows) {
    const plan = planSpeech(text, language);
    assert.deepEqual(
      plan.map((piece) => [piece.voice, piece.text, piece.pauseMs]),
      expected,
      text,
    );
    for (const piece of plan) assert.equal(piece.source.length, piece.text.length + 1);
  }
  assert.deepEqual(
    planSpeech('Hi there', 'en', 'en-us+f3').map((piece) => piece.voice),
    ['en-us+f3'],
  );
  assert.deepEqual(
    planSpeech('Hi there', 'en', '../../x').map((piece) => piece.voice),
    ['en-us'],
  );
  const long = planSpeech('one two three. '.repeat(40), 'en');
  assert.ok(long.length > 3 && long.every((piece) => piece.text.length <= 160));
  assert.equal(long.map((piece) => piece.text).join(''), 'one two three. '.repeat(40));
});

test('markMaker: words end at a pause or at the next word, Chinese by the character', () => {
  const text = '您好，OK & 3.5 次。';
  const [piece] = planSpeech(text, 'zh');
  assert.ok(piece);
  const maker = markMaker(text, piece, 1000);
  const at = (what: string): number => piece.text.indexOf(what) + 1;
  const word = (what: string, ms: number) => ({ kind: 'word' as const, position: at(what), ms });
  const marks = [
    ...maker.onEvents([word('您', 0), { kind: 'pause', position: 3, ms: 400 }]),
    ...maker.onEvents([
      word('OK', 500),
      word('和', 800),
      word('3.5', 900),
      word('3.5', 1000),
      word('次', 1300),
    ]),
    ...maker.onEnd(1600),
  ];
  assert.deepEqual(marks, [
    { chars: 1, ms: 1200 },
    { chars: 3, ms: 1400 },
    { chars: text.indexOf('OK') + 2, ms: 1800 },
    { chars: text.indexOf('&') + 1, ms: 1900 },
    { chars: text.indexOf('3.5') + 3, ms: 2300 },
    { chars: text.length, ms: 2600 },
  ]);
});
