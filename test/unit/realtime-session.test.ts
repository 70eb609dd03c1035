/** A call with a realtime model over several connections, on a simulated clock and connections that do as they are told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import type { RealtimeEvent, RealtimeSession } from '#providers/contract.ts';
import type { LineCall, LineEvents, RealtimeLine } from '#providers/realtime-line.ts';
import { openRealtimeSession } from '#providers/realtime-session.ts';

class FakeLine implements RealtimeLine {
  readonly did: string[] = [];
  readonly call: LineCall;
  readonly events: LineEvents;
  readonly lastsMs: number | null;
  isOpen = true;
  isFull = false;
  heard = 0;

  constructor(call: LineCall, events: LineEvents, lastsMs: number | null) {
    this.call = call;
    this.events = events;
    this.lastsMs = lastsMs;
  }

  push(pcm: Int16Array): void {
    this.heard += pcm.length;
    if (this.isFull) this.events.failed(new AppError('E_QUEUE_FULL', 'too slow'));
  }

  say(text: string): void {
    this.did.push(`say ${text}`);
  }

  text(text: string): void {
    this.did.push(`text ${text}`);
  }

  answer(goesOn: boolean): void {
    this.did.push(goesOn ? 'go on' : 'answer');
  }

  toolResult(id: string, content: string): void {
    this.did.push(`result ${id} ${content}`);
  }

  interrupt(reply: string, heardMs: number): void {
    this.did.push(`interrupt ${reply} ${heardMs}`);
  }

  close(): void {
    this.isOpen = false;
  }

  /** A whole reply of one second. */
  reply(id: string, text: string): void {
    this.events.replyStarted(id);
    this.events.agentText(id, text);
    this.events.audio(id, new Int16Array(8_000));
    this.events.replyDone(id, [], null);
  }
}

type World = {
  readonly clock: SimulatedClock;
  readonly lines: FakeLine[];
  readonly events: RealtimeEvent[];
  readonly session: RealtimeSession;
  /** What the next connections end with; null: they work. */
  readonly fails: (AppError | null)[];
};

async function open(more: { limitMs?: number; lastsMs?: number } = {}): Promise<World> {
  const clock = new SimulatedClock();
  const lines: FakeLine[] = [];
  const events: RealtimeEvent[] = [];
  const fails: (AppError | null)[] = [];
  const session = await openRealtimeSession(
    {
      ...{ vendor: 'fake', hasTools: true, limitMs: more.limitMs ?? null },
      tools: { log: silentLog, clock, resampling: loadStreamResampling },
      async connect(call, lineEvents) {
        const fail = fails.shift() ?? null;
        await Promise.resolve();
        if (fail !== null) throw fail;
        const line = new FakeLine(call, lineEvents, more.lastsMs ?? null);
        lines.push(line);
        return line;
      },
    },
    {
      ...{ callId: 'c', language: 'en', instructions: 'i', tools: [], history: [], codec: 'L16' },
      onEvent: (event) => events.push(event),
    },
    new AbortController().signal,
  );
  return { clock, lines, events, session, fails };
}

/** Lets promises that are settled have their say. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

const types = (events: readonly RealtimeEvent[]): string[] => events.map(({ type }) => type);
const server = new AppError('E_PROVIDER_SERVER', 'gone');

test('one thing is asked at a time; what is void is not told', async () => {
  const { lines, session, events, clock } = await open();
  const [line] = lines as [FakeLine];
  session.say('a');
  session.text('b');
  assert.deepEqual(line.did, ['say a']);
  line.events.replyStarted('r1');
  line.events.audio('r1', new Int16Array(800));
  session.interrupt(1, 60);
  session.interrupt(1, 10);
  session.interrupt(2, 10);
  assert.deepEqual(line.did, ['say a', 'interrupt r1 60']);
  const count = events.length;
  line.events.audio('r1', new Int16Array(800));
  line.events.agentText('r1', 'late');
  line.events.replyDone('r1', [{ id: 'x', name: 'f', arguments: {} }], null);
  line.events.audio('r1', new Int16Array(800));
  assert.equal(events.length, count);
  // A call of a void reply is answered in its stead, and the next thing is asked.
  assert.deepEqual(line.did.slice(2), ['result x {"error":"interrupted"}', 'text b']);
  line.reply('r2', 'yes');
  assert.deepEqual(types(events.slice(count)), [
    'turn_started',
    'agent_text',
    'audio',
    'turn_done',
  ]);
  session.close();
  session.close();
  assert.equal(clock.pending, 0);
  assert.equal(line.isOpen, false);
});

test('the model goes on when all calls of its reply are answered, but not into the caller’s words', async () => {
  const { lines, session } = await open();
  const [line] = lines as [FakeLine];
  const call = (id: string) => ({ id, name: 'f', arguments: {} });
  line.events.replyStarted('r1');
  line.events.replyDone('r1', [call('a'), call('b')], null);
  session.toolResult('b', '1');
  session.toolResult('b', 'again');
  session.toolResult('nobody', '2');
  assert.deepEqual(line.did, ['result b 1']);
  session.toolResult('a', '3');
  assert.deepEqual(line.did.slice(1), ['result a 3', 'answer']);
  line.events.replyStarted('r2');
  line.events.replyDone('r2', [call('c')], null);
  line.events.speechStarted();
  session.toolResult('c', '4');
  assert.deepEqual(line.did.slice(3), ['result c 4']);
  session.close();
});

test('a vendor that owes a reply and is silent, is as good as gone', async () => {
  for (const [name, owe] of [
    ['after say', ({ session }: World) => session.say('a')],
    ['after the caller', ({ lines }: World) => lines[0]?.events.took('u', 'comes')],
    ['after a reply has begun', ({ lines }: World) => lines[0]?.events.replyStarted('r')],
  ] as const) {
    const world = await open();
    owe(world);
    world.clock.advance(7_999);
    await settle();
    assert.equal(world.lines.length, 1, name);
    world.clock.advance(1);
    await settle();
    assert.equal(world.lines.length, 2, name);
    const [asked] = world.lines[1]?.did ?? [];
    assert.equal(asked, name === 'after say' ? 'say a' : 'answer', name);
    world.session.close();
    assert.equal(world.clock.pending, 0);
  }
  const world = await open();
  world.lines[0]?.events.took('u', 'none');
  world.clock.advance(60_000);
  await settle();
  assert.equal(world.lines.length, 1, 'nothing is owed');
  world.session.close();
});

test('a line that is lost: what was begun goes on, what waits is asked, what was said is told', async () => {
  const { lines, session, events, clock } = await open();
  const [line] = lines as [FakeLine];
  session.push(new Int16Array(16_000));
  line.events.speechStarted();
  line.events.took('u1', 'comes');
  line.events.userText('u1', 'hello', true);
  line.events.replyStarted('r1');
  line.events.agentText('r1', 'Good day');
  line.events.audio('r1', new Int16Array(800));
  session.say('later');
  line.events.failed(server);
  await settle();
  const next = lines[1] as FakeLine;
  assert.equal(line.isOpen, false);
  assert.deepEqual(next.call.history, [
    { role: 'user', content: 'hello' },
    { role: 'assistant', content: 'Good day' },
  ]);
  assert.deepEqual(next.did, ['go on']);
  assert.equal(events.at(-1)?.type, 'turn_done');
  assert.equal(next.heard, 0, 'what was taken is not sent again');
  // Of the old line nothing more is taken.
  const count = events.length;
  line.events.speechStarted();
  line.events.audio('r1', new Int16Array(800));
  line.events.failed(server);
  await settle();
  assert.equal(events.length, count);
  next.reply('r1', 'to you');
  assert.deepEqual(next.did, ['go on', 'say later']);
  const last = events.at(-1);
  assert.ok(last?.type === 'turn_done' && last.generation === 2);
  session.close();
  assert.equal(clock.pending, 0);
});

test('tries are counted, and an idle end is no fault', async () => {
  const { lines, session, events, fails, clock } = await open();
  const idle = new AppError('E_PROVIDER_IDLE', 'recycled');
  for (let i = 0; i < 5; i++) {
    lines.at(-1)?.events.failed(idle);
    await settle();
  }
  assert.deepEqual([lines.length, types(events)], [6, []]);
  fails.push(server, null);
  lines.at(-1)?.events.failed(server);
  await settle();
  assert.equal(lines.length, 7);
  // No reply has come since: this is one too many.
  lines.at(-1)?.events.failed(server);
  await settle();
  assert.deepEqual(types(events), ['error']);
  assert.equal(events[0]?.type === 'error' && events[0].isFatal, true);
  session.close();
  assert.deepEqual([lines.length, clock.pending], [7, 0]);

  const other = await open();
  for (let i = 0; i < 5; i++) {
    other.lines.at(-1)?.reply('r', 'fine');
    other.lines.at(-1)?.events.failed(server);
    await settle();
  }
  assert.equal(other.lines.length, 6, 'a line that has worked is worth another');
  other.session.close();
});

test('a busy vendor is asked again, a quota is waited for, a failure with sound is told', async () => {
  const { lines, session, events, clock } = await open();
  const [line] = lines as [FakeLine];
  session.say('a');
  line.events.busy();
  clock.advance(249);
  assert.deepEqual(line.did, ['say a']);
  clock.advance(1);
  assert.deepEqual(line.did, ['say a', 'say a']);
  line.events.replyStarted('r1');
  line.events.replyDone('r1', [], new AppError('E_PROVIDER_QUOTA', 'slow down'));
  clock.advance(499);
  assert.equal(line.did.length, 2);
  clock.advance(1);
  assert.deepEqual(line.did.slice(2), ['say a']);
  line.events.replyStarted('r2');
  line.events.audio('r2', new Int16Array(80));
  line.events.replyDone('r2', [], server);
  assert.deepEqual(types(events).slice(-2), ['error', 'turn_done']);
  session.text('b');
  line.events.declined(new AppError('E_PROVIDER_PARAM', 'no'));
  session.say('c');
  assert.equal(line.did.at(-1), 'say c', 'what was declined is out of the way');
  session.close();
  assert.equal(clock.pending, 0);
});

test('an hour: the next session is made in a quiet moment after 55 min, at the latest at 59:30', async () => {
  const minute = 60_000;
  const quiet = await open({ limitMs: 60 * minute });
  quiet.session.push(new Int16Array(800));
  quiet.clock.advance(55 * minute - 1);
  await settle();
  assert.equal(quiet.lines.length, 1);
  quiet.clock.advance(1);
  await settle();
  assert.deepEqual([quiet.lines.length, quiet.lines[0]?.isOpen], [2, false]);
  assert.deepEqual(quiet.events, [], 'nobody notices');
  quiet.clock.advance(55 * minute);
  await settle();
  assert.equal(quiet.lines.length, 3, 'and so on');
  quiet.session.close();
  assert.equal(quiet.clock.pending, 0);

  const busy = await open({ limitMs: 60 * minute });
  busy.lines[0]?.events.speechStarted();
  busy.clock.advance(59.5 * minute - 1);
  await settle();
  assert.equal(busy.lines.length, 1);
  busy.clock.advance(1);
  await settle();
  assert.equal(busy.lines.length, 2);
  assert.deepEqual(types(busy.events), ['speech_started', 'speech_stopped']);
  busy.session.close();

  const told = await open({ limitMs: 60 * minute, lastsMs: 10 * minute });
  told.clock.advance(5 * minute);
  await settle();
  assert.equal(told.lines.length, 2, 'the vendor’s own word counts');
  told.session.close();

  const failing = await open({ limitMs: 60 * minute });
  failing.fails.push(server);
  failing.clock.advance(55 * minute);
  await settle();
  assert.deepEqual([failing.lines.length, failing.lines[0]?.isOpen], [1, true]);
  failing.lines[0]?.events.failed(new AppError('E_PROVIDER_IDLE', 'expired'));
  await settle();
  assert.equal(failing.lines.length, 2);
  failing.session.close();
  assert.equal(failing.clock.pending, 0);
});

test('sound that has waited is sent at ten times real time, in order', async () => {
  const { lines, session, clock, fails } = await open();
  const [line] = lines as [FakeLine];
  line.events.speechStarted();
  for (let i = 0; i < 50; i++) session.push(new Int16Array(800));
  fails.push(null);
  line.events.failed(server);
  for (let i = 0; i < 50; i++) session.push(new Int16Array(800));
  await settle();
  const next = lines[1] as FakeLine;
  assert.equal(next.heard, 16_000);
  clock.advance(60);
  assert.equal(next.heard, 16_000 + 4_800);
  clock.advance(1_000);
  assert.equal(next.heard, 80_000);
  session.close();
  assert.equal(clock.pending, 0);
});

test('a session that is closed while its line is made anew, leaves none behind', async () => {
  const { lines, session, clock, events } = await open();
  lines[0]?.events.failed(server);
  await Promise.resolve();
  session.close();
  await settle();
  for (const line of lines) assert.equal(line.isOpen, false);
  assert.deepEqual([events, clock.pending], [[], 0]);
});

test('a line that fails while it is pushed to is not told of from inside the push', async () => {
  const { lines, session, fails, events } = await open();
  const [line] = lines as [FakeLine];
  line.events.speechStarted();
  line.isFull = true;
  fails.push(server, server);
  session.push(new Int16Array(160));
  assert.deepEqual([types(events), line.isOpen], [['speech_started'], true]);
  await settle();
  assert.deepEqual(types(events), ['speech_started', 'speech_stopped', 'error']);
  assert.equal(line.isOpen, false);
});
