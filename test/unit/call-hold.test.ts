/** Hold and what comes in between: offers of theirs, and speech that the media plane stops for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallHold } from '#sessions/call-hold.ts';
import { runCall } from '#sessions/call.ts';
import { AUDIO, createRig, settle, type Rig } from './_fakes.ts';

async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    rig.clock.advance(Math.min(100, left));
    await settle();
  }
}

test('the offer is made when it is sent, and anew after glare', async () => {
  let version = 0;
  const sent: string[] = [];
  const holding = new CallHold({
    leg: { holdOffer: (on) => `${on} v${++version}`, acceptAnswer: () => AUDIO },
    dialog: {
      reinvite: (sdp) => {
        const made = typeof sdp === 'string' ? () => sdp : sdp;
        version = 7; // theirs came first
        sent.push(made(), made());
        return Promise.resolve('answer');
      },
    },
    conversation: { hold: () => undefined },
    media: () => null,
    music: () => new Int16Array(160),
    restart: () => undefined,
  });
  assert.deepEqual(await holding.set(true, true), { ok: true, data: { on: true } });
  assert.deepEqual(sent, ['true v8', 'true v9']);
});

test('speech on hold that the media plane stops for does not silence the agent for good', async () => {
  const rig = createRig();
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 200);
  rig.dialog.answerTo = (sdp) => Promise.resolve(sdp);
  assert.equal((await call.control()?.hold(true, true))?.ok, true);
  const resumed = (): number => rig.log.filter((line) => line === 'media.resume').length;
  const before = resumed();
  // Armed, it pauses playout by itself; nobody else knows.
  rig.media.emit({ type: 'playout.paused', atMs: 200, utterance: 1, heardMs: 200 });
  rig.media.emit({ type: 'speech.started', atMs: 200, startMs: 180, wireMs: 0 });
  assert.equal(resumed(), before + 1);
  rig.dialog.end('remote');
  await pass(rig, 300);
  await call.done;
  assert.equal(rig.clock.pending, 0);
});
