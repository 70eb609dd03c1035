/** A model service on loopback that takes docs/model-service.md word by word: what it does not allow, is a violation. */
import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import { isObject, objectsAt, parseObject, textAt, type Json } from '../realtime-json.ts';
import { bytesOf, samplesOf } from '../rates.ts';
import type {
  RealtimeSim,
  RealtimeSimOptions,
  SeenEvent,
  SimAnswer,
} from './openai-realtime-kit.ts';
import { SimHearing } from './vendor-hearing.ts';
import { goHalfOpen, startVendorServer, type VendorFault } from './vendor-server.ts';
import { simSpeech } from './vendor-voice.ts';
import { simWords } from './tts.ts';

export type ModelServiceSimOptions = Omit<RealtimeSimOptions, 'limitMs'> & {
  /** What it asks for in `ready`; absent: what it was offered. */
  readonly rates?: { readonly inputHz: number; readonly outputHz: number };
};

const ROLES = ['system', 'user', 'assistant', 'tool'];
const CHUNK_MS = 100;
const MIDDLE = 2;

export async function startModelServiceSim(options: ModelServiceSimOptions): Promise<RealtimeSim> {
  const violations: string[] = [];
  const seen: SeenEvent[] = [];
  const heardMs: number[] = [];
  const faults = new WeakMap<IncomingMessage, VendorFault>();
  const server = await startVendorServer({
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    onUpgrade(request) {
      const fault = options.faults.take();
      if (fault !== null) faults.set(request, fault);
      const isMine = request.headers.authorization === `Bearer ${options.key}`;
      if (fault?.kind === 'refuse') return { status: fault.status, body: '{"code":"scripted"}' };
      return isMine ? null : { status: 401, body: '{"code":"auth"}' };
    },
    onSocket(socket, request) {
      heardMs.push(0);
      const connection = heardMs.length;
      new ModelSession(socket, {
        ...{ options, fault: faults.get(request) ?? null },
        violated: (what) => violations.push(what),
        seen: (event) => seen.push({ connection, event }),
        heard: (ms) => (heardMs[connection - 1] = (heardMs[connection - 1] ?? 0) + ms),
      });
    },
  });
  return { server, violations, seen, heardMs, close: () => server.close() };
}

type World = {
  readonly options: ModelServiceSimOptions;
  readonly fault: VendorFault | null;
  readonly violated: (what: string) => void;
  readonly seen: (event: Json) => void;
  readonly heard: (ms: number) => void;
};

type Turn = { readonly id: string; isOver: boolean; ms: number };

class ModelSession {
  readonly #socket: WebSocket;
  readonly #world: World;
  #fault: VendorFault | null;
  #start: Json | null = null;
  #outputHz = 0;
  #inputHz = 0;
  #ear: SimHearing | null = null;
  #turn: Turn | null = null;
  #turns = 0;
  readonly #madeMs = new Map<string, number>();
  readonly #open = new Set<string>();
  #said = '';
  #toolResult: string | null = null;

  constructor(socket: WebSocket, world: World) {
    this.#socket = socket;
    this.#world = world;
    this.#fault = world.fault;
    if (this.#fault?.kind === 'hang') goHalfOpen(socket);
    else this.#listen();
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#sound(data as Buffer);
      else this.#frame((data as Buffer).toString('utf8'));
    });
    socket.on('close', () => this.#stop());
  }

  #frame(text: string): void {
    const frame = parseObject(text);
    if (frame === null) return this.#world.violated('a text frame that is no JSON object');
    this.#world.seen(frame);
    const type = textAt(frame, 'type');
    if ((this.#start === null) !== (type === 'start')) {
      return this.#world.violated(`${type} ${this.#start === null ? 'before' : 'after'} start`);
    }
    if (type === 'start') this.#begin(frame);
    else if (type === 'say') this.#say({ text: textAt(frame, 'text') });
    else if (type === 'text') this.#answer((this.#said = textAt(frame, 'text')));
    else if (type === 'answer') this.#answer(this.#said);
    else if (type === 'tool_result') this.#result(frame);
    else if (type === 'interrupt') this.#interrupt(frame);
    else if (type === 'end') this.#stop();
    else this.#world.violated(`unknown type '${type}'`);
  }

  #begin(frame: Json): void {
    const faults = startFaults(frame);
    for (const fault of faults) this.#world.violated(fault);
    if (this.#fault?.kind === 'fail_before_start') {
      this.#send({ type: 'error', code: 'server', message: 'scripted', fatal: true });
      return this.#socket.close(1011);
    }
    this.#start = frame;
    const { rates } = this.#world.options;
    this.#inputHz = rates?.inputHz ?? Number(frame['input_sample_rate']);
    this.#outputHz = rates?.outputHz ?? Number(frame['output_sample_rate']);
    const isOld = this.#fault?.kind === 'own' && this.#fault.name === 'other_protocol';
    this.#send({
      ...{ type: 'ready', protocol: isOld ? 'callyard.model/0' : 'callyard.model/1' },
      ...(rates === undefined
        ? {}
        : { input_sample_rate: rates.inputHz, output_sample_rate: rates.outputHz }),
    });
  }

  #sound(data: Buffer): void {
    if (this.#start === null) return this.#world.violated('sound before start');
    if (data.length % 2 !== 0) return this.#world.violated('sound of half a sample');
    const pcm = samplesOf(data);
    const ms = (pcm.length * 1000) / this.#inputHz;
    if (ms < 1 || ms > 200) this.#world.violated(`a binary frame of ${ms} ms`);
    this.#world.heard(ms);
    this.#ear ??= new SimHearing({
      ...{ words: this.#world.options.words, rateHz: this.#inputHz, silenceMs: 400 },
      onBegin: () => this.#send({ type: 'speech_started' }),
      onPartial: (text) => this.#send({ type: 'user_transcript', text, final: false }),
      onSentence: (text) => {
        this.#send({ type: 'speech_stopped' });
        this.#send({ type: 'user_transcript', text, final: true });
        this.#said = text;
        this.#answer(text);
      },
    });
    this.#ear.push(pcm);
  }

  #result(frame: Json): void {
    const id = textAt(frame, 'id');
    if (!this.#open.delete(id)) return this.#world.violated(`a result for unknown call '${id}'`);
    const content = textAt(frame, 'content');
    if (parseObject(content) === null) this.#world.violated('a result that is no JSON');
    this.#toolResult = content;
  }

  #interrupt(frame: Json): void {
    const id = textAt(frame, 'turn');
    const madeMs = this.#madeMs.get(id);
    const heardMs = frame['heard_ms'];
    if (madeMs === undefined) return this.#world.violated(`an interrupt of no turn '${id}'`);
    if (!Number.isInteger(heardMs) || (heardMs as number) < 0 || (heardMs as number) > madeMs + 10)
      this.#world.violated(`heard_ms ${String(heardMs)} of ${madeMs}`);
    if (this.#turn?.id !== id || this.#turn.isOver) return;
    if (this.#fault?.kind === 'late') {
      this.#socket.send(Buffer.alloc(this.#outputHz / 5, 40));
      this.#send({ type: 'agent_text', text: ' too late' });
    }
    this.#finish(this.#turn);
  }

  #answer(said: string): void {
    const { options } = this.#world;
    const toolResult = this.#toolResult;
    this.#toolResult = null;
    if (this.#fault?.kind === 'own' && this.#fault.name === 'mute') return;
    this.#say(
      options.answer({
        ...{ said, toolResult, instructions: textAt(this.#start, 'instructions') },
        tools: objectsAt(this.#start, 'tools').map((tool) => textAt(tool, 'name')),
      }),
    );
  }

  #say(answer: SimAnswer): void {
    if (this.#turn !== null && !this.#turn.isOver) this.#finish(this.#turn);
    const turn = { id: `t${++this.#turns}`, isOver: false, ms: 0 };
    this.#turn = turn;
    this.#madeMs.set(turn.id, 0);
    this.#send({ type: 'turn_started', turn: turn.id });
    const { clock, everyMs = 5 } = this.#world.options;
    const fault = this.#fault;
    const waitMs = fault?.kind === 'slow' ? fault.ms : everyMs;
    clock.setTimer(() => this.#speak(turn, answer), waitMs);
  }

  #speak(turn: Turn, answer: SimAnswer): void {
    const { clock, everyMs = 5 } = this.#world.options;
    const pcm = simSpeech(answer.text, this.#outputHz);
    const words = simWords(answer.text);
    const step = (this.#outputHz * CHUNK_MS) / 1000;
    let at = 0;
    let said = 0;
    const next = (): void => {
      if (turn.isOver) return;
      const index = at / step;
      if (index === MIDDLE && !this.#middle(turn)) return;
      if (at >= pcm.length) return this.#spoken(turn, answer);
      if (index % 2 === 0) {
        const end = words[index / 2]?.end ?? answer.text.length;
        if (end > said) this.#send({ type: 'agent_text', text: answer.text.slice(said, end) });
        said = end;
      }
      this.#sendSound(turn, pcm.subarray(at, at + step));
      at += step;
      clock.setTimer(next, everyMs);
    };
    next();
  }

  #sendSound(turn: Turn, pcm: Int16Array): void {
    turn.ms += (pcm.length * 1000) / this.#outputHz;
    this.#madeMs.set(turn.id, turn.ms);
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytesOf(pcm));
  }

  #spoken(turn: Turn, answer: SimAnswer): void {
    for (const call of answer.calls ?? []) {
      const id = `call-${turn.id}-${call.name}`;
      this.#open.add(id);
      this.#send({ type: 'tool_call', id, name: call.name, arguments: call.arguments });
    }
    this.#send({ type: 'usage', input_tokens: 100, output_tokens: 50 });
    this.#finish(turn);
  }

  /** False: the turn ends here. */
  #middle(turn: Turn): boolean {
    const fault = this.#fault;
    if (fault?.kind !== 'late') this.#fault = null;
    const socket = this.#socket;
    if (fault?.kind === 'junk') socket.send('}{ this is no JSON');
    else if (fault?.kind === 'swapped') socket.send('"sound"');
    else if (fault?.kind === 'cut') socket.terminate();
    else if (fault?.kind === 'half_open') goHalfOpen(socket);
    else if (fault?.kind === 'huge') socket.send('x'.repeat(fault.bytes));
    else if (fault?.kind === 'recycle') {
      this.#send({ type: 'error', code: 'idle', message: 'session recycled', fatal: true });
      socket.close(1001);
    } else if (fault?.kind === 'fail_midway' || fault?.kind === 'moderated') {
      const code = fault.kind === 'moderated' ? 'content' : 'server';
      this.#send({ type: 'error', code, message: 'scripted' });
      this.#finish(turn);
    }
    const goesOn = ['late', 'slow', 'junk', 'swapped', undefined];
    return goesOn.includes(fault?.kind);
  }

  #finish(turn: Turn): void {
    turn.isOver = true;
    this.#send({ type: 'turn_done', turn: turn.id });
  }

  #stop(): void {
    if (this.#turn !== null) this.#turn.isOver = true;
  }

  #send(frame: Json): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(frame));
  }
}

function startFaults(frame: Json): string[] {
  const faults: string[] = [];
  const must = (isFine: boolean, what: string): void => {
    if (!isFine) faults.push(`start: ${what}`);
  };
  must(frame['protocol'] === 'callyard.model/1', 'protocol');
  must(textAt(frame, 'call_id') !== '', 'call_id');
  must(['zh', 'en'].includes(textAt(frame, 'language')), 'language');
  must(typeof frame['instructions'] === 'string', 'instructions');
  must(typeof frame['resumed'] === 'boolean', 'resumed');
  for (const name of ['input_sample_rate', 'output_sample_rate'])
    must([8000, 16_000, 24_000, 48_000].includes(Number(frame[name])), name);
  for (const tool of objectsAt(frame, 'tools'))
    must(textAt(tool, 'name') !== '' && isObject(tool['parameters']), 'tools');
  for (const message of objectsAt(frame, 'history'))
    must(
      ROLES.includes(textAt(message, 'role')) && typeof message['content'] === 'string',
      'history',
    );
  must(Array.isArray(frame['tools']) && Array.isArray(frame['history']), 'tools or history');
  return faults;
}
