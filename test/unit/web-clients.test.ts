/** What clients of a call say, hear and are told, on a simulated clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LossyRing } from '#media/lossy-ring.ts';
import { MAX_TAPS } from '#media/types.ts';
import { WebRings } from '#media/web/web-audio.ts';
import { WEB_RING_SAMPLES } from '#media/web/web-transport.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import { createService } from './_call-service.ts';
import { AGENT, settle } from './_fakes.ts';
import { attach, pass, place, refusalOf, said, talk, typesOf, WEB } from './_web-call.ts';

const at = (frame: CallFrame | undefined): { startMs: number; endMs: number } => {
  assert.ok(frame?.type === 'heard');
  return { startMs: frame.startMs, endMs: frame.endMs };
};

// ---- What a client says ----

test('text is heard as if spoken, and answered', async () => {
  const { service, id, client, frames } = await talk();
  await pass(service, 2000);
  client.text('  my order  ');
  client.text('   ');
  await pass(service, 2000);
  assert.deepEqual(await said(service, id), [
    'assistant: Hello there my friend',
    'user: my order',
    'assistant: You said my order.',
  ]);
  const heard = frames.find((frame) => frame.type === 'heard');
  assert.deepEqual(heard, { type: 'heard', text: 'my order', isFinal: true, ...at(heard) });
  const { latency } = service.record();
  assert.equal(latency ?? null, null, 'nobody waited for words that were never spoken');
});

test('text interrupts what is being said, also a backchannel and without barge-in', async () => {
  const turn = { ...AGENT.turn, bargeIn: false };
  const agents = { byId: () => Promise.resolve({ ...AGENT, turn }) };
  const { service, id, client, frames } = await talk(
    { changes: { agents: agents as never } },
    { agentId: AGENT.id },
  );
  await pass(service, 460);
  client.text('ok');
  await pass(service, 1500);
  assert.deepEqual((await said(service, id)).slice(0, 3), [
    'user: ok',
    'assistant: Hello there /',
    'assistant: You said ok.',
  ]);
  const order = typesOf(frames);
  assert.match(order, /interrupted clear/);
});

test('keys are pressed one after the other, as by web', async () => {
  const { service, client } = await talk();
  await pass(service, 2000);
  client.dtmf('1x#');
  await settle();
  const pressed = service.entries.filter(({ event }) => event.type === 'dtmf.received');
  assert.deepEqual(
    pressed.map(({ event }) => event.data),
    ['1', '#'].map((digit) => ({ digit, duration_ms: 100, mode: 'web' })),
  );
});

test('an interruption stops the agent, tells what was heard, and voids what was sent', async () => {
  const { service, id, client, frames, rings } = await talk();
  const downlink = LossyRing.attach(rings.buffers.downlink, WEB_RING_SAMPLES);
  await pass(service, 460);
  downlink.write(new Int16Array(800));
  client.interrupt();
  await settle();
  const told = service.entries.find(({ event }) => event.type === 'user-interrupted')?.event.data;
  assert.deepEqual(told, { turn: 1, heard_ms: 460, heard_text: 'Hello there', reaction_ms: 0 });
  assert.match(typesOf(frames), /interrupted clear$/);
  assert.equal(client.read(new Int16Array(800)), 0, 'nothing of it is sent any more');
  assert.deepEqual(await said(service, id), ['assistant: Hello there /']);
  client.interrupt();
  await pass(service, 1000);
  assert.equal((await said(service, id)).length, 1, 'and nothing happens when nobody speaks');
});

test('what is on its way to the client counts as not heard', async () => {
  const { service, client, frames, rings } = await talk();
  const downlink = LossyRing.attach(rings.buffers.downlink, WEB_RING_SAMPLES);
  await pass(service, 860);
  downlink.write(new Int16Array(160));
  client.read(new Int16Array(160));
  client.read(new Int16Array(160));
  const mark = frames.find((frame) => frame.type === 'mark');
  assert.ok(mark?.type === 'mark');
  await pass(service, 140);
  client.played(mark.name); // 800 ms of words: played 200 ms later
  client.played('made-up');
  client.text('go on');
  await pass(service, 460);
  client.interrupt();
  await settle();
  const told = service.entries.find(({ event }) => event.type === 'user-interrupted')?.event.data;
  const { heard_ms: heardMs } = told as { heard_ms: number };
  assert.ok(heardMs >= 240 && heardMs <= 300, `${heardMs}`);
});

// ---- What a client is told ----

test('partials, replies piece by piece, and a mark behind each once it is sent', async () => {
  const { service, client, frames, rings, rig } = await talk();
  const downlink = LossyRing.attach(rings.buffers.downlink, WEB_RING_SAMPLES);
  const into = new Int16Array(160);
  const run = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 20) {
      service.clock.advance(20);
      downlink.write(into);
      await settle();
      client.read(into);
    }
  };
  await run(700);
  assert.equal(typesOf(frames), 'status reply reply', 'all words, and no mark yet');
  assert.deepEqual(frames.slice(1), [
    { type: 'reply', text: 'Hello there my friend', turn: 1, isFinal: false },
    { type: 'reply', text: '', turn: 1, isFinal: true },
  ]);
  await run(200);
  assert.equal(typesOf(frames), 'status reply reply t1-p1');
  frames.length = 0;
  const startMs = 1000;
  const wireMs = performance.timeOrigin + startMs;
  rig.media.emit({ type: 'speech.started', atMs: 1060, startMs, wireMs });
  rig.hear({ type: 'partial', text: 'my' });
  rig.hear({ type: 'partial', text: '' });
  assert.equal(frames.length, 1);
  const [partial] = frames;
  assert.ok(partial?.type === 'heard' && !partial.isFinal && partial.startMs === 1000);
  client.hangup(null);
  await run(500);
  assert.equal(frames.at(-1)?.type, 'ended');
});

test('a mark is told behind its sound, however late that is read', async () => {
  const { service, client, frames, rings } = await talk();
  const downlink = LossyRing.attach(rings.buffers.downlink, WEB_RING_SAMPLES);
  downlink.write(new Int16Array(800));
  await pass(service, 1000);
  const into = new Int16Array(320);
  const seen = (): boolean => frames.some(({ type }) => type === 'mark');
  assert.equal(client.read(into), 320);
  assert.equal(client.read(into), 320);
  assert.equal(seen(), false);
  assert.equal(client.read(into), 160);
  assert.equal(seen(), false, 'its sound has just been read');
  client.read(into);
  assert.equal(seen(), true);
});

test('audio that comes before the call is ready is kept, up to two seconds', async () => {
  const service = createService();
  const rings = new WebRings();
  const placed = await service.calls.placeWeb(WEB);
  assert.ok(placed.ok);
  const client = attach(service, placed.call.id);
  assert.equal(client.push(Int16Array.of(1, 2, 3)), 0);
  assert.equal(client.push(new Int16Array(WEB_RING_SAMPLES).fill(7)), 3);
  service.rig.media.web = rings;
  await settle();
  assert.equal(client.push(Int16Array.of(8)), 1);
  const uplink = LossyRing.attach(rings.buffers.uplink, WEB_RING_SAMPLES);
  const heard = new Int16Array(WEB_RING_SAMPLES);
  assert.equal(uplink.read(heard), WEB_RING_SAMPLES);
  assert.deepEqual([heard[0], heard.at(-1)], [7, 8]);
});

test('the last words are read after the call is over', async () => {
  const { service, client, frames, rings } = await talk();
  const downlink = LossyRing.attach(rings.buffers.downlink, WEB_RING_SAMPLES);
  await pass(service, 600);
  let left = 0;
  const order: string[] = [];
  client.onFrame((frame) => {
    frames.push(frame);
    order.push(frame.type);
    if (frame.type !== 'ended') return;
    left = client.read(new Int16Array(1600));
    order.push('audio');
    client.read(new Int16Array(160));
  });
  downlink.write(new Int16Array(480));
  await pass(service, 400);
  client.hangup(null);
  await pass(service, 500);
  assert.equal(left, 480);
  assert.deepEqual(order.slice(-3), ['ended', 'audio', 'mark'], 'a mark waits for its sound');
});

test('with a notice: recorded from its end on, and what was written meanwhile is answered', async () => {
  const { service, id, client } = await talk({
    settings: { recordingDefault: true, recordingNotice: 'This call is recorded' },
  });
  await pass(service, 300);
  client.text('my order');
  client.interrupt();
  await pass(service, 2000);
  assert.deepEqual(await said(service, id), [
    'user: my order',
    'assistant: This call is recorded',
    'assistant: You said my order.',
  ]);
  assert.ok(service.rig.log.includes('record'));
  client.hangup(null);
  await pass(service, 500);
  assert.equal(service.record()['recording_status'], 'ready');
});

// ---- Listeners ----

test('a listener hears both sides mixed, gets the frames, and changes nothing', async () => {
  const { service, id, client, frames, rig } = await talk();
  const sides = [Int16Array.of(100, 30_000, -30_000, 5), Int16Array.of(-40, 30_000, -30_000, 0)];
  let open = 0;
  rig.media.tap = () => {
    open++;
    return {
      read: (caller, agent) => {
        caller.set(sides[0] ?? []);
        agent.set(sides[1] ?? []);
        return 4;
      },
      close: () => open--,
    };
  };
  const listener = attach(service, id, 'listen');
  const heard: CallFrame[] = [];
  listener.onFrame((frame) => heard.push(frame));
  const into = new Int16Array(160);
  assert.equal(listener.read(into), 4);
  assert.deepEqual([...into.subarray(0, 4)], [60, 32_767, -32_768, 5]);
  listener.text('hello');
  listener.dtmf('1');
  listener.interrupt();
  listener.hangup(null);
  assert.equal(listener.push(new Int16Array(10)), 0);
  assert.equal(listener.functionResult('x', 1), false);
  frames.length = 0;
  await pass(service, 500);
  client.text('stop');
  await pass(service, 300);
  assert.equal(typesOf(heard.filter(({ type }) => type === 'interrupted')), 'interrupted');
  assert.equal(heard.length, frames.filter(({ type }) => type !== 'clear').length);
  assert.deepEqual((await said(service, id)).slice(0, 2), [
    'user: stop',
    'assistant: Hello there /',
  ]);
  listener.detach();
  listener.detach();
  assert.equal(open, 0);
  assert.equal(listener.read(into), 0);
});

test('eight listeners, not nine; whoever leaves makes room', async () => {
  const { service, id } = await talk();
  const all = Array.from({ length: MAX_TAPS }, () => attach(service, id, 'listen'));
  assert.equal(refusalOf(service, id, 'listen'), 'FULL');
  all[0]?.detach();
  assert.equal(refusalOf(service, id, 'listen'), null);
});

test('whoever listens before the answer hears from the answer on', async () => {
  const service = createService();
  const id = await place(service);
  const listener = attach(service, id, 'listen');
  const into = new Int16Array(160);
  assert.equal(listener.read(into), 0);
  assert.ok(!service.rig.log.includes('media.tap'));
  attach(service, id);
  await settle();
  listener.read(into);
  listener.read(into);
  assert.equal(service.rig.log.filter((line) => line === 'media.tap').length, 1);
});
