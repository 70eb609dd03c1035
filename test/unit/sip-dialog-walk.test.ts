/** Random walks over the SIP core: whatever network and application do, in any order, everything ends and nothing fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '#lib/log.ts';
import type { SipMessage } from '#sip/server/message.ts';
import { PEER, reply, request, settled } from './_sip-fakes.ts';
import { NOTHING, SDP, createKit } from './_sip-kit.ts';
import type { Kit } from './_sip-kit.ts';

const SEED = 20_261_121;
const WALKS = 150;
const STEPS = 40;

/** Mulberry32: small, seeded, good enough to shuffle steps. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

class Walk {
  readonly kit: Kit;
  readonly done: string[] = [];
  readonly #random: () => number;
  readonly #requests: SipMessage[] = [];
  #cseq = 1;
  #branch = 0;

  constructor(seed: number) {
    const failed: string[] = [];
    this.kit = createKit({
      ...silentLog,
      error: (event, fields) => void failed.push(`${event} ${String(fields?.['error'])}`),
    });
    this.failed = failed;
    this.#random = generator(seed);
  }

  readonly failed: readonly string[];
  /** Frames of the application without a reply. */
  unanswered = 0;

  pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  async step(): Promise<void> {
    const steps: (() => void | Promise<void>)[] = [
      () => this.#peerInvites(),
      () => this.#peerAgain(),
      () => this.#peerInDialog(),
      () => this.#peerInDialog(),
      () => this.#peerReplies(),
      () => this.#peerReplies(),
      () => this.#appAnswers(),
      () => this.#appAnswers(),
      () => this.#appInvites(),
      () => this.#appInDialog(),
      () => this.#appInDialog(),
      () => this.#appCancels(),
      () => this.#wait(),
      () => this.#fault(),
    ];
    await this.pick(steps)?.();
    await settled();
  }

  #count(replied: Promise<unknown>): void {
    this.unanswered++;
    void replied.then(() => this.unanswered--);
  }

  #note(what: string): void {
    this.done.push(what);
  }

  #receive(fields: Parameters<typeof request>[0]): void {
    const message = request({
      branch: `z9hG4bK-w${this.#branch++}`,
      cseq: this.#cseq++,
      ...fields,
    });
    this.#requests.push(message);
    this.#note(`< ${message.method} ${message.cseq.number}`);
    this.kit.transport.receive(message.clone());
  }

  #peerInvites(): void {
    this.#receive({
      callId: `call-${Math.floor(this.#random() * 3)}`,
      body: this.pick(['', SDP]) ?? '',
    });
  }

  /** A retransmission, an ACK or a CANCEL of something that was sent before. */
  #peerAgain(): void {
    const message = this.pick(this.#requests);
    if (message === undefined) return;
    const copy = message.clone();
    const method = message.method === 'INVITE' ? this.pick(['INVITE', 'ACK', 'CANCEL']) : undefined;
    if (method !== undefined && method !== 'INVITE') {
      copy.method = method;
      copy.set('CSeq', `${message.cseq.number} ${method}`);
    }
    this.#note(`< ${copy.method} ${message.cseq.number} (branch of ${message.method})`);
    this.kit.transport.receive(copy);
  }

  #peerInDialog(): void {
    const dialog = this.pick([...this.kit.core.dialogs.all]);
    if (dialog === undefined) return;
    const method = this.pick(['ACK', 'ACK', 'BYE', 'INVITE', 'UPDATE', 'INFO', 'FOO']) ?? 'ACK';
    const cseq = method === 'ACK' ? (dialog.awaitedAck?.cseq ?? 1) : this.#cseq++;
    const { callId, remoteTag: fromTag, localTag: toTag } = dialog;
    this.#receive({ method, callId, fromTag, toTag, cseq, body: this.pick(['', SDP]) ?? '' });
  }

  #peerReplies(): void {
    const sent = this.kit.transport.sent
      .map(({ message }) => message)
      .filter(({ kind, method }) => kind === 'request' && method !== 'ACK');
    const message = this.pick(sent.slice(-6));
    if (message === undefined) return;
    const status =
      this.pick([100, 180, 183, 200, 200, 200, 202, 302, 401, 408, 481, 487, 491]) ?? 200;
    const headers = this.pick([[], [`Contact: <sip:x@${PEER}:5070>`]]) ?? [];
    this.#note(`< ${status} ${message.method}`);
    this.kit.transport.receive(
      reply(message, status, { toTag: this.pick(['a', 'b']) ?? 'a', headers }),
    );
  }

  #appAnswers(): void {
    const asked = this.kit.app.heard.filter(({ message }) => message.kind === 'request');
    const event = this.pick(asked.slice(-4));
    if (event === undefined) return;
    const status = this.pick(['100 Trying', '180 Ringing', '200 OK', '200 OK', '486 Busy']) ?? '';
    this.#note(`app ${status} to ${event.message.method}`);
    this.kit.respond(`${status}\r\n\r\n${this.pick(['', SDP])}`, event.transactionId);
  }

  #appInvites(): void {
    this.#note('app INVITE');
    this.#count(this.kit.submit(`INVITE sip:c@${PEER} SIP/2.0\r\n\r\n${SDP}`));
  }

  #appInDialog(): void {
    const dialog = this.pick([...this.kit.core.dialogs.all]);
    const method = this.pick(['ACK', 'ACK', 'BYE', 'INVITE', 'UPDATE', 'INFO']) ?? 'ACK';
    if (dialog === undefined) return;
    this.#note(`app ${method}`);
    this.#count(this.kit.inDialog(dialog.controlId, `${method} sip:placeholder SIP/2.0`));
  }

  #appCancels(): void {
    const event = this.pick(
      this.kit.app.heard.filter(({ message }) => message.kind === 'response'),
    );
    this.#note('app CANCEL');
    this.#count(this.kit.cancel(event?.transactionId ?? 'none'));
  }

  async #wait(): Promise<void> {
    const ms = this.pick([1, 600, 5000, 33_000, 70_000]) ?? 1;
    this.#note(`wait ${ms}`);
    await this.kit.advance(ms);
  }

  #fault(): void {
    const { transport } = this.kit;
    transport.isBroken = !transport.isBroken && this.#random() < 0.5;
    this.#note(transport.isBroken ? 'network down' : 'network up');
  }
}

test(`${WALKS} random walks (seed ${SEED}) end with nothing left and nothing failed`, async () => {
  for (let walk = 0; walk < WALKS; walk++) {
    const run = new Walk(SEED + walk);
    for (let step = 0; step < STEPS; step++) await run.step();
    const { kit } = run;
    kit.app.isOpen = false;
    kit.clientGone(kit.app);
    // Timers set by callbacks that wait for promises fall due in a later turn: several turns of ten minutes.
    for (let turn = 0; turn < 6; turn++) await kit.advance(600_000);
    const story = `seed ${SEED + walk}: ${run.done.join(', ')}`;
    assert.deepEqual(run.failed, [], story);
    assert.equal(run.unanswered, 0, story);
    assert.deepEqual(kit.leftovers(), NOTHING, story);
  }
});
