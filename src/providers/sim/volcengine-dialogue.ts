/** The speech-to-speech dialogue (providers.md 7.2, 7.3): hears turns by itself, answers aloud, has no tools. */
import type { TimerHandle } from '#lib/clock.ts';
import { samplesOf } from '../rates.ts';
import { SimHearing } from './vendor-hearing.ts';
import type { VolcPeer } from './volcengine.ts';
import { DialogueReplies } from './volcengine-replies.ts';
import { checkStart, type DialogueStart } from './volcengine-start.ts';
import { errorFrame, eventFrame, readClientFrame, type WireFrame } from './volcengine-wire.ts';

const FRAME_BYTES = 640;
const BYTES_PER_MS = 32;
/** Sound that may come ahead of its time. */
const MAX_AHEAD_MS = 3_000;
const SILENCE_MS = 10 * 60_000;
/** Without keep_alive, and without sound. */
const IDLE_MS = 10_000;
const MINUTE_MS = 60_000;

type Session = {
  readonly id: string;
  readonly start: DialogueStart;
  readonly hearing: SimHearing;
  readonly replies: DialogueReplies;
  readonly sinceMs: number;
  audioMs: number;
  questions: number;
  /** 459 has been told, and the caller is silent since. */
  mayAnswer: boolean;
  hasHadTurn: boolean;
  isSpeaking: boolean;
};

export function playDialogue(peer: VolcPeer): void {
  new DialoguePeer(peer);
}

class DialoguePeer {
  readonly #peer: VolcPeer;
  #isConnected = false;
  #session: Session | null = null;
  #silence: TimerHandle | undefined;
  #idle: TimerHandle | undefined;

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
    peer.socket.on('close', () => {
      if (this.#session !== null && peer.fault === null)
        peer.state.note('closed without FinishSession');
      this.#end();
    });
  }

  #frame(frame: WireFrame): void {
    const { event, sessionId } = frame;
    if (event === null) throw new Error('a frame without an event');
    if (event === 200) return this.#audio(frame);
    if (frame.kind !== 1 || !frame.isJson || frame.isGzip)
      throw new Error(`event ${event} is plain JSON`);
    const json = JSON.parse(frame.body.toString('utf8')) as Record<string, unknown>;
    this.#peer.state.asked.push([event, json]);
    if (event === 1) return this.#connect();
    if (!this.#isConnected) throw new Error(`event ${event} before the connection was started`);
    if (event === 2) {
      this.#peer.socket.send(eventFrame(52, 'c-1', {}));
      return this.#peer.socket.close(1000);
    }
    if (event === 100) return this.#start(sessionId ?? '', json);
    const session = this.#session;
    // The client may say goodbye to a session that failed meanwhile.
    if (session === null && event === 102) return;
    if (session === null || session.id !== sessionId)
      throw new Error(`event ${event} of no session`);
    this.#ask(session, event, json);
  }

  #connect(): void {
    const { socket } = this.#peer;
    if (this.#isConnected) throw new Error('the connection is started once');
    if (this.#isFault('fail_before_start')) {
      socket.send(eventFrame(51, 'c-1', { error: 'no connection for you' }));
      return;
    }
    this.#isConnected = true;
    socket.send(eventFrame(50, 'c-1', {}));
  }

  #start(id: string, json: Record<string, unknown>): void {
    const { state, socket } = this.#peer;
    if (this.#session !== null) throw new Error('two sessions at once');
    if (id === '' || state.sessionIds.has(id)) throw new Error('the session id was used before');
    state.sessionIds.add(id);
    state.starts.push(json);
    if (this.#isFault('session_fails')) {
      return socket.send(eventFrame(153, id, { error: 'S2SQueryConnectError' }));
    }
    const now = state.clock.now();
    const recent = state.startedAtMs.filter((atMs) => now - atMs < MINUTE_MS);
    if (recent.length >= (state.options.perMinute ?? 60)) {
      return socket.send(eventFrame(153, id, { error: 'quota exceeded for types: qpm' }));
    }
    state.startedAtMs.push(now);
    const start = checkStart(json);
    if ('error' in start) {
      state.note(start.error);
      return this.#refuse(id, 42000020, start.error);
    }
    const dialogId = start.dialogId || `dialog-${state.dialogs.size + 1}`;
    const said = state.dialogs.get(dialogId) ?? [];
    state.dialogs.set(dialogId, said);
    for (const [index, { role, text }] of start.context.entries()) {
      said.push({ role, text, id: `context-${index}` });
    }
    const replies = new DialogueReplies(this.#peer, id, said);
    this.#session = {
      ...{ id, start, replies, sinceMs: now, audioMs: 0, questions: 0 },
      ...{ mayAnswer: false, hasHadTurn: false, isSpeaking: false },
      hearing: this.#hearing(start.silenceMs),
    };
    this.#rest();
    this.#stayAwake();
    socket.send(eventFrame(150, id, { dialog_id: dialogId }));
  }

  #hearing(silenceMs: number): SimHearing {
    const { state } = this.#peer;
    return new SimHearing({
      ...{ words: state.options.words ?? {}, rateHz: 16000, silenceMs },
      onPartial: (text) => this.#heard(text),
      onSentence: (text) => this.#took(text),
    });
  }

  #audio(frame: WireFrame): void {
    const session = this.#session;
    const { state } = this.#peer;
    if (session === null && this.#isConnected) return;
    if (session === null || session.id !== frame.sessionId)
      throw new Error('audio before the session');
    if (frame.kind !== 2 || frame.isJson || frame.isGzip)
      throw new Error('audio is raw, in frames of type 2');
    if (frame.body.length !== FRAME_BYTES)
      throw new Error(`${frame.body.length} bytes of audio, not 640`);
    session.audioMs += FRAME_BYTES / BYTES_PER_MS;
    if (session.audioMs - (state.clock.now() - session.sinceMs) > MAX_AHEAD_MS) {
      state.note('audio comes faster than anybody speaks');
      return this.#refuse(session.id, 55002070, 'audio flow');
    }
    this.#stayAwake();
    session.hearing.push(samplesOf(frame.body));
  }

  /** The first word: whatever is being said is void. */
  #heard(text: string): void {
    const session = this.#session;
    if (session === null) return;
    const { socket } = this.#peer;
    this.#rest();
    if (!session.isSpeaking) {
      session.isSpeaking = true;
      session.mayAnswer = false;
      session.questions += 1;
      session.replies.stop();
      socket.send(
        eventFrame(450, session.id, { question_id: `q-${session.id}-${session.questions}` }),
      );
      if (this.#isFault('mid_utterance')) return socket.terminate();
    }
    socket.send(eventFrame(451, session.id, { results: [{ text, is_interim: true }] }));
  }

  #took(text: string): void {
    const session = this.#session;
    if (session === null || text === '') return;
    const { socket, state } = this.#peer;
    session.isSpeaking = false;
    session.mayAnswer = true;
    session.hasHadTurn = true;
    socket.send(eventFrame(451, session.id, { results: [{ text, is_interim: false }] }));
    socket.send(eventFrame(459, session.id, {}));
    if (this.#isFault('mute')) return;
    if (this.#isFault('idle'))
      return this.#fail(session, '52000042', 'DialogAudioIdleTimeoutError');
    const answer = state.options.reply?.(text) ?? text;
    session.replies.answer(`q-${session.id}-${session.questions}`, text, answer);
  }

  #ask(session: Session, event: number, json: Record<string, unknown>): void {
    const { socket, state } = this.#peer;
    const content = typeof json['content'] === 'string' ? json['content'] : '';
    switch (event) {
      case 102:
        this.#end();
        return socket.send(eventFrame(152, session.id, {}));
      case 300:
        if (session.hasHadTurn) state.note('SayHello after a turn of the caller');
        if (content === '') return this.#fail(session, '45000001', 'content is required');
        return session.replies.say(content, 'default');
      case 500:
        if (!session.mayAnswer)
          return this.#fail(session, '45000001', 'ChatTTSText before ASREnded');
        return session.replies.ownText(json);
      case 501: {
        if (content === '') return this.#fail(session, '45000001', 'content is required');
        session.questions += 1;
        const question = `q-${session.id}-${session.questions}`;
        socket.send(eventFrame(553, session.id, { question_id: question }));
        return session.replies.answer(question, content, state.options.reply?.(content) ?? content);
      }
      case 513:
        return this.#truncate(session, json);
      case 515:
        return session.replies.interrupt();
      default:
        throw new Error(`event ${event} is unknown`);
    }
  }

  #truncate(session: Session, json: Record<string, unknown>): void {
    const { item_id: id, audio_end_ms: endMs } = json;
    if (!session.start.canTruncate)
      return this.#fail(session, '45000001', 'truncation is not enabled');
    if (typeof id !== 'string' || !Number.isInteger(endMs) || Number(endMs) < 0) {
      return this.#fail(session, '45000001', 'item_id and audio_end_ms are required');
    }
    const isKnown = session.replies.truncate(id, Number(endMs));
    const missing = { status_code: 40000010, message: 'no such item' };
    this.#peer.socket.send(eventFrame(570, session.id, isKnown ? {} : missing));
    if (!isKnown) this.#peer.state.note(`there is no item ${id}`);
  }

  #isFault(name: string): boolean {
    const { fault } = this.#peer;
    return fault?.kind === name || (fault?.kind === 'own' && fault.name === name);
  }

  #fail(session: Session, code: string, message: string): void {
    const isClients = code.startsWith('450000') && code !== '45000003';
    if (isClients) this.#peer.state.note(message);
    this.#peer.socket.send(eventFrame(599, session.id, { status_code: code, message }));
    if (!isClients) this.#end();
  }

  #refuse(id: string, code: number, message: string): void {
    this.#end();
    this.#peer.socket.send(errorFrame(code, message, { event: 153, id }));
  }

  /** Ten minutes without a word end a session. */
  #rest(): void {
    const { clock } = this.#peer.state;
    clock.clearTimer(this.#silence);
    this.#silence = clock.setTimer(() => {
      if (this.#session !== null) this.#fail(this.#session, '45000003', 'Abnormal silence audio');
    }, SILENCE_MS);
  }

  #stayAwake(): void {
    const { clock } = this.#peer.state;
    clock.clearTimer(this.#idle);
    if (this.#session?.start.isKeptAlive === true) return;
    this.#idle = clock.setTimer(() => {
      if (this.#session === null) return;
      this.#fail(this.#session, '52000042', 'DialogAudioIdleTimeoutError');
    }, IDLE_MS);
  }

  #end(): void {
    const { clock } = this.#peer.state;
    clock.clearTimer(this.#silence);
    clock.clearTimer(this.#idle);
    this.#session?.replies.stop();
    this.#session = null;
  }
}
