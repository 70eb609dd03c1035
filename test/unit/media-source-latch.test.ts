/** Whose RTP is taken: tables of packets in, verdicts out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEARNING_WINDOW_MS, SourceLatch } from '#media/rtp/source-latch.ts';

type Source = readonly [address: string, port: number];

const SIGNALLED: Source = ['192.0.2.1', 4000];
const NAT: Source = ['192.0.2.1', 61_000];
const OTHER: Source = ['192.0.2.66', 4000];
const THIRD: Source = ['192.0.2.77', 4000];

function newLatch(): SourceLatch {
  const latch = new SourceLatch();
  latch.signal(...SIGNALLED);
  return latch;
}

const judge = (latch: SourceLatch, [address, port]: Source, atMs: number, sequence = 0, ssrc = 7) =>
  latch.judge(address, port, { ssrc, sequence }, atMs);

/** Packets of one source every 20 ms in [fromMs, untilMs), numbered by `sequenceOf`. */
type Stream = {
  readonly source: Source;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly sequenceOf?: (i: number) => number;
  readonly ssrcOf?: (i: number) => number;
};

/** Lets time pass in steps of 20 ms; the time the latch settled, or null. */
function run(latch: SourceLatch, streams: readonly Stream[], untilMs: number): number | null {
  for (let atMs = 0; atMs <= untilMs; atMs += 20) {
    for (const { source, fromMs, untilMs: end, sequenceOf, ssrcOf } of streams) {
      if (atMs < fromMs || atMs >= end) continue;
      const i = (atMs - fromMs) / 20;
      judge(latch, source, atMs, sequenceOf?.(i) ?? (65_530 + i) & 0xffff, ssrcOf?.(i) ?? 7);
    }
    if (latch.settle(atMs)) return atMs;
  }
  return null;
}

type Step = readonly [source: Source, atMs: number, verdict: string];

const TABLE: Record<string, readonly Step[]> = {
  'the signalled source is taken at once': [
    [SIGNALLED, 0, 'latch'],
    [SIGNALLED, 20, 'accept'],
    [OTHER, 21, 'foreign'],
    [NAT, 22, 'foreign'],
  ],
  'a stranger who is first loses to the signalled source': [
    [OTHER, 0, 'hold'],
    [OTHER, 20, 'hold'],
    [SIGNALLED, 499, 'latch'],
    [OTHER, 500, 'foreign'],
  ],
  'four sources are watched, a fifth is not': [
    [OTHER, 0, 'hold'],
    [['192.0.2.67', 1], 1, 'hold'],
    [['192.0.2.68', 1], 2, 'hold'],
    [['192.0.2.69', 1], 3, 'hold'],
    [THIRD, 5, 'foreign'],
    [OTHER, 20, 'hold'],
  ],
  'a source that went quiet makes room, and a stranger for the signalled host': [
    [OTHER, 0, 'hold'],
    [['192.0.2.67', 1], 90, 'hold'],
    [['192.0.2.68', 1], 90, 'hold'],
    [['192.0.2.69', 1], 90, 'hold'],
    [THIRD, 101, 'hold'],
    [OTHER, 102, 'foreign'],
    [NAT, 103, 'hold'],
  ],
};

for (const [name, steps] of Object.entries(TABLE)) {
  test(name, () => {
    const latch = newLatch();
    for (const [source, atMs, verdict] of steps) {
      assert.equal(judge(latch, source, atMs), verdict, `${source.join(':')} at ${atMs}`);
    }
  });
}

const always = { fromMs: 0, untilMs: 10_000 };
const SETTLED: Record<
  string,
  { streams: readonly Stream[]; atMs: number | null; source?: Source }
> = {
  'the only source is taken when the window is over': {
    streams: [{ source: OTHER, ...always }],
    atMs: LEARNING_WINDOW_MS,
    source: OTHER,
  },
  'one stray packet is never taken': {
    streams: [{ source: OTHER, fromMs: 0, untilMs: 20 }],
    atMs: null,
  },
  'a stray packet before the phone does not shut the phone out': {
    streams: [
      { source: OTHER, fromMs: 0, untilMs: 20 },
      { source: THIRD, ...always, fromMs: 40 },
    ],
    atMs: LEARNING_WINDOW_MS,
    source: THIRD,
  },
  'four packets are too few; the window goes on until there are five': {
    streams: [
      { source: OTHER, fromMs: 0, untilMs: 20 },
      { source: THIRD, ...always, fromMs: 440 },
    ],
    atMs: 520,
    source: THIRD,
  },
  'after a stray that fell silent, a phone gets a window of its own': {
    streams: [
      { source: OTHER, fromMs: 0, untilMs: 20 },
      { source: THIRD, ...always, fromMs: 3000 },
    ],
    atMs: 3000 + LEARNING_WINDOW_MS,
    source: THIRD,
  },
  'the longer stream of two is taken': {
    streams: [
      { source: OTHER, ...always, fromMs: 200 },
      { source: THIRD, ...always },
    ],
    atMs: LEARNING_WINDOW_MS,
    source: THIRD,
  },
  'a stream that ended is not taken': {
    streams: [
      { source: OTHER, fromMs: 0, untilMs: 380 },
      { source: THIRD, ...always, fromMs: 380 },
    ],
    atMs: LEARNING_WINDOW_MS,
    source: THIRD,
  },
  'numbers all over the place are no stream': {
    streams: [{ source: OTHER, fromMs: 0, untilMs: 2000, sequenceOf: (i) => i * 977 }],
    atMs: null,
  },
  'one packet again and again is no stream': {
    streams: [{ source: OTHER, fromMs: 0, untilMs: 2000, sequenceOf: () => 5 }],
    atMs: null,
  },
  'a new SSRC with every packet is no stream': {
    streams: [{ source: OTHER, fromMs: 0, untilMs: 2000, ssrcOf: (i) => i }],
    atMs: null,
  },
  'loss and reordering do not spoil a stream': {
    streams: [{ source: OTHER, ...always, sequenceOf: (i) => i * 2 + (i % 3 === 1 ? 3 : 0) }],
    atMs: LEARNING_WINDOW_MS,
    source: OTHER,
  },
  'the signalled host with another port outranks a stranger who was first': {
    streams: [
      { source: OTHER, ...always },
      { source: NAT, ...always, fromMs: 200 },
    ],
    atMs: LEARNING_WINDOW_MS,
    source: NAT,
  },
};

for (const [name, { streams, atMs, source }] of Object.entries(SETTLED)) {
  test(name, () => {
    const latch = newLatch();
    assert.equal(run(latch, streams, 5000), atMs);
    if (source === undefined) assert.notEqual(latch.state, 'latched');
    else assert.deepEqual([latch.address, latch.port], source);
  });
}

const NEAR: Record<string, { signalled: string; near: string; far: string }> = {
  IPv4: { signalled: '9.1.2.3', near: '9.1.2.200', far: '9.1.3.3' },
  IPv6: { signalled: '2a00:1:2:3::4', near: '2a00:1:2:3:ffff::9', far: '2a00:1:2:4::4' },
};

for (const [name, { signalled, near, far }] of Object.entries(NEAR)) {
  test(`${name}: who has signalled a public address is looked for in its network only`, () => {
    const settledAt = (source: string, isAuthentic = false): number | null => {
      const latch = new SourceLatch();
      latch.signal(signalled, 4000, isAuthentic);
      return run(latch, [{ source: [source, 61_000], ...always }], 5000);
    };
    assert.equal(settledAt(signalled), LEARNING_WINDOW_MS, 'another port of the same host');
    assert.equal(settledAt(near), LEARNING_WINDOW_MS, 'another address of its network');
    assert.equal(settledAt(far), null, 'a stranger');
    assert.equal(settledAt(far, true), LEARNING_WINDOW_MS, 'where every packet is authenticated');
    const latch = new SourceLatch();
    latch.signal(signalled, 4000);
    assert.equal(judge(latch, [far, 4000], 0), 'foreign', 'nothing of his is kept');
    assert.equal(latch.state, 'open', 'and he opens no window');
    latch.signal('10.0.0.7', 4000);
    assert.equal(judge(latch, [far, 4000], 20), 'hold', 'a private address may be behind any NAT');
  });
}

test('after settling the source is fixed, and only the signalled address may still take over', () => {
  const latch = newLatch();
  assert.equal(run(latch, [{ source: OTHER, ...always }], 5000), LEARNING_WINDOW_MS);
  assert.equal(latch.settle(LEARNING_WINDOW_MS + 20), false, 'only once');
  assert.equal(judge(latch, OTHER, 600), 'accept');
  assert.equal(judge(latch, THIRD, 600), 'foreign');
  assert.equal(latch.isLearnt, true);
  assert.equal(judge(latch, SIGNALLED, 5000), 'latch');
  assert.equal(latch.isLearnt, false);
  assert.deepEqual([latch.address, latch.port], SIGNALLED);
  assert.equal(judge(latch, SIGNALLED, 5020), 'accept');
  assert.equal(judge(latch, OTHER, 5020), 'foreign', 'and never back');
});

test('a re-INVITE opens the latch only when the address is new', () => {
  const latch = new SourceLatch();
  assert.equal(latch.signal(...SIGNALLED), true);
  judge(latch, SIGNALLED, 0);
  assert.equal(latch.signal(...SIGNALLED), false);
  assert.equal(latch.state, 'latched');
  assert.equal(latch.signal(...THIRD), true);
  assert.equal(latch.state, 'open');
  assert.equal(judge(latch, SIGNALLED, 10), 'hold');
  assert.equal(judge(latch, THIRD, 20), 'latch');
});
