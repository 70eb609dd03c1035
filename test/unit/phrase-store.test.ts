/** Sound that is kept for all calls: what for, for how long, and that nobody pays for it twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { TtsProvider, TtsRequest } from '#providers/contract.ts';
import { PhraseStore } from '#providers/phrase-store.ts';
import { settle } from './_fakes.ts';
import { collect } from './_provider-contract.ts';

type Vendor = TtsProvider & {
  readonly asked: string[];
  fails: boolean;
  gate: Promise<void> | null;
};

function vendor(name = 'acme'): Vendor {
  const asked: string[] = [];
  return {
    ...{ vendor: name, asked, fails: false, gate: null },
    async *speak({ text }, signal) {
      asked.push(text);
      for (let at = 0; at < text.length; at++) {
        if (this.gate !== null && at === 1) await this.gate;
        if (signal.aborted) throw new AppError('E_ABORTED', 'given up');
        if (this.fails && at === 2) throw new AppError('E_PROVIDER_SERVER', 'scripted');
        yield {
          pcm: new Int16Array(800).fill(at + 1),
          marks: [{ chars: at + 1, ms: (at + 1) * 100 }],
        };
      }
    },
  };
}

async function say(
  tts: TtsProvider,
  text: string,
  more: Partial<TtsRequest> = {},
  signal = new AbortController().signal,
): Promise<{ readonly samples: number; readonly marks: number; readonly sum: number }> {
  const request = { text, language: 'en' as const, ...more };
  const { items: chunks } = await collect(tts.speak(request, signal));
  const pcm = chunks.flatMap((chunk) => [...chunk.pcm]);
  return {
    samples: pcm.length,
    marks: chunks.flatMap(({ marks }) => marks).length,
    sum: pcm.reduce((sum, each) => sum + each, 0),
  };
}

test('a fixed phrase is asked for once, any other when a second call wants it, one caller’s never', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const acme = vendor();
  const [one, two, three] = [1, 2, 3].map(() => store.of(acme, 'v'));
  assert.ok(one && two && three);
  const first = await say(one, 'Hello', { keep: 'always' });
  assert.deepEqual(await say(two, 'Hello', { keep: 'always' }), first);
  assert.deepEqual(acme.asked, ['Hello']);
  for (const call of [one, one, two, three, one]) await say(call, 'Sure.');
  assert.deepEqual(
    acme.asked.slice(1),
    ['Sure.', 'Sure.', 'Sure.'],
    'the same call twice is no proof',
  );
  for (const call of [one, two, three]) await say(call, 'Hello Ann', { keep: 'never' });
  assert.equal(acme.asked.filter((text) => text === 'Hello Ann').length, 3);
});

test('another voice, language, account or vendor is another sound', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const [acme, other] = [vendor(), vendor('other')];
  await say(store.of(acme, 'v'), 'Hi', { keep: 'always' });
  await say(store.of(acme, 'w'), 'Hi', { keep: 'always' });
  await say(store.of(acme, 'v'), 'Hi', { keep: 'always', voice: 'amy' });
  await say(store.of(acme, 'v'), 'Hi', { keep: 'always', language: 'zh' });
  await say(store.of(other, 'v'), 'Hi', { keep: 'always' });
  assert.deepEqual([acme.asked.length, other.asked.length], [4, 1]);
  for (const name of ['local', 'sim']) {
    const own = vendor(name);
    assert.equal(store.of(own, 'v'), own, 'has its own way');
  }
});

test('what is being made already is waited for, whoever else gives up', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const acme = vendor();
  const gate = Promise.withResolvers<void>();
  acme.gate = gate.promise;
  const leaves = new AbortController();
  const left = assert.rejects(
    say(store.of(acme, 'v'), 'Hello', { keep: 'always' }, leaves.signal),
    {
      code: 'E_ABORTED',
    },
  );
  const stays = [1, 2, 3].map(() => say(store.of(acme, 'v'), 'Hello', { keep: 'always' }));
  await settle();
  leaves.abort();
  await left;
  gate.resolve();
  for (const { samples, marks } of await Promise.all(stays))
    assert.deepEqual([samples, marks], [4000, 5]);
  assert.deepEqual(acme.asked, ['Hello']);
  assert.equal(store.bytes, 8000);
});

test('only what came to its end is kept', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const acme = vendor();
  acme.fails = true;
  await assert.rejects(say(store.of(acme, 'v'), 'Hello', { keep: 'always' }), {
    code: 'E_PROVIDER_SERVER',
  });
  assert.equal(store.bytes, 0);
  acme.fails = false;
  const gate = Promise.withResolvers<void>();
  acme.gate = gate.promise;
  const leaves = new AbortController();
  const left = assert.rejects(say(store.of(acme, 'v'), 'Hello', { keep: 'always' }, leaves.signal));
  await settle();
  leaves.abort();
  await left;
  gate.resolve();
  await settle();
  assert.equal(store.bytes, 0, 'nobody waited for the end');
  acme.gate = null;
  assert.equal((await say(store.of(acme, 'v'), 'Hello', { keep: 'always' })).samples, 4000);
  assert.equal(acme.asked.length, 3);
});

test('who joined a request that fails before a word asks for himself', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const broken = vendor();
  const gate = Promise.withResolvers<void>();
  const never: TtsProvider = {
    vendor: 'acme',
    // oxlint-disable-next-line require-yield -- it fails before its first sound
    async *speak() {
      await gate.promise;
      throw new AppError('E_PROVIDER_SERVER', 'scripted');
    },
  };
  const first = assert.rejects(say(store.of(never, 'v'), 'Hello', { keep: 'always' }));
  const second = say(store.of(broken, 'v'), 'Hello', { keep: 'always' });
  await settle();
  gate.resolve();
  await first;
  assert.equal((await second).samples, 4000);
  assert.deepEqual(broken.asked, ['Hello']);
});

test('it is bounded, drops what was not asked for longest, and makes everything anew after a while', async () => {
  const clock = new SimulatedClock();
  const store = new PhraseStore({ clock, maxBytes: 16_000, maxAgeMs: 60_000 });
  const acme = vendor();
  const call = store.of(acme, 'v');
  const hear = (text: string) => say(call, text, { keep: 'always' });
  await hear('aaaaa');
  await hear('bbbbb');
  await hear('aaaaa');
  await hear('ccccc');
  assert.equal(store.bytes, 16_000);
  await hear('aaaaa');
  assert.deepEqual(acme.asked, ['aaaaa', 'bbbbb', 'ccccc']);
  await hear('bbbbb');
  assert.equal(acme.asked.length, 4, 'it had gone');
  clock.advance(60_000);
  await hear('bbbbb');
  assert.equal(acme.asked.length, 5);
  assert.ok(store.bytes <= 16_000);
});

test('a thousand texts that are said once leave nothing behind', async () => {
  const store = new PhraseStore({ clock: new SimulatedClock() });
  const acme = vendor();
  for (let i = 0; i < 1000; i++) await say(store.of(acme, 'v'), `n${i}`);
  assert.equal(store.bytes, 0);
});
