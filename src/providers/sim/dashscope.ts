/**
 * DashScope on loopback (providers.md 2.1-2.3): the inference socket with its tasks, and the realtime voice. The omni model
 * has a simulator of its own (qwen-omni.ts).
 */
import type { Clock } from '#lib/clock.ts';
import { SimDashscopeAsr } from './dashscope-asr.ts';
import { SimDashscopeVoice } from './dashscope-voice.ts';
import { SimQwenTts } from './dashscope-qwen-tts.ts';
import { jsonOf, SimPeer, type SimService } from './speech-peer.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export const SIM_DASHSCOPE_KEY = 'sk-made-up-key-of-a-simulator';

export type SimDashscopeOptions = {
  readonly clock: Clock;
  /** Utterance id -> words. */
  readonly words?: Readonly<Record<string, string>>;
};

export type Json = Readonly<Record<string, unknown>>;

/** What a task may do. */
export type SimTaskLink = {
  readonly peer: SimPeer;
  readonly words: Readonly<Record<string, string>>;
  event(name: string, payload?: object): void;
  /** `task-failed`; the socket closes behind it. */
  fail(code: string, message: string): void;
  /** As `fail`: nothing came for too long. */
  expire(): void;
  /** As `fail`, and the client is to blame. */
  refuse(code: string, message: string): void;
  /** `task-finished`: another one may begin. */
  done(): void;
};

export type SimDashscopeTask = {
  /** False: no message of this kind of task now. */
  action(name: string, input: Json): boolean;
  binary(data: Buffer): void;
};

export type SimDashscope = {
  readonly inferenceUrl: string;
  readonly realtimeUrl: string;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  readonly violations: string[];
  readonly messages: readonly Json[];
  /** What the vendor ended because nothing came: `task`, or `rest` between two. */
  readonly expired: readonly string[];
  /** Headers of every handshake. */
  readonly headers: readonly Readonly<Record<string, unknown>>[];
  close(): Promise<void>;
};

export type SimDashscopeKit = {
  readonly words: Readonly<Record<string, string>>;
  readonly messages: Json[];
  readonly expired: string[];
  readonly taskIds: Set<string>;
  takeFault(): VendorFault | null;
};

const INFERENCE = '/api-ws/v1/inference';
const REALTIME = '/api-ws/v1/realtime';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const IDLE_MS = 60_000;

export async function startSimDashscope({
  clock,
  words = {},
}: SimDashscopeOptions): Promise<SimDashscope> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const messages: Json[] = [];
  const expired: string[] = [];
  const headers: Readonly<Record<string, unknown>>[] = [];
  const kit: SimDashscopeKit = {
    ...{ words, messages, expired, taskIds: new Set(), takeFault: () => faults.take() },
  };
  const server = await startVendorServer({
    onUpgrade(request, url) {
      headers.push(request.headers);
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        violations.push('permessage-deflate was offered');
      }
      if (url.pathname !== INFERENCE && url.pathname !== REALTIME) return { status: 404, body: '' };
      const fault = faults.takeIf('refuse');
      if (fault !== null) {
        return { status: fault.status, body: '{"code":"Refused","message":"as the test has it"}' };
      }
      if (request.headers.authorization !== `Bearer ${SIM_DASHSCOPE_KEY}`) {
        return {
          status: 401,
          body: '{"code":"InvalidApiKey","message":"Invalid API-key provided."}',
        };
      }
      const hasModel = (url.searchParams.get('model') ?? '') !== '';
      return url.pathname === REALTIME && !hasModel
        ? { status: 400, body: '{"code":"InvalidParameter","message":"model"}' }
        : null;
    },
    onSocket(socket, _request, url) {
      const peer = new SimPeer(clock, socket, url.pathname, violations);
      const isRealtime = url.pathname === REALTIME;
      peer.serve(isRealtime ? new SimQwenTts(peer, kit) : new Inference(peer, kit));
    },
  });
  return {
    inferenceUrl: `${server.wsUrl}${INFERENCE}`,
    realtimeUrl: `${server.wsUrl}${REALTIME}`,
    ...{ server, faults, violations, messages, headers, expired },
    close: () => server.close(),
  };
}

/** One socket: a task, then the next one. */
class Inference implements SimService {
  readonly #peer: SimPeer;
  readonly #kit: SimDashscopeKit;
  #task: { readonly id: string; readonly sim: SimDashscopeTask } | null = null;

  constructor(peer: SimPeer, kit: SimDashscopeKit) {
    this.#peer = peer;
    this.#kit = kit;
    this.#rest();
  }

  text(text: string): void {
    const message = jsonOf(text);
    if (message === null) return this.#refuse('', 'InvalidParameter', 'no JSON');
    this.#kit.messages.push(message);
    const header = (message['header'] ?? {}) as Json;
    const payload = (message['payload'] ?? {}) as Json;
    const [action, id] = [String(header['action']), String(header['task_id'])];
    if (!UUID.test(id)) return this.#refuse(id, 'InvalidParameter', 'task_id is no uuid');
    if (header['streaming'] !== 'duplex') return this.#refuse(id, 'InvalidParameter', 'streaming');
    if (action === 'run-task') return this.#run(id, payload);
    const input = (payload['input'] ?? null) as Json | null;
    const isMine = this.#task?.id === id && input !== null;
    if (!isMine || this.#task?.sim.action(action, input) !== true) {
      this.#refuse(id, 'InvalidParameter', `${action} is not expected now`);
    }
  }

  binary(data: Buffer): void {
    if (this.#task === null) this.#refuse('', 'InvalidParameter', 'binary data without a task');
    else this.#task.sim.binary(data);
  }

  #run(id: string, payload: Json): void {
    const { taskIds } = this.#kit;
    if (this.#task !== null) return this.#refuse(id, 'InvalidParameter', 'a task is running');
    if (taskIds.has(id)) return this.#refuse(id, 'InvalidParameter', 'task_id was used before');
    taskIds.add(id);
    this.#peer.timer('rest', 0, null);
    const kind = `${String(payload['task_group'])} ${String(payload['task'])} ${String(payload['function'])}`;
    const fault = this.#kit.takeFault();
    if (fault?.kind === 'fail_before_start') {
      return this.#failed(id, 'InternalError', 'Internal server error!');
    }
    // `Code: message`, as the test has it.
    if (fault?.kind === 'own' && fault.name.includes(':')) {
      const [code = '', said = ''] = fault.name.split(':');
      return this.#failed(id, code, said);
    }
    const link = this.#link(id);
    if (kind === 'audio asr recognition') {
      this.#task = { id, sim: new SimDashscopeAsr(link, payload, fault) };
    } else if (kind === 'audio tts SpeechSynthesizer') {
      this.#task = { id, sim: new SimDashscopeVoice(link, payload, fault) };
    } else this.#refuse(id, 'InvalidParameter', `task ${kind}`);
  }

  #link(id: string): SimTaskLink {
    return {
      ...{ peer: this.#peer, words: this.#kit.words },
      event: (name, payload = {}) => this.#event(id, name, payload),
      fail: (code, message) => this.#failed(id, code, message),
      expire: () => {
        this.#kit.expired.push('task');
        this.#failed(id, 'ClientError', 'Response timeout!');
      },
      refuse: (code, message) => this.#refuse(id, code, message),
      done: () => {
        this.#event(id, 'task-finished', { output: {}, usage: null });
        this.#task = null;
        this.#rest();
      },
    };
  }

  #rest(): void {
    this.#peer.timer('rest', IDLE_MS, () => {
      this.#kit.expired.push('rest');
      this.#peer.end();
    });
  }

  #event(id: string, event: string, payload: object): void {
    this.#peer.send({ header: { task_id: id, event, attributes: {} }, payload });
  }

  #failed(id: string, code: string, message: string): void {
    const header = { task_id: id, event: 'task-failed', error_code: code, error_message: message };
    this.#peer.send({ header: { ...header, attributes: {} }, payload: {} });
    this.#peer.end();
  }

  #refuse(id: string, code: string, message: string): void {
    this.#peer.violation(`${code} ${message}`);
    this.#failed(id, code, message);
  }
}
