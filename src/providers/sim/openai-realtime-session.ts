/** One connection of a simulated realtime vendor: its conversation, its ear, and what it refuses. */
import type { WebSocket } from 'ws';
import {
  parseObject,
  pick,
  textAt,
  objectsAt,
  isObject,
  numberAt,
  type Json,
} from '../realtime-json.ts';
import {
  base64Of,
  MAX_APPEND_BYTES,
  SESSION_LIMIT_MS,
  type RealtimeSimOptions,
  type RealtimeVendor,
  type Refusal,
} from './openai-realtime-kit.ts';
import { SimReplyRun, type ReplyItem } from './openai-realtime-reply.ts';
import { SimHearing } from './vendor-hearing.ts';
import { goHalfOpen, type VendorFault } from './vendor-server.ts';

export type SessionWorld = {
  readonly vendor: RealtimeVendor;
  readonly options: RealtimeSimOptions;
  readonly fault: VendorFault | null;
  readonly newId: (prefix: string) => string;
  readonly violated: (what: string) => void;
  readonly seen: (event: Json) => void;
  readonly heard: (ms: number) => void;
};

/** An instruction to say just this; a real model understands it, this one looks for the quotes. */
const SAY = /"""([\s\S]*?)"""/;

export class SimRealtimeSession {
  readonly #socket: WebSocket;
  readonly #world: SessionWorld;
  #session: Json;
  #isSetUp = false;
  #hasSpoken = false;
  #ear: SimHearing | null = null;
  #uncommittedMs = 0;
  #userItem = '';
  #said = '';
  #toolResult: string | null = null;
  #reply: SimReplyRun | null = null;
  #faultLeft: VendorFault | null;
  /** Items that can be truncated, and calls that can be answered. */
  readonly #messages = new Map<string, ReplyItem>();
  readonly #calls = new Set<string>();
  readonly #roles = new Map<string, string>();

  constructor(socket: WebSocket, world: SessionWorld) {
    this.#socket = socket;
    this.#world = world;
    this.#session = world.vendor.sessionDefaults;
    this.#faultLeft = world.fault;
    const { clock, limitMs = SESSION_LIMIT_MS } = world.options;
    const timer = clock.setTimer(() => this.#expire('session_expired'), limitMs);
    socket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary));
    socket.on('close', () => {
      clock.clearTimer(timer);
      this.#reply?.stop();
    });
    this.#start();
  }

  #start(): void {
    if (this.#faultLeft?.kind === 'hang') return goHalfOpen(this.#socket);
    if (this.#faultLeft?.kind === 'fail_before_start') {
      const refusal = { code: 'server_error', type: 'server_error', message: 'scripted' };
      this.#refuse({}, refusal);
      return this.#socket.close(1011);
    }
    this.#send({ type: 'session.created', session: this.#shownSession() });
  }

  // ---- What comes ----

  #received(data: Buffer, isBinary: boolean): void {
    const event = isBinary ? null : parseObject(data.toString('utf8'));
    if (event === null) {
      this.#world.violated('a message that is no JSON object');
      return this.#refuse({}, { code: 'invalid_json', message: 'could not parse the event' });
    }
    const type = textAt(event, 'type');
    if (type !== 'input_audio_buffer.append') this.#world.seen(event);
    if (!this.#world.vendor.clientTypes.has(type)) {
      return this.#forbid(event, {
        ...{ code: 'invalid_value', message: `unknown type ${type}`, param: 'type' },
      });
    }
    this.#handle(type, event);
  }

  #handle(type: string, event: Json): void {
    if (type === 'session.update') this.#update(event);
    else if (type === 'input_audio_buffer.append') this.#append(event);
    else if (type === 'input_audio_buffer.commit') this.#commitByHand(event);
    else if (type === 'input_audio_buffer.clear') this.#clear();
    else if (type === 'conversation.item.create') this.#create(event);
    else if (type === 'conversation.item.truncate') this.#truncate(event);
    else if (type === 'response.create') this.#createResponse(event);
    else if (type === 'response.cancel') this.#cancel(event);
    else if (type === 'session.finish') this.#finishSession();
  }

  #update(event: Json): void {
    const update = pick(event, 'session');
    const { vendor } = this.#world;
    const refusal = isObject(update)
      ? vendor.checkSession(update, this.#session, this.#hasSpoken)
      : { code: 'missing_required_parameter', message: 'session', param: 'session' };
    if (refusal !== null) return this.#forbid(event, refusal);
    this.#session = merged(this.#session, update as Json);
    this.#isSetUp = true;
    this.#send({ type: 'session.updated', session: this.#shownSession() });
  }

  #append(event: Json): void {
    const { vendor, violated, heard } = this.#world;
    if (!this.#isSetUp) violated('audio before session.update');
    const bytes = base64Of(event['audio']);
    if (bytes === null || bytes.length > MAX_APPEND_BYTES) {
      const message = 'audio must be base64 of at most 15 MiB';
      return this.#forbid(event, { code: 'invalid_value', message, param: 'audio' });
    }
    const format = vendor.inputFormat(this.#session);
    const pcm = format.decode(bytes);
    if (pcm === null) {
      const message = 'audio is not of the format of the session';
      return this.#forbid(event, { code: 'invalid_value', message, param: 'audio' });
    }
    const ms = (pcm.length * 1000) / format.rateHz;
    const [min, max] = vendor.appendMs;
    if (ms < min || ms > max) violated(`an append of ${ms} ms`);
    this.#uncommittedMs += ms;
    heard(ms);
    this.#ear ??= this.#newEar(format.rateHz);
    this.#ear.push(pcm);
  }

  #newEar(rateHz: number): SimHearing {
    const { options, vendor, newId } = this.#world;
    const detection = vendor.turnDetection(this.#session);
    const prefixMs = numberAt(detection, 'prefix_padding_ms') ?? 300;
    const silenceMs = numberAt(detection, 'silence_duration_ms') ?? 500;
    return new SimHearing({
      ...{ words: options.words, rateHz, silenceMs },
      onBegin: (beginMs) => {
        if (detection === null) return;
        if (this.#faultLeft?.kind === 'own' && this.#faultLeft.name === 'deaf') {
          this.#faultLeft = null;
          return goHalfOpen(this.#socket);
        }
        this.#userItem = newId('item');
        this.#send({
          type: 'input_audio_buffer.speech_started',
          ...{ audio_start_ms: Math.max(0, beginMs - prefixMs), item_id: this.#userItem },
        });
        if (detection['interrupt_response'] !== false) this.#reply?.cancel('turn_detected');
      },
      onSentence: (text, _beginMs, endMs) => {
        if (detection === null) return;
        this.#send({
          type: 'input_audio_buffer.speech_stopped',
          ...{ audio_end_ms: endMs + silenceMs, item_id: this.#userItem },
        });
        this.#commit(text);
        if (detection['create_response'] !== false) this.#respond(null);
      },
    });
  }

  #commit(text: string): void {
    const { vendor } = this.#world;
    const item_id = this.#userItem;
    this.#uncommittedMs = 0;
    this.#said = text;
    this.#toolResult = null;
    this.#send({ type: 'input_audio_buffer.committed', previous_item_id: null, item_id });
    this.#roles.set(item_id, 'user');
    const content = [{ type: 'input_audio', transcript: null }];
    this.#item({ id: item_id, type: 'message', role: 'user', status: 'completed', content });
    if (!vendor.hasTranscription(this.#session)) return;
    const prefix = 'conversation.item.input_audio_transcription';
    const at = { item_id, content_index: 0 };
    if (this.#faultLeft?.kind === 'own' && this.#faultLeft.name === 'unread') {
      const error = { type: 'transcription_error', code: 'audio_unintelligible', message: 'noise' };
      return this.#send({ type: `${prefix}.failed`, ...at, error });
    }
    if (vendor.names.itemDone !== null) {
      const cut = Math.ceil(text.length / 2);
      for (const delta of [text.slice(0, cut), text.slice(cut)]) {
        if (delta !== '') this.#send({ type: `${prefix}.delta`, ...at, delta });
      }
    }
    this.#send({ type: `${prefix}.completed`, ...at, transcript: text });
  }

  #commitByHand(event: Json): void {
    if (this.#uncommittedMs < 100) {
      const message = `buffer too small: ${this.#uncommittedMs} ms`;
      return this.#forbid(event, { code: 'input_audio_buffer_commit_empty', message });
    }
    this.#userItem = this.#world.newId('item');
    this.#commit('');
  }

  #clear(): void {
    this.#uncommittedMs = 0;
    this.#ear = null;
    this.#send({ type: 'input_audio_buffer.cleared' });
  }

  #create(event: Json): void {
    const item = pick(event, 'item');
    if (!isObject(item)) {
      const message = 'missing item';
      return this.#forbid(event, { code: 'missing_required_parameter', message, param: 'item' });
    }
    const refusal = this.#world.vendor.checkItem(item) ?? this.#badCall(item);
    if (refusal !== null) return this.#forbid(event, refusal);
    const id = textAt(item, 'id') || this.#world.newId('item');
    const type = textAt(item, 'type');
    if (type === 'function_call') this.#calls.add(textAt(item, 'call_id'));
    if (type === 'function_call_output') this.#toolResult = textAt(item, 'output');
    if (type === 'message') {
      const role = textAt(item, 'role');
      this.#roles.set(id, role);
      if (role === 'user') {
        this.#toolResult = null;
        this.#said = objectsAt(item, 'content')
          .map((part) => textAt(part, 'text'))
          .join(' ');
      }
    }
    this.#item({ ...item, id, status: 'completed' });
  }

  #badCall(item: Json): Refusal | null {
    if (textAt(item, 'type') !== 'function_call_output') return null;
    const callId = textAt(item, 'call_id');
    if (this.#calls.has(callId)) return null;
    const message = `tool call ID '${callId}' not found in conversation`;
    return { code: 'invalid_tool_call_id', message, param: 'item.call_id' };
  }

  #truncate(event: Json): void {
    const id = textAt(event, 'item_id');
    const item = this.#messages.get(id);
    const endMs = event['audio_end_ms'];
    if (item === undefined) {
      const isOther = this.#roles.has(id);
      const message = isOther ? 'only model messages can be truncated' : `no item '${id}'`;
      return this.#forbid(event, { code: 'item_truncate_invalid_item_id', message });
    }
    if (event['content_index'] !== 0 || !Number.isInteger(endMs) || (endMs as number) < 0) {
      const message = 'content_index 0 and whole audio_end_ms are needed';
      return this.#forbid(event, { code: 'invalid_value', message });
    }
    if ((endMs as number) > item.audioMs) {
      const message = `Audio content of ${item.audioMs}ms is already shorter than ${String(endMs)}ms`;
      return this.#forbid(event, { code: 'invalid_value', message, param: 'audio_end_ms' });
    }
    item.audioMs = endMs as number;
    this.#send({
      type: 'conversation.item.truncated',
      ...{ item_id: id, content_index: 0, audio_end_ms: endMs },
    });
  }

  #createResponse(event: Json): void {
    const isRace = this.#faultLeft?.kind === 'own' && this.#faultLeft.name === 'busy';
    if (isRace) this.#faultLeft = null;
    if (isRace || (this.#reply !== null && !this.#reply.isOver)) {
      if (!isRace) this.#world.violated('response.create while a response is active');
      return this.#refuse(event, {
        code: 'conversation_already_has_active_response',
        message: 'Conversation already has an active response in progress',
      });
    }
    this.#respond(pick(event, 'response'));
  }

  #cancel(event: Json): void {
    if (this.#reply === null || this.#reply.isOver) {
      const message = 'Cancellation failed: no active response found';
      return this.#refuse(event, { code: 'response_cancel_not_active', message });
    }
    this.#reply.cancel('client_cancelled');
  }

  #finishSession(): void {
    this.#reply?.stop();
    this.#send({ type: 'session.finished' });
    this.#socket.close(1000);
  }

  // ---- The model ----

  #respond(asked: unknown): void {
    if (this.#reply !== null && !this.#reply.isOver) return;
    const { options, vendor, newId } = this.#world;
    if (this.#faultLeft?.kind === 'own' && this.#faultLeft.name === 'mute') return;
    const instructions = textAt(asked, 'instructions') || textAt(this.#session, 'instructions');
    const words = SAY.exec(textAt(asked, 'instructions'))?.[1];
    const tools = objectsAt(this.#session, 'tools').map((tool) => toolName(tool));
    const answer =
      words === undefined
        ? options.answer({
            ...{ said: this.#said, instructions, tools, toolResult: this.#toolResult },
          })
        : { text: words };
    this.#hasSpoken = true;
    const fault = this.#faultLeft;
    this.#faultLeft = null;
    const reply = new SimReplyRun(
      {
        ...{ clock: options.clock, vendor, everyMs: options.everyMs ?? 5, fault, newId },
        send: (event) => this.#send(event),
        play: (played) => this.#play(played),
        onItem: (item) => {
          if (item.type === 'message') this.#messages.set(item.id, item);
          if (item.callId !== null) this.#calls.add(item.callId);
        },
      },
      answer,
      vendor.outputFormat(this.#session),
    );
    this.#reply = reply;
    reply.start();
  }

  #play(fault: VendorFault): boolean {
    const socket = this.#socket;
    if (fault.kind === 'cut') socket.terminate();
    else if (fault.kind === 'half_open') goHalfOpen(socket);
    else if (fault.kind === 'recycle') this.#expire('session_expired');
    else if (fault.kind === 'junk') socket.send('}{ this is no JSON');
    else if (fault.kind === 'swapped') socket.send(Buffer.alloc(320, 1));
    else if (fault.kind === 'huge') socket.send('x'.repeat(fault.bytes));
    else return true;
    return fault.kind === 'junk' || fault.kind === 'swapped';
  }

  #expire(code: string): void {
    this.#reply?.stop();
    const message = 'Your session hit the maximum duration of 60 minutes.';
    this.#refuse({}, { code, message });
    this.#socket.close(1001);
  }

  // ---- What goes ----

  #item(item: Record<string, unknown>): void {
    const { names } = this.#world.vendor;
    this.#send({ type: names.itemAdded, previous_item_id: null, item });
    if (names.itemDone !== null) {
      this.#send({ type: names.itemDone, previous_item_id: null, item });
    }
  }

  #shownSession(): Json {
    const { clock, limitMs = SESSION_LIMIT_MS } = this.#world.options;
    const expires_at = Math.floor((clock.wallMs() + limitMs) / 1000);
    // In whole seconds, which says nothing of a session of one.
    const end = limitMs < 60_000 ? {} : { expires_at };
    return { ...this.#session, id: 'sess_1', object: 'realtime.session', ...end };
  }

  #forbid(event: Json, refusal: Refusal): void {
    this.#world.violated(`${textAt(event, 'type')}: ${refusal.message}`);
    this.#refuse(event, refusal);
  }

  #refuse(event: Json, refusal: Refusal): void {
    const { code, message, param = null, type = 'invalid_request_error' } = refusal;
    const event_id = textAt(event, 'event_id') || null;
    this.#send({ type: 'error', error: { type, code, message, param, event_id } });
  }

  #send(event: Record<string, unknown>): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const { type, ...rest } = event;
    const text = JSON.stringify({ type, event_id: this.#world.newId('event'), ...rest });
    this.#socket.send(text);
  }
}

function toolName(tool: Json): string {
  return textAt(tool, 'name') || textAt(tool, 'function', 'name');
}

function merged(old: Json, update: Json): Json {
  const made: Record<string, unknown> = { ...old };
  for (const [key, value] of Object.entries(update)) {
    const before = made[key];
    const isWhole = key === 'format' || key === 'turn_detection';
    made[key] = !isWhole && isObject(before) && isObject(value) ? merged(before, value) : value;
  }
  return made;
}
