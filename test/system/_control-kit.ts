/** A telephone of our own on a real call: SIP by hand, RTP by hand, and what is heard compared with what was said. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { DTMF_DIGITS, renderTone } from '#media/dtmf/dtmf-tones.ts';
import { simWords, simWordSound } from '#providers/sim/tts.ts';
import { ADMIN_KEY, eventually, type TestApp } from './_app.ts';
import { concat, find, heardSignal, RtpPhone } from './_rtp-phone.ts';
import { SDP, SipPeer, type PeerCall, type PeerMessage } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

const MU_LAW = (events: boolean): string =>
  `m=audio 40000 RTP/AVP 0${events ? ' 101' : ''}\r\na=rtpmap:0 PCMU/8000`;

export type Answer = { readonly status: number; readonly body: Record<string, unknown> };

export class LivePhone {
  readonly server: TestApp;
  readonly peer: SipPeer;
  readonly sip: PeerCall;
  readonly rtp: RtpPhone;
  readonly id: string;
  readonly #remotePort: number;
  #queue: Int16Array[] = [];
  #isOver = false;

  private constructor(parts: {
    server: TestApp;
    peer: SipPeer;
    sip: PeerCall;
    rtp: RtpPhone;
    id: string;
    remotePort: number;
  }) {
    this.server = parts.server;
    this.peer = parts.peer;
    this.sip = parts.sip;
    this.rtp = parts.rtp;
    this.id = parts.id;
    this.#remotePort = parts.remotePort;
  }

  /** An answered call to the server, silent so far. `events`: whether telephone-event is offered. */
  static async dial(
    t: TestContext,
    server: TestApp,
    options: { readonly events?: boolean } = {},
  ): Promise<LivePhone> {
    const peer = await SipPeer.open(server.sip);
    atEnd(t, () => peer.close());
    const rtp = await RtpPhone.open();
    atEnd(t, () => rtp.close());
    const body = SDP(rtp.port, MU_LAW(options.events ?? true));
    const sip = peer.start('INVITE', { body, extra: ['Content-Type: application/sdp'] });
    const answer = await sip.response('INVITE');
    assert.equal(answer.status, 200);
    sip.confirm(answer).ack();
    const remotePort = Number(/^m=audio (\d+)/m.exec(answer.body)?.[1]);
    const { data } = await eventually(
      () => server.get<{ calls: { id: string; status: string }[] }>('/v1/phone/calls?live=true'),
      ({ data: { calls } }) => calls[0]?.status === 'answered',
    );
    const id = data.calls[0]?.id ?? '';
    const phone = new LivePhone({ server, peer, sip, rtp, id, remotePort });
    void phone.#speak();
    atEnd(t, () => phone.hangUp());
    return phone;
  }

  /** One 20 ms frame after the other: what waits to be said, else silence. */
  async #speak(): Promise<void> {
    const silence = new Int16Array(160);
    for (let at = performance.now(); !this.#isOver; at += 20) {
      const waitMs = at - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (!this.#isOver) this.rtp.sendFrame(this.#queue.shift() ?? silence, this.#remotePort);
    }
  }

  /** Says utterance `id` of the script, in the background. */
  say(id: number, speechMs = 700): void {
    const code = encodeUtteranceId(id);
    const voice = new Int16Array(speechMs * 8);
    for (let i = 0; i < voice.length; i++) {
      const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
      voice[i] = 6000 * envelope * Math.sin((2 * Math.PI * 180 * i) / 8000);
    }
    const pcm = concat(code, voice);
    for (let at = 0; at + 160 <= pcm.length; at += 160) this.#queue.push(pcm.slice(at, at + 160));
  }

  /** Presses a key: its tone in the audio, `ms` long. */
  tone(digit: string, ms: number): void {
    const pcm = new Int16Array(Math.ceil((ms * 8) / 160) * 160);
    renderTone(pcm, digit, 0, ms * 8);
    for (let at = 0; at + 160 <= pcm.length; at += 160) this.#queue.push(pcm.slice(at, at + 160));
  }

  /** Presses a key: an RFC 4733 event of 100 ms, beside the audio; resolves at its end. */
  async event(digit: string): Promise<void> {
    const { timestamp } = this.rtp;
    const code = DTMF_DIGITS.indexOf(digit);
    for (const [duration, isEnd] of [160, 320, 480, 640, 800, 800, 800].map(
      (length, i) => [length, i >= 4] as const,
    )) {
      const payload = Uint8Array.of(code, isEnd ? 0x8a : 0x0a, duration >> 8, duration & 0xff);
      this.rtp.send(payload, 101, timestamp, this.#remotePort);
      await pause(20);
    }
  }

  /** Presses a key: by SIP INFO; resolves when it was taken. */
  async info(digit: string): Promise<void> {
    const body = `Signal=${digit}\r\nDuration=100\r\n`;
    this.sip.send('INFO', body, ['Content-Type: application/dtmf-relay']);
    const answer = await this.sip.response('INFO');
    assert.equal(answer.status, 200);
  }

  async command(name: string, body: object, key = ADMIN_KEY): Promise<Answer> {
    const url = `${this.server.app.httpUrl}/v1/phone/calls/${this.id}/${name}`;
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** A command that must take effect; its data. */
  async done(name: string, body: object): Promise<Record<string, unknown>> {
    const answer = await this.command(name, body);
    assert.equal(answer.status, 200, `${name}: ${JSON.stringify(answer.body)}`);
    return answer.body['data'] as Record<string, unknown>;
  }

  /** The place in what is heard from now on. */
  get now(): number {
    return this.rtp.heard.length;
  }

  /** What was heard from packet `from` on. */
  since(from: number): Int16Array {
    const part = { heard: this.rtp.heard.slice(from) } as RtpPhone;
    return part.heard.length === 0 ? new Int16Array(0) : heardSignal(part);
  }

  /** Waits until the words have been heard by the sim voice; the sample they began at. */
  async hears(text: string, from = 0, waitMs = 8000): Promise<number> {
    return this.hearsSound(soundOf(text), `"${text}"`, { from, waitMs });
  }

  async hearsSound(
    wanted: Int16Array,
    what: string,
    { from = 0, waitMs = 8000 }: { readonly from?: number; readonly waitMs?: number } = {},
  ): Promise<number> {
    const endMs = performance.now() + waitMs;
    let best = 0;
    // What has been searched once is not searched again: this process is the server's too.
    for (let searched = 0; ;) {
      const signal = this.since(from);
      const { correlation, at } = findLoud(wanted, signal, searched);
      if (correlation > 0.95) return at;
      best = Math.max(best, correlation);
      searched = Math.max(searched, signal.length - wanted.length);
      assert.ok(performance.now() < endMs, `${what} is heard: ${best.toFixed(2)} at best`);
      await pause(200);
    }
  }

  hasHeard(text: string, from = 0): boolean {
    return hasSound(text, this.since(from));
  }

  /** Waits until nothing has been heard for `ms`. */
  async quiet(ms = 600, waitMs = 10_000): Promise<void> {
    const endMs = performance.now() + waitMs;
    for (let from = this.now; ;) {
      await pause(ms);
      if (isSilent(this.since(from))) return;
      assert.ok(performance.now() < endMs, 'it becomes quiet');
      from = this.now;
    }
  }

  async messages(): Promise<{ role: string; content: string; interrupted?: boolean }[]> {
    const path = `/api/call/${this.id}/conversation`;
    const { data } = await this.server.get<{
      messages: { role: string; content: string; interrupted?: boolean }[];
    }>(path);
    return data.messages;
  }

  /** The next re-INVITE of the server, answered with `direction`; its SDP. */
  async answerOffer(direction: 'recvonly' | 'sendrecv' | 'refuse'): Promise<string> {
    const offer = await this.sip.request('INVITE');
    if (direction === 'refuse') this.peer.respond(offer, '488 Not Acceptable Here');
    else this.#accept(offer, direction);
    const ack = await this.peer.next('ACK', (message) => message.method === 'ACK');
    assert.equal(ack.method, 'ACK');
    return offer.body;
  }

  #accept(offer: PeerMessage, direction: string): void {
    const body = SDP(this.rtp.port, `${MU_LAW(true)}\r\na=${direction}`);
    this.peer.respond(offer, '200 OK', { body });
  }

  async hangUp(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.sip.send('BYE');
    await this.sip.response('BYE');
  }
}

/** `find` from sample `start` on, where there is sound at all. */
function findLoud(wanted: Int16Array, signal: Int16Array, start: number) {
  const power = (pcm: Int16Array): number => pcm.reduce((sum, sample) => sum + sample * sample, 0);
  const needed = power(wanted) / 4;
  let best = { correlation: 0, at: -1 };
  for (let at = start; at + wanted.length <= signal.length; at += 160) {
    if (power(signal.subarray(at, at + wanted.length)) < needed) continue;
    const near = signal.subarray(at, at + wanted.length + 160);
    const found = find(wanted, near);
    if (found.correlation > best.correlation) best = { ...found, at: at + found.at };
    if (best.correlation > 0.95) break;
  }
  return best;
}

/** Whether the words are in `signal`, said by the sim voice. */
export function hasSound(text: string, signal: Int16Array): boolean {
  return findLoud(soundOf(text), signal, 0).correlation > 0.95;
}

/** `text` as the sim voice says it. */
export function soundOf(text: string): Int16Array {
  return concat(...simWords(text).map((word) => simWordSound(word.text)));
}

export function isSilent(pcm: Int16Array): boolean {
  return pcm.every((sample) => Math.abs(sample) < 64);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
