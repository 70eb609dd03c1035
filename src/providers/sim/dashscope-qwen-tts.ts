/** Qwen-TTS of the simulated DashScope over the realtime protocol (providers.md 2.3): one session a connection. */
import { bytesOf } from '../rates.ts';
import type { Json, SimDashscopeKit } from './dashscope.ts';
import { BREAK_AFTER_MS, jsonOf, type SimPeer, type SimService } from './speech-peer.ts';
import type { VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';

const RATE_HZ = 24_000;
const IDLE_MS = 60_000;
const CHUNK_MS = 100;
const FIELDS = ['mode', 'voice', 'response_format', 'sample_rate', 'language_type'];

export class SimQwenTts implements SimService {
  readonly #peer: SimPeer;
  readonly #kit: SimDashscopeKit;
  #fault: VendorFault | null = null;
  #state: 'new' | 'ready' | 'speaking' | 'finishing' = 'new';
  #mode = '';
  #text = '';
  #ids = 0;
  #audioMs = 0;
  #isPlayed = false;

  constructor(peer: SimPeer, kit: SimDashscopeKit) {
    this.#peer = peer;
    this.#kit = kit;
    this.#rest();
    // At once: it may come in one packet with the handshake.
    this.#event('session.created', { session: { id: 'sess_sim' } });
  }

  binary(): void {
    this.#refuse('binary data');
  }

  text(raw: string): void {
    const message = jsonOf(raw);
    if (message === null) return this.#refuse('no JSON');
    this.#kit.messages.push(message);
    this.#rest();
    if (typeof message['event_id'] !== 'string') return this.#refuse('event_id is missing');
    if (this.#state === 'finishing') return this.#refuse('a message behind session.finish');
    switch (message['type']) {
      case 'session.update':
        return this.#update((message['session'] ?? {}) as Json);
      case 'input_text_buffer.append':
        return this.#append(message['text']);
      case 'input_text_buffer.commit':
        return this.#respond(this.#takeText());
      case 'input_text_buffer.clear':
        this.#text = '';
        return;
      case 'response.cancel':
        return this.#peer.stop();
      case 'session.finish':
        return this.#finish();
      default:
        this.#refuse(`type ${String(message['type'])}`);
    }
  }

  #update(session: Json): void {
    const unknown = Object.keys(session).find((name) => !FIELDS.includes(name));
    if (this.#state !== 'new' && this.#state !== 'ready') return this.#refuse('too late to change');
    if (unknown !== undefined) return this.#refuse(unknown);
    const { mode, voice, response_format: format, sample_rate: rateHz } = session;
    if (mode !== 'server_commit' && mode !== 'commit') return this.#refuse('mode');
    if (typeof voice !== 'string' || voice === '') return this.#refuse('voice');
    if (format !== 'pcm' || rateHz !== RATE_HZ) return this.#refuse('response_format, sample_rate');
    this.#mode = mode;
    this.#state = 'ready';
    this.#peer.then(() => this.#event('session.updated', { session }), 1);
  }

  #append(text: unknown): void {
    if (this.#state === 'new') return this.#refuse('text before session.update');
    if (typeof text !== 'string' || text === '') return this.#refuse('text');
    if (this.#state === 'ready') {
      this.#state = 'speaking';
      const fault = (this.#fault = this.#kit.takeFault());
      if (fault?.kind === 'fail_before_start') return this.#fail('InternalError', 'Internal error');
      if (fault?.kind === 'own' && fault.name.includes(':')) {
        const [code = '', said = ''] = fault.name.split(':');
        return this.#fail(code, said);
      }
    }
    this.#text += text;
    if (this.#mode !== 'server_commit') return;
    // The server decides by itself: a sentence that is complete is said.
    for (;;) {
      const sentence = /^[^。！？.!?]*[。！？.!?]+/u.exec(this.#text)?.[0];
      if (sentence === undefined) return;
      this.#text = this.#text.slice(sentence.length);
      this.#respond(sentence);
    }
  }

  #finish(): void {
    this.#state = 'finishing';
    if (this.#fault?.kind === 'hang') return;
    if (this.#text.trim() !== '') this.#respond(this.#takeText());
    this.#peer.then(() => {
      if (this.#fault?.kind === 'own' && this.#fault.name === 'no_end') return;
      this.#event('session.finished', {});
      if (this.#fault?.kind === 'late') this.#delta(Buffer.alloc(1600, 0x7f));
      this.#peer.end();
    });
  }

  #takeText(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }

  #respond(text: string): void {
    if (this.#fault?.kind === 'hang') return;
    const response = { id: `resp_${++this.#ids}` };
    const ms = this.#fault?.kind === 'slow' && this.#ids === 1 ? this.#fault.ms : 2;
    this.#peer.then(() => this.#event('response.created', { response }), ms);
    const sound = simSpeech(text, RATE_HZ);
    const step = (RATE_HZ * CHUNK_MS) / 1000;
    for (let at = 0; at < sound.length; at += step) {
      this.#peer.then(() => this.#send(bytesOf(sound.subarray(at, at + step))));
    }
    this.#peer.then(() => {
      this.#event('response.audio.done', {});
      this.#event('response.done', { response: { ...response, status: 'completed' } });
    });
  }

  #send(chunk: Uint8Array): void {
    this.#audioMs += CHUNK_MS;
    this.#delta(chunk);
    const fault = this.#fault;
    if (fault === null || this.#isPlayed || this.#audioMs < 2 * CHUNK_MS) return;
    this.#isPlayed = true;
    this.#peer.interject(() => this.#play(fault), BREAK_AFTER_MS);
  }

  #play(fault: VendorFault): void {
    if (fault.kind === 'moderated') {
      const text = 'Output data may contain inappropriate content.';
      return this.#fail('DataInspectionFailed', text);
    }
    this.#peer.breaks(fault, () => this.#fail('InternalError', 'Internal error'));
  }

  #delta(chunk: Uint8Array): void {
    const isBroken = this.#fault?.kind === 'own' && this.#fault.name === 'no_base64';
    const delta = isBroken ? '!!!' : Buffer.from(chunk).toString('base64');
    this.#event('response.audio.delta', { delta });
  }

  #rest(): void {
    this.#peer.timer('rest', IDLE_MS, () => {
      this.#kit.expired.push('rest');
      this.#peer.end();
    });
  }

  #event(type: string, more: object): void {
    this.#peer.send({ event_id: `event_${++this.#ids}`, type, ...more });
  }

  #fail(code: string, message: string): void {
    this.#event('error', { error: { code, message } });
    this.#peer.end();
  }

  #refuse(what: string): void {
    this.#peer.violation(what);
    this.#fail('invalid_value', what);
  }
}
