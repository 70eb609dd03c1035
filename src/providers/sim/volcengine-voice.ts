/** The bidirectional voice (providers.md 7.5). */
import type { TimerHandle } from '#lib/clock.ts';
import { bytesOf } from '../rates.ts';
import { SIM_WORD_MS, simWords } from './tts.ts';
import { simSpeech } from './vendor-voice.ts';
import type { VolcPeer } from './volcengine.ts';
import { playMidway } from './volcengine-faults.ts';
import {
  audioFrame,
  errorFrame,
  eventFrame,
  readClientFrame,
  type WireFrame,
} from './volcengine-wire.ts';

const RATES: readonly unknown[] = [8000, 16000, 22050, 24000, 32000, 44100, 48000];
/** Chunks of sound before a fault of the middle. */
const MIDDLE = 2;

type Params = Readonly<Record<string, unknown>> & { readonly rateHz: number };

type Session = {
  readonly id: string;
  readonly params: Params;
  readonly chunks: (Buffer | { readonly event: number; readonly json: unknown })[];
  spokenMs: number;
  sent: number;
  isFinishing: boolean;
};

export function playVoice(peer: VolcPeer): void {
  new VoicePeer(peer);
}

class VoicePeer {
  readonly #peer: VolcPeer;
  #isConnected = false;
  #session: Session | null = null;
  #timer: TimerHandle | undefined;
  #isStopped = false;
  #hasRefused = false;

  constructor(peer: VolcPeer) {
    this.#peer = peer;
    peer.socket.on('message', (data, isBinary) => {
      try {
        if (!isBinary) throw new Error('text instead of a frame');
        this.#frame(readClientFrame(data as Buffer));
      } catch (error) {
        peer.state.note((error as Error).message);
        peer.socket.send(errorFrame(45000000, (error as Error).message));
        peer.socket.close(1000);
      }
    });
    peer.socket.on('close', () => peer.state.clock.clearTimer(this.#timer));
  }

  #frame(frame: WireFrame): void {
    const { event, sessionId } = frame;
    if (event === null || frame.kind !== 1)
      throw new Error('only events with JSON are for this service');
    const json = JSON.parse(frame.body.toString('utf8')) as Record<string, unknown>;
    this.#peer.state.asked.push([event, json]);
    if (event === 1) return this.#connect();
    if (!this.#isConnected) throw new Error(`event ${event} before the connection was started`);
    if (event === 2) return this.#finishConnection();
    if (event === 100) return this.#start(sessionId ?? '', json);
    const session = this.#session;
    // A client that cancels may cross our word that the session has ended.
    if (event === 101 && session?.id !== sessionId) return;
    if (session === null || session.id !== sessionId)
      throw new Error(`event ${event} of no session`);
    if (event === 200) this.#task(session, json);
    else if (event === 101) this.#cancel(session);
    else if (event === 102) this.#finish(session);
    else throw new Error(`event ${event} is unknown`);
  }

  #connect(): void {
    const { socket, fault } = this.#peer;
    if (this.#isConnected) throw new Error('the connection is started once');
    if (fault?.kind === 'fail_before_start') {
      socket.send(
        eventFrame(51, 'c-1', { status_code: 55000000, message: 'no connection for you' }),
      );
      return;
    }
    this.#isConnected = true;
    socket.send(eventFrame(50, 'c-1', {}));
  }

  #finishConnection(): void {
    this.#peer.socket.send(eventFrame(52, 'c-1', {}));
    this.#peer.socket.close(1000);
  }

  #start(id: string, json: Record<string, unknown>): void {
    const { state, socket, resource } = this.#peer;
    if (this.#session !== null) throw new Error('two sessions at once');
    if (id === '' || state.sessionIds.has(id)) throw new Error('the session id was used before');
    state.sessionIds.add(id);
    state.starts.push(json);
    const params = (json['req_params'] ?? {}) as Record<string, unknown>;
    const audio = (params['audio_params'] ?? {}) as Record<string, unknown>;
    const fail = (message: string): void => {
      state.note(message);
      socket.send(eventFrame(153, id, { status_code: 45000001, message }));
    };
    if (json['event'] !== 100 || json['namespace'] !== 'BidirectionalTTS')
      return fail('event and namespace');
    if (audio['format'] !== 'pcm' || !RATES.includes(audio['sample_rate']))
      return fail('audio_params');
    for (const name of ['speech_rate', 'loudness_rate']) {
      const rate = Number(audio[name] ?? 0);
      if (!(rate >= -50 && rate <= 100)) return fail(name);
    }
    if (typeof params['additions'] !== 'string') return fail('additions is JSON in a text');
    const { speaker } = params;
    if (typeof speaker !== 'string') return fail('speaker');
    if (isNew(speaker) !== /-2\.0/.test(resource)) {
      const message = 'resource ID is mismatched with speaker related resource';
      return socket.send(eventFrame(153, id, { status_code: 55000000, message }));
    }
    const rateHz = audio['sample_rate'] as number;
    this.#session = {
      ...{ id, params: { ...audio, rateHz }, chunks: [], spokenMs: 0, sent: 0, isFinishing: false },
    };
    socket.send(eventFrame(150, id, {}));
  }

  #task(session: Session, json: Record<string, unknown>): void {
    if (session.isFinishing) throw new Error('text after FinishSession');
    const text = ((json['req_params'] ?? {}) as Record<string, unknown>)['text'];
    if (json['event'] !== 200 || json['namespace'] !== 'BidirectionalTTS')
      throw new Error('event 200');
    if (typeof text !== 'string' || text.trim() === '') throw new Error('a task without text');
    const { rateHz } = session.params;
    const { chunkMs = 100 } = this.#peer.state.options;
    const bytes = Buffer.from(bytesOf(simSpeech(text, rateHz)));
    // An odd number: samples are cut in the middle.
    const size = (rateHz / 1000) * chunkMs * 2 + 1;
    const words = simWords(text).map(({ text: word }, index) => ({
      ...{ word, confidence: 0.9 },
      startTime: (session.spokenMs + index * SIM_WORD_MS) / 1000,
      endTime: (session.spokenMs + (index + 1) * SIM_WORD_MS) / 1000,
    }));
    session.spokenMs += words.length * SIM_WORD_MS;
    session.chunks.push({ event: 350, json: { text } });
    for (let at = 0; at < bytes.length; at += size)
      session.chunks.push(bytes.subarray(at, at + size));
    const isTimed = session.params['enable_timestamp'] === true;
    session.chunks.push({ event: 351, json: { text, words: isTimed ? words : [] } });
    if (session.params['enable_subtitle'] === true)
      session.chunks.push({ event: 364, json: { text, words } });
    const { fault, state } = this.#peer;
    if (this.#timer !== undefined) return;
    this.#timer = state.clock.setTimer(() => this.#speak(), fault?.kind === 'slow' ? fault.ms : 0);
  }

  #speak(): void {
    this.#timer = undefined;
    const { socket, state } = this.#peer;
    const session = this.#session;
    if (session === null || this.#isStopped) return;
    if (session.sent === MIDDLE && this.#fail(session)) return;
    const next = session.chunks.shift();
    if (next === undefined) {
      if (!session.isFinishing) return;
      this.#session = null;
      socket.send(
        eventFrame(152, session.id, {
          status_code: 20000000,
          message: 'ok',
          usage: { text_words: 4 },
        }),
      );
      return;
    }
    if (Buffer.isBuffer(next)) {
      session.sent += 1;
      socket.send(audioFrame(session.id, next));
    } else socket.send(eventFrame(next.event, session.id, next.json));
    this.#timer = state.clock.setTimer(() => this.#speak(), state.options.everyMs ?? 1);
  }

  /** True: nothing more is said. */
  #fail(session: Session): boolean {
    const { fault, socket } = this.#peer;
    const kind = fault?.kind === 'own' ? fault.name : fault?.kind;
    if (kind === 'mute') return true;
    if (kind === 'recycle') {
      socket.send(eventFrame(52, 'c-1', {}));
      socket.close(1000);
      return true;
    }
    if (kind === 'moderated' && !this.#hasRefused) {
      this.#hasRefused = true;
      this.#session = null;
      const message = 'the text did not pass the audit';
      socket.send(eventFrame(153, session.id, { status_code: 45000000, message }));
      return true;
    }
    this.#isStopped = playMidway(this.#peer, session.id);
    return this.#isStopped;
  }

  #finish(session: Session): void {
    session.isFinishing = true;
    if (this.#timer === undefined) this.#speak();
  }

  #cancel(session: Session): void {
    const { socket, fault, state } = this.#peer;
    const rest = session.chunks.filter((chunk) => Buffer.isBuffer(chunk)).slice(0, 3);
    this.#session = null;
    if (this.#isStopped) return;
    state.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    const isLate = fault?.kind === 'late';
    if (isLate) for (const chunk of rest) socket.send(audioFrame(session.id, chunk));
    socket.send(eventFrame(151, session.id, { status_code: 20000000, message: 'canceled' }));
    if (isLate) for (const chunk of rest) socket.send(audioFrame(session.id, chunk));
  }
}

/** Voices of the second generation. */
function isNew(speaker: string): boolean {
  return /uranus|saturn/.test(speaker);
}
