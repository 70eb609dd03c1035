/** Whose RTP is taken: tables of packets in, verdicts out; and what a call makes of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MediaSource } from '#lib/media-source.ts';
import { LEARNING_WINDOW_MS, SourceLatch } from '#media/rtp/source-latch.ts';
import { AUDIO, rtp, testChain } from './_media.ts';

type Source = readonly [address: string, port: number];

const SIGNALLED: Source = ['192.0.2.1', 4000];
const NAT: Source = ['192.0.2.1', 61_000];
const OTHER: Source = ['192.0.2.66', 4000];
const THIRD: Source = ['192.0.2.77', 4000];

function newLatch(mediaSource?: MediaSource, signalled = SIGNALLED): SourceLatch {
  const latch = new SourceLatch();
  latch.signal(...signalled, { mediaSource });
  return latch;
}

const judge = (latch: SourceLatch, [address, port]: Source, atMs: number, sequence = 0, ssrc = 7) =>
  latch.judge(address, port, { ssrc, sequence }, atMs);

/** Packets of one source in [fromMs, untilMs), `rate` of them every 20 ms (1), numbered by `sequenceOf`. */
type Stream = {
  readonly source: Source;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly sequenceOf?: (i: number) => number;
  readonly ssrcOf?: (i: number) => number;
  readonly rate?: number;
};

/** Lets time pass in steps of 20 ms; the time the latch settled, or null. */
function run(latch: SourceLatch, streams: readonly Stream[], untilMs: number): number | null {
  for (let atMs = 0; atMs <= untilMs; atMs += 20) {
    for (const { source, fromMs, untilMs: end, sequenceOf, ssrcOf, rate = 1 } of streams) {
      if (atMs < fromMs || atMs >= end) continue;
      const first = ((atMs - fromMs) / 20) * rate;
      for (let i = first; i < first + rate; i++)
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
      latch.signal(signalled, 4000, { isAuthentic });
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

const PUBLIC: Source = ['9.1.2.3', 4000];
const PRIVATE: Source = ['10.0.0.7', 4000];
const RELAY: Source = ['9.77.0.5', 20_000];
const STRANGER: Source = ['9.200.0.9', 4000];

type Trial = { mediaSource: MediaSource; streams: readonly Stream[]; source: Source | null };

/** With a signalled address that is silent, public or private; the source that is taken in the end. */
const TRIALS: Record<string, Trial> = {
  'any: a relay in another network is taken': {
    mediaSource: 'any',
    streams: [{ source: RELAY, ...always }],
    source: RELAY,
  },
  'any: a stranger at ten times the rate who was there before is not, and the relay is': {
    mediaSource: 'any',
    streams: [
      { source: STRANGER, ...always, rate: 10 },
      { source: RELAY, ...always, fromMs: 400 },
    ],
    source: RELAY,
  },
  'any: a stranger at twice the rate who came later is not': {
    mediaSource: 'any',
    streams: [
      { source: RELAY, ...always },
      { source: STRANGER, ...always, fromMs: 40, rate: 2 },
    ],
    source: RELAY,
  },
  'any: a stranger at ten times the rate is not, also when the window is over before he comes': {
    mediaSource: 'any',
    streams: [
      { source: RELAY, fromMs: 0, untilMs: 20 },
      { source: STRANGER, ...always, fromMs: 480, rate: 10 },
      { source: RELAY, ...always, fromMs: 800 },
    ],
    source: RELAY,
  },
  'any: a stranger with the SSRC and the numbers of the relay neither breaks its run nor has part in it':
    {
      mediaSource: 'any',
      streams: [
        { source: RELAY, ...always, sequenceOf: (i) => i, ssrcOf: () => 42 },
        {
          ...{ source: STRANGER, ...always, fromMs: 20, rate: 2 },
          ...{ sequenceOf: (i) => i + 1, ssrcOf: () => 42 },
        },
      ],
      source: RELAY,
    },
  'any: a packet now and then is no stream': {
    mediaSource: 'any',
    streams: Array.from({ length: 9 }, (_, i) => ({
      ...{ source: STRANGER, fromMs: i * 500, untilMs: i * 500 + 20 },
      sequenceOf: () => i,
    })),
    source: null,
  },
  'any: what was sent before and came at once is a stream': {
    mediaSource: 'any',
    streams: [
      { source: RELAY, fromMs: 0, untilMs: 20, rate: 50, sequenceOf: (i) => i },
      { source: RELAY, ...always, fromMs: 20, sequenceOf: (i) => 50 + i },
    ],
    source: RELAY,
  },
  'strict: nobody else, however long he sends': {
    mediaSource: 'strict',
    streams: [{ source: RELAY, ...always }],
    source: null,
  },
};

for (const [name, { mediaSource, streams, source }] of Object.entries(TRIALS)) {
  for (const signalled of [PUBLIC, PRIVATE]) {
    test(`${name} (${signalled[0]})`, () => {
      const latch = newLatch(mediaSource, signalled);
      run(latch, streams, 5000);
      assert.deepEqual([latch.address, latch.port], source ?? ['', 0]);
      if (source === null) return;
      assert.equal(judge(latch, source, 6000), 'accept');
      for (let i = 0; i < 200; i++)
        assert.equal(judge(latch, STRANGER, 6000 + i * 2, i), 'foreign', 'once taken, nobody else');
      assert.equal(latch.settle(7000), false);
      assert.equal(judge(latch, source, 7000), 'accept');
    });
  }
}

test('strict: the signalled address on its port alone, whatever network it is in, with SRTP too', () => {
  for (const signalled of [PUBLIC, PRIVATE]) {
    for (const isAuthentic of [false, true]) {
      const latch = new SourceLatch();
      latch.signal(...signalled, { isAuthentic, mediaSource: 'strict' });
      for (const other of [[signalled[0], 4002], ['9.1.2.4', 4000], RELAY] as Source[]) {
        const taken = run(latch, [{ source: other, ...always }], 2000);
        assert.equal(taken, null, `${other.join(':')} for ${signalled.join(':')}`);
        assert.equal(judge(latch, other, 2000), 'foreign');
      }
      assert.equal(latch.state, 'open', 'nobody opens a window');
      assert.equal(judge(latch, signalled, 2020), 'latch');
      assert.equal(judge(latch, RELAY, 2040), 'foreign');
    }
  }
});

test('any: the signalled address comes first, and later takes over by a stream alone', () => {
  const latch = newLatch('any', PUBLIC);
  assert.equal(judge(latch, RELAY, 0), 'hold');
  assert.equal(judge(latch, PUBLIC, 20), 'latch');
  assert.equal(judge(latch, RELAY, 40), 'foreign');

  const learnt = newLatch('any', PUBLIC);
  run(learnt, [{ source: RELAY, ...always }], 1000);
  assert.deepEqual([learnt.address, learnt.port], RELAY);
  assert.equal(judge(learnt, PUBLIC, 1000, 1), 'foreign', 'a stray packet');
  for (let i = 0; i < 10; i++)
    assert.equal(judge(learnt, PUBLIC, 2000 + i * 600, 2 + i), 'foreign', 'or one now and then');
  assert.equal(judge(learnt, RELAY, 9000), 'accept');
  const verdicts = [0, 1, 2, 3, 4].map((i) => judge(learnt, PUBLIC, 9000 + i * 20, 500 + i));
  assert.deepEqual(verdicts, ['foreign', 'foreign', 'foreign', 'foreign', 'latch']);
  assert.equal(learnt.isLearnt, false);
  assert.equal(judge(learnt, RELAY, 9200), 'foreign', 'and never back');
});

test('any: a re-INVITE with another address opens the latch, one with the same does not', () => {
  const latch = newLatch('any', PUBLIC);
  run(latch, [{ source: RELAY, ...always }], 1000);
  assert.equal(latch.signal(...PUBLIC, { mediaSource: 'any' }), false);
  assert.equal(judge(latch, RELAY, 1020), 'accept');
  assert.equal(latch.signal('9.1.2.3', 4002, { mediaSource: 'any' }), true);
  assert.equal(judge(latch, STRANGER, 1040), 'hold');
  assert.equal(latch.state, 'learning');
});

test('a stranger is neither heard nor sent to, unless the trunk takes audio from anywhere', () => {
  const rows: readonly (readonly [object, received: number])[] = [
    [{ remoteAddress: '9.1.2.3' }, 0],
    [{ remoteAddress: '9.1.2.3', srtp: null }, 0], // as offer and answer tell of plain RTP
    [{ remoteAddress: '9.1.2.3', srtp: null, mediaSource: 'any' }, 100],
    [{ remoteAddress: '10.0.0.7', srtp: null, mediaSource: 'strict' }, 0],
  ];
  for (const [more, received] of rows) {
    const call = testChain();
    call.chain.start({ ...AUDIO, ...more });
    for (let i = 0; i < 100; i++) {
      const bytes = rtp({ sequence: i, timestamp: i * 160, payload: new Uint8Array(160), ssrc: 5 });
      call.transport.listener?.(bytes, '9.1.3.3', 4000);
      call.clock.advance(20);
    }
    const { packetsReceived, foreignDropped } = call.chain.stats;
    const took = [
      call.events.filter(({ type }) => type === 'media.latched').length,
      packetsReceived,
      foreignDropped,
    ];
    assert.deepEqual(took, [Number(received > 0), received, 100 - received], JSON.stringify(more));
  }
});
