/** People on a call: who hears whom in every role, changes in mid-call, rings that run dry or over, and a random walk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallParties } from '#media/mix/call-parties.ts';
import type { MediaCommand } from '#media/media-protocol.ts';
import {
  MAX_PARTIES,
  PARTY_IN,
  PARTY_ROLES,
  type MediaParty,
  type PartyRole,
} from '#media/mix/mix-types.ts';
import { Parties, type PartyCommand } from '#media/mix/party.ts';

const FRAME = 160;
const CALLER = 1000;
const AGENT = 100;

/** Both ends of the parties of one call, with a caller and an agent at constant levels. */
function setUp() {
  const worker = new CallParties();
  const sent: Omit<PartyCommand, 'session'>[] = [];
  const client = new Parties((command) => {
    sent.push(command);
    carryOut(worker, { ...command, session: 1 } as PartyCommand);
  });
  const toCaller: number[] = [];
  const staff = new Int16Array(FRAME);
  const tick = (frames: number, each: () => void = () => undefined, levels = [CALLER, AGENT]) => {
    for (let i = 0; i < frames; i++) {
      each();
      staff.fill(0);
      worker.pull();
      worker.toCaller(staff);
      toCaller.push(...staff);
      worker.caller(new Int16Array(FRAME).fill(levels[0] as number));
      worker.tick(new Int16Array(FRAME).fill(levels[1] as number));
    }
  };
  const aside = (kind: 'spoken' | 'whispered'): number[] => {
    const into = new Int16Array(16_000);
    return [...into.subarray(0, client.read(kind, into))];
  };
  return { worker, client, sent, tick, toCaller, aside };
}

function carryOut(worker: CallParties, command: MediaCommand): void {
  if (command.type === 'party.join') worker.add(command.party, command, command.settings);
  else if (command.type === 'party.set') worker.set(command.party, command.settings, command.from);
  else if (command.type === 'party.leave') worker.remove(command.party);
}

function heard(party: MediaParty): number[] {
  const into = new Int16Array(8000);
  return [...into.subarray(0, party.read(into))];
}

const say = (party: MediaParty, level: number, samples = FRAME): number =>
  party.push(new Int16Array(samples).fill(level));

function largestStep(pcm: readonly number[]): number {
  let most = 0;
  for (let i = 1; i < pcm.length; i++)
    most = Math.max(most, Math.abs((pcm[i] as number) - (pcm[i - 1] as number)));
  return most;
}

/** What one party hears of four, each at a level of its own, is a sum whose digits tell who is in it. */
const LEVELS: Readonly<Record<PartyRole, number>> = {
  supervisor: 2000,
  whisper: 4000,
  agent: 8000,
  listen: 16_000,
};

test('who hears whom: every role against every other', () => {
  const { client, tick, toCaller, aside } = setUp();
  const parties = PARTY_ROLES.map((role) => client.join({ role }));
  tick(12, () => {
    for (const party of parties) say(party, LEVELS[party.role]);
  });
  const all = CALLER + AGENT + 2000 + 4000 + 8000;
  for (const party of parties) {
    const own = party.role === 'listen' ? 0 : LEVELS[party.role];
    assert.equal(heard(party).at(-1), all - own, `${party.role} hears all but himself`);
  }
  assert.equal(toCaller.at(-1), 10_000, 'the caller hears supervisor and human agent, no whisper');
  assert.equal(aside('spoken').at(-1), 10_000);
  assert.equal(aside('whispered').at(-1), 4000);
});

test('nobody there: nothing is read, nothing is written, no memory is made', () => {
  const { worker, client, tick, toCaller, sent } = setUp();
  tick(3);
  assert.deepEqual(sent, []);
  assert.ok(toCaller.every((x) => x === 0));
  assert.equal(client.read('spoken', new Int16Array(160)), 0);
  assert.equal(worker.isOpen, false);
});

test('a role changed in mid-word: from the caller’s ear to the agent’s and back, without a click', () => {
  const { client, tick, toCaller, aside } = setUp();
  const coach = client.join({ role: 'supervisor' });
  const talk = (): void => void say(coach, 8000);
  tick(6, talk);
  for (const role of ['whisper', 'supervisor', 'listen', 'supervisor', 'agent'] as const) {
    coach.setRole(role);
    assert.equal(coach.role, role);
    const before = toCaller.length;
    tick(6, talk);
    const heardNow = toCaller.slice(before + FRAME + 400);
    const isHeard = role === 'supervisor' || role === 'agent';
    assert.ok(
      heardNow.slice(-FRAME).every((x) => x === (isHeard ? 8000 : 0)),
      role,
    );
    if (role === 'whisper') {
      assert.ok(
        heardNow.every((x) => x === 0),
        'not a sample of a whisper gets to the caller',
      );
      assert.equal(aside('whispered').at(-1), 8000);
    }
  }
  assert.ok(largestStep(toCaller) <= 2 * (8000 / 40) + 2, `${largestStep(toCaller)}`);
});

test('what was whispered, or said while nobody was to hear it, never gets to the caller, whatever follows', () => {
  const SECRET = 9000;
  const PUBLIC = 700;
  const hidden = [
    ['whisper', (coach: MediaParty) => coach.setRole('whisper')],
    ['muted', (coach: MediaParty) => coach.mute(true)],
    ['a whisper that listens', (coach: MediaParty) => coach.setRole('whisper')],
  ] as const;
  for (const [name, hide] of hidden)
    for (const burst of [160, 320, 800, 1600])
      for (const role of ['supervisor', 'agent'] as const) {
        const { client, tick, toCaller } = setUp();
        const coach = client.join({ role: 'supervisor' });
        hide(coach);
        tick(3);
        say(coach, SECRET, burst);
        tick(1);
        say(coach, SECRET, burst);
        // Between two frames: the worker sees the commands one right behind the other, with the new words in the ring.
        if (name === 'a whisper that listens') coach.setRole('listen');
        coach.mute(false);
        coach.setRole(role);
        say(coach, PUBLIC, 480);
        tick(12, () => say(coach, PUBLIC));
        const most = Math.max(...toCaller.map(Math.abs));
        // The last sample of it dies away while the gate opens: a bump of 2.5 ms, and no word.
        const words = toCaller.slice(80).filter((x) => Math.abs(x) > PUBLIC + 2).length;
        const shown = `${name}, ${burst} samples, then ${role}: ${most}`;
        assert.ok(words <= 40, shown);
        assert.ok(most < SECRET / 3, shown);
        assert.equal(toCaller.at(-1), PUBLIC, shown);
      }
});

test('a human agent takes over, and gives back', () => {
  const { worker, client } = setUp();
  const human = client.join({ role: 'listen' });
  assert.equal(worker.hasTakenOver, false);
  human.setRole('agent');
  assert.equal(worker.hasTakenOver, true);
  human.setRole('whisper');
  assert.equal(worker.hasTakenOver, false);
  human.setRole('agent');
  human.leave();
  assert.equal(worker.hasTakenOver, false);
});

test('a ring that runs dry falls within 5 ms, waits for 40 ms of sound, and rises', () => {
  const { client, tick, toCaller } = setUp();
  const party = client.join({ role: 'supervisor' });
  say(party, 8000);
  tick(3);
  assert.ok(
    toCaller.every((x) => x === 0),
    'one frame is not enough to begin with',
  );
  say(party, 8000, 250);
  tick(4);
  say(party, 8000);
  tick(2);
  say(party, 8000);
  tick(4);
  assert.equal(toCaller.filter((x) => x > 0).length > 600, true);
  assert.ok(largestStep(toCaller) <= 2 * (8000 / 40) + 2, `${largestStep(toCaller)}`);
});

test('what is said too fast is dropped oldest first and counted, without a click', () => {
  const { client, tick, toCaller } = setUp();
  const party = client.join({ role: 'supervisor' });
  let dropped = 0;
  tick(40, () => {
    dropped += say(party, toCaller.length % 640 < 320 ? 6000 : -6000, 240);
  });
  assert.ok(dropped > 0);
  assert.deepEqual(party.dropped, { said: dropped, heard: 0 });
  assert.equal(dropped, 40 * 240 - 39 * FRAME - (PARTY_IN - FRAME));
  party.leave();
  assert.equal(say(party, 1), FRAME, 'nobody hears him');
  assert.equal(party.dropped.said, dropped + FRAME);
  assert.equal(party.read(new Int16Array(160)), 0);
});

test('what is not read is dropped oldest first and counted', () => {
  const { client, tick } = setUp();
  const party = client.join({ role: 'listen' });
  tick(60);
  assert.equal(party.dropped.heard, 60 * FRAME - 8000);
  assert.equal(heard(party).length, 8000);
  assert.equal(say(party, 1000), FRAME, 'a listener says nothing');
});

test('gain, mute and leaving fade', () => {
  const { worker, client, tick, toCaller } = setUp();
  const party = client.join({ role: 'supervisor', gainDb: -6 });
  const talk = (): void => void say(party, 8000);
  tick(6, talk);
  assert.equal(toCaller.at(-1), Math.round(8000 * 10 ** (-6 / 20)));
  party.setGain(0);
  tick(2, talk);
  assert.equal(toCaller.at(-1), 8000);
  party.mute(true);
  tick(2, talk);
  assert.equal(toCaller.at(-1), 0);
  party.mute(false);
  tick(2, talk);
  assert.equal(toCaller.at(-1), 8000);
  say(party, 8000);
  party.leave();
  party.leave();
  tick(3);
  assert.equal(toCaller.at(-1), 0);
  assert.equal(worker.isOpen, false);
  assert.ok(largestStep(toCaller) <= 2 * (8000 / 40) + 2, `${largestStep(toCaller)}`);
});

test('everybody at full scale: no wrap for anybody', () => {
  for (const level of [32_767, -32_768]) {
    const { client, tick, toCaller } = setUp();
    const parties = [client.join({ role: 'supervisor' }), client.join({ role: 'agent' })];
    parties.push(client.join({ role: 'whisper' }), client.join({ role: 'supervisor' }));
    const talk = (): void => {
      for (const party of parties) say(party, level);
    };
    tick(12, talk, [level, level]);
    const sign = Math.sign(level);
    for (const pcm of [toCaller, ...parties.map(heard)])
      assert.deepEqual(
        pcm.filter((x) => x * sign < 0),
        [],
        'a sum that wraps has the other sign',
      );
    assert.ok(Math.abs(toCaller.at(-1) ?? 0) > 31_500);
  }
});

test('what is refused: too many, a gain, a role', () => {
  const { client } = setUp();
  assert.throws(() => client.join({ role: 'supervisor', gainDb: 21 }), { code: 'E_REQUEST' });
  assert.throws(() => client.join({ role: 'spy' as PartyRole }), { code: 'E_REQUEST' });
  const parties = Array.from({ length: MAX_PARTIES }, () => client.join({ role: 'listen' }));
  assert.throws(() => client.join({ role: 'listen' }), { code: 'E_QUEUE_FULL' });
  parties[1]?.leave();
  client.join({ role: 'listen' });
  assert.throws(() => parties[0]?.setGain(-61), { code: 'E_REQUEST' });
  assert.throws(() => parties[0]?.setRole('x' as PartyRole), { code: 'E_REQUEST' });
  client.close();
  client.join({ role: 'listen' });
});

/** The same row for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 4_294_967_296) * below);
  };
}

test('a random walk: whatever is done in whatever order, everybody hears what the model says', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomFrom(seed);
    const { worker, client, tick, toCaller, aside } = setUp();
    const model: { party: MediaParty; level: number; isMuted: boolean }[] = [];
    const talk = (): void => {
      for (const { party, level } of model) say(party, level);
    };
    for (let step = 0; step < 25; step++) {
      const one = model[random(model.length || 1)];
      const role = PARTY_ROLES[random(4)] as PartyRole;
      const what = random(5);
      if (what === 0 && model.length < MAX_PARTIES)
        model.push({ party: client.join({ role }), level: 300 + random(3000), isMuted: false });
      else if (what === 1 && one !== undefined) {
        one.party.leave();
        model.splice(model.indexOf(one), 1);
      } else if (what === 2) one?.party.setRole(role);
      else if (what === 3 && one !== undefined) {
        one.isMuted = !one.isMuted;
        one.party.mute(one.isMuted);
      } else if (one !== undefined) one.level = 300 + random(3000);
      // Long enough for old sound to be over, and every fade.
      tick(18, talk);
      const says = model.map(({ party, level, isMuted }) =>
        isMuted || party.role === 'listen' ? 0 : level,
      );
      const sum = (roles: readonly PartyRole[]): number =>
        says.reduce((all, x, i) => all + (roles.includes(model[i]!.party.role) ? x : 0), 0);
      const where = `seed ${seed}, step ${step}`;
      const spoken = sum(['supervisor', 'agent']);
      assert.equal(toCaller.at(-1), spoken, `${where}: the caller`);
      for (const [i, { party }] of model.entries()) {
        const others = CALLER + AGENT + spoken + sum(['whisper']) - (says[i] ?? 0);
        assert.equal(heard(party).at(-1), others, `${where}: party ${i}, ${party.role}`);
      }
      if (model.length > 0) {
        assert.equal(aside('spoken').at(-1), spoken, where);
        assert.equal(aside('whispered').at(-1), sum(['whisper']), where);
      }
      assert.equal(worker.isOpen, model.length > 0, where);
      assert.equal(
        worker.hasTakenOver,
        model.some(({ party }) => party.role === 'agent'),
        where,
      );
    }
  }
});
