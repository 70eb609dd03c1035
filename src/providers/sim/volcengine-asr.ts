/** The recogniser `bigmodel_async` (providers.md 7.4): answers only when what it heard has changed. */
import type { TimerHandle } from '#lib/clock.ts';
import { samplesOf } from '../rates.ts';
import type { VolcPeer } from './volcengine.ts';
import { playMidway } from './volcengine-faults.ts';
import { errorFrame, readClientFrame, resultFrame, type WireFrame } from './volcengine-wire.ts';
import { SimHearing } from './vendor-hearing.ts';

const PACKET_TIMEOUT_MS = 8_000;
const BYTES_PER_MS = 32;
/** Further ahead of real time than this is no caller. */
const MAX_AHEAD_MS = 3_000;

export function playAsr(peer: VolcPeer): void {
  new Recogniser(peer);
}

class Recogniser {
  readonly #peer: VolcPeer;
  #hearing: SimHearing | null = null;
  #sequence = 0;
  #beginMs = 0;
  #startedAtMs = 0;
  #audioMs = 0;
  #isOver = false;
  #timer: TimerHandle | undefined;

  constructor(peer: VolcPeer) {
    this.#peer = peer;
    peer.socket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary));
    peer.socket.on('close', () => {
      this.#isOver = true;
      peer.state.clock.clearTimer(this.#timer);
    });
    this.#wait();
  }

  #received(data: Buffer, isBinary: boolean): void {
    if (this.#isOver) return;
    this.#wait();
    try {
      if (!isBinary) throw new Error('text instead of a frame');
      const frame = readClientFrame(data);
      if (frame.event !== null || frame.sessionId !== null)
        throw new Error('events are not for this service');
      if (frame.kind === 1) this.#request(frame);
      else this.#audio(frame);
    } catch (error) {
      this.#refuse(45000001, `invalid request: ${(error as Error).message}`);
    }
  }

  #request(frame: WireFrame): void {
    const { state, fault } = this.#peer;
    if (this.#hearing !== null) throw new Error('a second request');
    if (!frame.isGzip || !frame.isJson) throw new Error('the request is JSON in gzip');
    const request = JSON.parse(frame.body.toString('utf8')) as Record<
      string,
      Record<string, unknown>
    >;
    state.starts.push(request);
    const { audio = {}, request: wanted = {}, user = {} } = request;
    if (typeof user['uid'] !== 'string' || user['uid'] === '')
      throw new Error('user.uid is required');
    if (audio['format'] !== 'pcm' || audio['bits'] !== 16 || audio['channel'] !== 1) {
      return this.#refuse(45000151, 'audio format is not supported');
    }
    if (audio['rate'] !== 16000) return this.#refuse(45000151, 'the sample rate must be 16000');
    if (wanted['model_name'] !== 'bigmodel') throw new Error('request.model_name is required');
    const window = Number(wanted['end_window_size'] ?? 800);
    if (!(window >= 200)) throw new Error('end_window_size is at least 200');
    if (fault?.kind === 'fail_before_start') return this.#refuse(55000031, 'the server is busy');
    this.#startedAtMs = state.clock.now();
    this.#hearing = new SimHearing({
      ...{ words: state.options.words ?? {}, rateHz: 16000, silenceMs: window },
      onBegin: (ms) => (this.#beginMs = ms),
      onPartial: (text) => this.#partial(text),
      onSentence: (text, beginMs, endMs) => this.#sentence(text, beginMs, endMs),
    });
  }

  #audio(frame: WireFrame): void {
    const { state } = this.#peer;
    const hearing = this.#hearing;
    if (hearing === null) throw new Error('audio before the request');
    if (frame.isJson) throw new Error('audio is raw');
    const isLast = frame.flags === 2 || frame.flags === 3;
    const ms = frame.body.length / BYTES_PER_MS;
    if (!isLast && (ms < 100 || ms > 200)) state.note(`a packet of ${ms} ms`);
    if (frame.body.length === 0 && !isLast) return this.#refuse(45000002, 'empty audio');
    this.#audioMs += ms;
    if (this.#audioMs - (state.clock.now() - this.#startedAtMs) > MAX_AHEAD_MS) {
      state.note('audio comes faster than anybody speaks');
    }
    hearing.push(samplesOf(frame.body));
    if (!isLast) return;
    hearing.end();
    this.#tell({ text: '', utterances: [] }, true);
    this.#peer.socket.close(1000);
  }

  #partial(text: string): void {
    const { fault, socket } = this.#peer;
    if (fault?.kind === 'own' && fault.name === 'idle')
      return this.#refuse(45000081, 'packet timeout');
    if (fault?.kind === 'recycle') {
      this.#tell({ text: '', utterances: [] }, true);
      socket.close(1000, 'recycled');
      this.#isOver = true;
      return;
    }
    if (playMidway(this.#peer, null)) {
      this.#isOver = true;
      return;
    }
    const part = {
      text,
      start_time: this.#beginMs,
      end_time: this.#beginMs + 100,
      definite: false,
    };
    this.#tell({ text, utterances: [part] });
  }

  #sentence(text: string, beginMs: number, endMs: number): void {
    if (this.#isOver || text === '') return;
    const whole = { text, start_time: beginMs, end_time: endMs, definite: true, words: [] };
    this.#tell({ text, utterances: [whole] });
    // The vendor tells a final sentence again when it tells anything else of it.
    if (this.#peer.fault?.kind === 'late') this.#tell({ text, utterances: [whole] });
  }

  #tell(result: unknown, isLast = false): void {
    const { socket, state, fault } = this.#peer;
    this.#sequence += 1;
    const sequence = isLast ? -this.#sequence : this.#sequence;
    const json = { audio_info: { duration: Math.round(this.#audioMs) }, result };
    const send = (): void => socket.send(resultFrame(sequence, json));
    if (fault?.kind === 'slow') state.clock.setTimer(send, fault.ms);
    else send();
  }

  #refuse(code: number, message: string): void {
    this.#isOver = true;
    if (code !== 45000081 && !code.toString().startsWith('55')) this.#peer.state.note(message);
    this.#peer.socket.send(errorFrame(code, message));
    this.#peer.socket.close(1000);
  }

  #wait(): void {
    const { clock } = this.#peer.state;
    clock.clearTimer(this.#timer);
    if (this.#isOver) return;
    this.#timer = clock.setTimer(
      () => this.#refuse(45000081, 'waiting for a packet timed out'),
      PACKET_TIMEOUT_MS,
    );
  }
}
