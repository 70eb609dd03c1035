/** How a call sounds beside its words: background, voice gain, beep, typing, hold music, and what fails quietly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentConfig } from '#lib/agent-config.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { beepSound, typingSound } from '#media/mix/built-in-sounds.ts';
import { holdTune } from '#media/mix/hold-tune.ts';
import { runCall } from '#sessions/call.ts';
import { CallSounds, type SoundLibrary } from '#sessions/call-sounds.ts';
import { agentOf } from '#store/agent-config.ts';
import { AGENT, createRig, FakeMedia, settle } from './_fakes.ts';

const SOUNDS = {
  ...{ voiceGainDb: 0, backgroundGainDb: 0, duckDb: 9, ducksForCaller: false },
  ...{ holdMusic: null, typing: false, noticeBeep: false },
};
const MUSIC = new Int16Array(4000);
const OTHER = new Int16Array(5000);

function setUp(agent: Partial<AgentConfig>, holdMusic: string | null = null) {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const media = new FakeMedia(clock, log);
  const asked: string[] = [];
  const library: SoundLibrary = {
    holdMusic,
    loop: (accountId, source) => {
      asked.push(`${accountId === AGENT.accountId} ${source}`);
      if (source.includes('gone')) return Promise.reject(new AppError('E_UNREACHABLE', 'gone'));
      return Promise.resolve(source.includes('other') ? OTHER : MUSIC);
    },
  };
  const sounds = new CallSounds({
    ...{ agent: { ...AGENT, ...agent }, library, clock, log: silentLog },
    media: () => media,
  });
  return { clock, log, asked, sounds };
}

test('nothing is asked for: nothing is done', async () => {
  const { log, asked, sounds } = setUp({ background: null, sounds: SOUNDS });
  sounds.load();
  sounds.begin(true);
  sounds.toolsWork(true);
  await settle();
  assert.deepEqual([log, asked], [[], []]);
  assert.equal(sounds.holdMusic, holdTune());
});

test('background, gain, beep and hold music as the agent has them', async () => {
  const own = { ...SOUNDS, voiceGainDb: 3, backgroundGainDb: -4, duckDb: 15, noticeBeep: true };
  const { log, asked, sounds } = setUp({
    background: 'cafe',
    sounds: { ...own, holdMusic: 'file:lobby.mp3' },
  });
  sounds.load();
  assert.deepEqual(asked, ['true cafe', 'true file:lobby.mp3']);
  assert.equal(sounds.holdMusic, holdTune(), 'for as long as there is nothing else');
  sounds.begin(true);
  await settle();
  assert.deepEqual(log, [
    'media.gain 3',
    `media.effect ${beepSound().length}`,
    'media.background 4000 -4 -15',
  ]);
  assert.equal(sounds.holdMusic, MUSIC);
});

test('hold music of the installation: where an agent has none of his own', async () => {
  for (const [own, wanted] of [
    [null, OTHER],
    ['file:lobby.mp3', MUSIC],
    ['file:gone.mp3', holdTune()],
  ] as const) {
    const { sounds } = setUp({ sounds: { ...SOUNDS, holdMusic: own } }, 'file:other.wav');
    sounds.load();
    await settle();
    assert.equal(sounds.holdMusic, wanted, `${own}`);
  }
  const { sounds } = setUp({}, 'file:other.wav');
  sounds.load();
  await settle();
  assert.equal(sounds.holdMusic, OTHER, 'also without any field of his');
});

test('after a hand-off: gain, background, music and typing of the other one, once the first is through', async () => {
  const { clock, log, sounds } = setUp({
    background: 'cafe',
    sounds: { ...SOUNDS, voiceGainDb: 3, holdMusic: 'file:lobby.mp3', typing: true },
  });
  const next = { ...AGENT, background: 'other', sounds: { ...SOUNDS, backgroundGainDb: -6 } };
  sounds.load();
  sounds.begin(false);
  await settle();
  assert.deepEqual(log.splice(0), ['media.gain 3', 'media.background 4000 0 -9']);
  sounds.become(next, 900);
  await settle();
  clock.advance(800);
  assert.deepEqual(log, []);
  assert.equal(sounds.holdMusic, MUSIC);
  clock.advance(200);
  await settle();
  assert.deepEqual(log.splice(0), ['media.gain 0', 'media.background 5000 -6 -9']);
  assert.equal(sounds.holdMusic, holdTune());
  sounds.toolsWork(true);
  clock.advance(2000);
  sounds.toolsWork(false);
  assert.deepEqual(log, [], 'he does not type');
  sounds.become({ ...next, id: 'another' });
  await settle();
  assert.deepEqual(log, [], 'what both have goes on');
  sounds.become({ ...AGENT, background: 'gone' });
  await settle();
  assert.deepEqual(log.splice(0), ['media.background off'], 'the first one’s is not his');
  sounds.become(next, 500);
  sounds.become(next, 700);
  sounds.close();
  clock.advance(5000);
  await settle();
  assert.deepEqual([log, clock.pending], [[], 0]);
});

test('what cannot be had is done without, and what comes too late is not played', async () => {
  const gone = setUp({ background: 'https://gone.example/a.mp3', sounds: SOUNDS });
  gone.sounds.load();
  gone.sounds.begin(false);
  await settle();
  assert.deepEqual(gone.log, []);
  const late = setUp({ background: 'office', sounds: SOUNDS });
  late.sounds.load();
  late.sounds.begin(false);
  late.sounds.close();
  await settle();
  assert.deepEqual(late.log, []);
});

test('typing: only while a tool takes its time', () => {
  const { clock, log, sounds } = setUp({ sounds: { ...SOUNDS, typing: true } });
  const typed = `media.effect ${typingSound().length}`;
  sounds.toolsWork(true);
  clock.advance(300);
  sounds.toolsWork(false);
  clock.advance(5000);
  assert.deepEqual(log, []);
  sounds.toolsWork(true);
  clock.advance(500);
  assert.deepEqual(log, [typed]);
  clock.advance(1700);
  assert.deepEqual(log, [typed, typed]);
  sounds.close();
  sounds.toolsWork(true);
  clock.advance(5000);
  assert.equal(log.length, 2);
  assert.equal(clock.pending, 0);
});

test('a call has its background from the answer on', async () => {
  const rig = createRig({ agent: { background: 'office', sounds: SOUNDS } });
  const deps = { ...rig.deps, sounds: { loop: () => Promise.resolve(MUSIC) } };
  const call = runCall(deps, rig.setup);
  await settle();
  const [started, background] = ['media.start', 'media.background 4000 0 -9'].map((line) =>
    rig.log.indexOf(line),
  );
  assert.ok(started !== undefined && background !== undefined && started >= 0);
  assert.ok(background > started, rig.log.join(', '));
  call.stop();
  await call.done;
});

test('handed over in a live call: the sounds change with the agent, when the notice has been heard', async () => {
  const rig = createRig({
    agent: { greeting: 'Hi.', background: 'office', sounds: { ...SOUNDS, voiceGainDb: 2 } },
  });
  const library = {
    loop: (_account: string, source: string) => Promise.resolve(source === 'other' ? OTHER : MUSIC),
  };
  const next = { ...rig.setup.agent, id: AGENT.id.replace(/.$/, '7'), background: 'other' };
  const agent = { ...next, sounds: SOUNDS };
  const floor = {
    beforeReply: () =>
      Promise.resolve({
        voice: { agent, providers: rig.setup.providers() },
        notice: 'One moment.',
      }),
    afterFailure: () => Promise.resolve(null),
  };
  const call = runCall({ ...rig.deps, sounds: library }, { ...rig.setup, floor });
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 20) {
      rig.clock.advance(20);
      await settle();
    }
  };
  await settle();
  await pass(1500);
  const sounds = (): string[] => rig.log.filter((line) => /media\.(?:gain|background)/.test(line));
  assert.deepEqual(sounds(), ['media.gain 2', 'media.background 4000 0 -9']);
  const startMs = rig.setup.story.callTimeMs();
  const wireMs = performance.timeOrigin + rig.clock.now();
  rig.media.emit({ type: 'speech.started', atMs: startMs, startMs, wireMs });
  await pass(800);
  const endMs = startMs + 800;
  const stopped = { type: 'speech.stopped', atMs: endMs, startMs, endMs } as const;
  rig.media.emit({ ...stopped, wireMs: wireMs + 800 });
  const times = { startMs: null, endMs: null, confidence: 1, language: 'en' } as const;
  rig.hear({ type: 'final', text: 'I want a refund.', ...times });
  await pass(5000);
  assert.deepEqual(sounds().slice(2), ['media.gain 0', 'media.background 5000 0 -9']);
  call.stop();
  await call.done;
  assert.equal(rig.clock.pending, 0);
});

test('an agent’s row: what is out of range is not there', () => {
  const row = { id: AGENT.id, user_id: AGENT.accountId, name: 'a', account_language: 'en' };
  const read = (config: object): AgentConfig => agentOf({ ...row, config });
  assert.deepEqual(read({}).sounds, SOUNDS);
  assert.equal(read({}).background, null);
  const own = { voice_gain_db: 99, background_gain_db: -10, duck_db: 20, duck_for_caller: true };
  const more = { hold_music: 'file:a.wav', typing: true, notice_beep: 'yes' };
  assert.deepEqual(read({ background: 'white', sounds: { ...own, ...more } }).sounds, {
    ...SOUNDS,
    ...{ backgroundGainDb: -10, duckDb: 20, ducksForCaller: true },
    ...{ holdMusic: 'file:a.wav', typing: true },
  });
});
