/**
 * Aliyun NLS on loopback (providers.md section 1): one gateway for recogniser and voices. It holds clients to the
 * protocol: token, ids, order of messages, sample rate of the project, pacing, and 10 s without data.
 */
import type { WebSocket } from 'ws';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { SimTranscriber } from './aliyun-nls-asr.ts';
import { SimFlowing, SimSynthesizer } from './aliyun-nls-tts.ts';
import {
  FaultPlan,
  startVendorServer,
  type VendorFault,
  type VendorServer,
} from './vendor-server.ts';

export type SimNlsOptions = {
  readonly clock: Clock;
  /** Those that are good now. */
  readonly tokens: Pick<ReadonlySet<string>, 'has'>;
  /** By appkey: what the model of the console project was trained for. */
  readonly projects: Readonly<Record<string, { readonly rateHz: 8000 | 16000 }>>;
  /** Utterance id -> words, for the recogniser. */
  readonly words?: Readonly<Record<string, string>>;
  /** Default 10 s. */
  readonly idleMs?: number;
};

/** A text message of a client, as it came. */
export type SimNlsMessage = {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
};

/** What a task may do; made by the connection that it runs on. */
export type SimLink = {
  readonly clock: Clock;
  readonly words: Readonly<Record<string, string>>;
  readonly projectRateHz: 8000 | 16000;
  readonly socket: WebSocket;
  /** An event of this task. */
  send(name: string, payload?: object): void;
  binary(data: Uint8Array): void;
  /** TaskFailed; the connection ends behind it. */
  fail(status: number, text: string): void;
  /** Sends whatever it is given, for faults. */
  raw(data: string | Uint8Array, isBinary: boolean): void;
  violation(text: string): void;
  /** The task is over; another one may begin. */
  done(): void;
};

export type SimTask = {
  /** A directive after the one that started it. False: not one of this kind of task. */
  directive(name: string, payload: Readonly<Record<string, unknown>>): boolean;
  binary(data: Buffer): void;
  /** Whether the 10 s rule holds now. */
  readonly waits: boolean;
  close(): void;
};

export type SimNls = {
  readonly url: string;
  readonly server: VendorServer;
  readonly faults: FaultPlan;
  /** What clients did that the vendor does not allow; each was refused too. */
  readonly violations: string[];
  readonly messages: readonly SimNlsMessage[];
  /** The tokens that came with connections, in order. */
  readonly offered: readonly string[];
  close(): Promise<void>;
};

export const NLS_OK = 20_000_000;
const IDLE_MS = 10_000;
const HEX_ID = /^[0-9a-fA-F]{32}$/;

type Shared = {
  readonly options: SimNlsOptions;
  readonly violations: string[];
  readonly messages: SimNlsMessage[];
  readonly ids: Set<string>;
  takeFault(): VendorFault | null;
};

export async function startSimNls(options: SimNlsOptions): Promise<SimNls> {
  const faults = new FaultPlan();
  const offered: string[] = [];
  // Refusals belong to handshakes, all others to tasks: whoever comes first looks at the next one.
  let next: VendorFault | null | undefined;
  const shared: Shared = {
    ...{ options, violations: [], messages: [], ids: new Set() },
    takeFault() {
      const fault = next === undefined ? faults.take() : next;
      next = undefined;
      return fault;
    },
  };
  const server = await startVendorServer({
    onUpgrade(request, url) {
      if (request.headers['sec-websocket-extensions'] !== undefined) {
        shared.violations.push('permessage-deflate was offered');
      }
      if (url.pathname !== '/ws/v1') return { status: 404, body: '' };
      next ??= faults.take() ?? undefined;
      if (next?.kind !== 'refuse') return null;
      const { status } = next;
      next = undefined;
      return { status, body: JSON.stringify({ status, message: 'refused' }) };
    },
    onSocket(socket, request, url) {
      const header = request.headers['x-nls-token'];
      const token = typeof header === 'string' ? header : (url.searchParams.get('token') ?? '');
      offered.push(token);
      new Connection(shared, socket, token);
    },
  });
  return {
    url: `${server.wsUrl}/ws/v1`,
    ...{ server, faults, offered },
    violations: shared.violations,
    messages: shared.messages,
    close: () => server.close(),
  };
}

class Connection {
  readonly #shared: Shared;
  readonly #socket: WebSocket;
  readonly #token: string;
  #task: { readonly id: string; readonly namespace: string; readonly sim: SimTask } | null = null;
  #idle: TimerHandle | undefined;
  #isOver = false;

  constructor(shared: Shared, socket: WebSocket, token: string) {
    this.#shared = shared;
    this.#socket = socket;
    this.#token = token;
    socket.on('message', (data, isBinary) => {
      if (this.#isOver) return;
      this.#rest();
      if (isBinary) this.#binary(data as Buffer);
      else this.#text((data as Buffer).toString('utf8'));
    });
    socket.on('close', () => this.#end());
    this.#rest();
  }

  #end(): void {
    this.#isOver = true;
    this.#shared.options.clock.clearTimer(this.#idle);
    this.#task?.sim.close();
    this.#task = null;
  }

  /** The 10 s without data begin anew. */
  #rest(): void {
    const { clock, idleMs = IDLE_MS } = this.#shared.options;
    clock.clearTimer(this.#idle);
    this.#idle = clock.setTimer(() => {
      if (this.#task?.sim.waits === false) this.#rest();
      else
        this.#refuse(
          40_000_004,
          'Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time',
        );
    }, idleMs);
  }

  #binary(data: Buffer): void {
    if (this.#task === null) {
      this.#violation('binary data without a task');
      this.#refuse(40_000_002, 'Gateway:MESSAGE_INVALID:Binary data before a task has started');
    } else {
      this.#task.sim.binary(data);
    }
  }

  #text(text: string): void {
    const message = messageOf(text);
    if (message === null) {
      this.#violation('a text that is no message');
      this.#refuse(40_000_000, 'Gateway:CLIENT_ERROR:Message is no JSON');
      return;
    }
    this.#shared.messages.push(message);
    const { header } = message;
    const [taskId, messageId] = [String(header['task_id']), String(header['message_id'])];
    if (!HEX_ID.test(taskId) || !HEX_ID.test(messageId)) {
      this.#violation('an id that is not 32 hex digits');
      this.#refuse(40_000_003, 'Gateway:PARAMETER_INVALID:task_id or message_id', taskId);
    } else if (this.#shared.ids.has(`message ${messageId}`)) {
      this.#violation('a message_id was used again');
      this.#refuse(40_000_002, 'Gateway:MESSAGE_INVALID:message_id was used before', taskId);
    } else {
      this.#shared.ids.add(`message ${messageId}`);
      this.#directive(message, taskId);
    }
  }

  #directive({ header, payload }: SimNlsMessage, taskId: string): void {
    const [namespace, name] = [String(header['namespace']), String(header['name'])];
    const task = this.#task;
    if (task === null) {
      this.#start({ header, payload }, taskId);
      return;
    }
    const isFit = task.id === taskId && task.namespace === namespace;
    if (isFit && task.sim.directive(name, payload)) return;
    this.#violation(`${namespace} ${name} in the middle of ${task.namespace}`);
    this.#refuse(40_000_002, `Gateway:MESSAGE_INVALID:${name} is not expected now`, taskId);
  }

  #start({ header, payload }: SimNlsMessage, taskId: string): void {
    const { options, ids } = this.#shared;
    const [namespace, name] = [String(header['namespace']), String(header['name'])];
    const project = options.projects[String(header['appkey'])];
    const make = makerOf(namespace, name);
    if (!options.tokens.has(this.#token)) {
      // The real one quotes the token.
      const text = `Gateway:ACCESS_DENIED:The token '${this.#token}' is invalid!`;
      this.#refuse(40_000_001, text, taskId);
    } else if (ids.has(`task ${taskId}`)) {
      this.#violation('a task_id was used again');
      this.#refuse(40_000_002, 'Gateway:MESSAGE_INVALID:task_id was used before', taskId);
    } else if (make === null) {
      this.#violation(`${namespace} ${name} without a task`);
      this.#refuse(40_000_002, `Gateway:MESSAGE_INVALID:${name} is not expected now`, taskId);
    } else if (project === undefined) {
      this.#refuse(40_020_105, 'Meta:APPKEY_NOT_EXIST:Appkey not exist!', taskId);
    } else {
      ids.add(`task ${taskId}`);
      const link = this.#link(taskId, namespace, project.rateHz);
      const fault = this.#shared.takeFault();
      if (failsAtStart(link, fault)) return;
      const sim = make(link, payload, fault);
      if (!this.#isOver) this.#task = { id: taskId, namespace, sim };
    }
  }

  #link(taskId: string, namespace: string, projectRateHz: 8000 | 16000): SimLink {
    const { clock, words = {} } = this.#shared.options;
    const isMine = (): boolean => !this.#isOver;
    return {
      ...{ clock, words, projectRateHz, socket: this.#socket },
      send: (name, payload = {}) => {
        if (isMine()) this.#event(namespace, name, taskId, payload);
      },
      binary: (data) => {
        if (isMine()) this.#socket.send(data, { binary: true });
      },
      raw: (data, isBinary) => {
        if (isMine()) this.#socket.send(data, { binary: isBinary });
      },
      fail: (status, text) => this.#refuse(status, text, taskId),
      violation: (text) => this.#violation(`${namespace}: ${text}`),
      done: () => {
        this.#task = null;
        this.#rest();
      },
    };
  }

  #event(namespace: string, name: string, taskId: string, payload: object): void {
    const header = {
      ...{ namespace, name, status: NLS_OK, status_text: 'Gateway:SUCCESS:Success.' },
      ...{ task_id: taskId, message_id: hexId() },
    };
    this.#socket.send(JSON.stringify({ header, payload }));
  }

  #refuse(status: number, text: string, taskId = ''): void {
    if (this.#isOver) return;
    const header = {
      ...{ namespace: 'Default', name: 'TaskFailed', status, status_text: text },
      ...{ task_id: taskId, message_id: hexId() },
    };
    this.#socket.send(JSON.stringify({ header }));
    this.#end();
    this.#socket.close(1000);
  }

  #violation(text: string): void {
    this.#shared.violations.push(text);
  }
}

type Make = (
  link: SimLink,
  payload: Readonly<Record<string, unknown>>,
  fault: VendorFault | null,
) => SimTask;

function makerOf(namespace: string, name: string): Make | null {
  if (namespace === 'SpeechTranscriber' && name === 'StartTranscription') {
    return (...args) => new SimTranscriber(...args);
  }
  if (name !== 'StartSynthesis') return null;
  if (namespace === 'FlowingSpeechSynthesizer') return (...args) => new SimFlowing(...args);
  if (namespace === 'SpeechSynthesizer') return (...args) => new SimSynthesizer(...args, 300);
  if (namespace !== 'SpeechLongSynthesizer') return null;
  return (...args) => new SimSynthesizer(...args, 100_000);
}

/** Faults before the first word. True: there will be no task. */
function failsAtStart(link: SimLink, fault: VendorFault | null): boolean {
  if (fault?.kind === 'fail_before_start') link.fail(50_000_000, 'Gateway:SERVER_ERROR:Internal');
  // Any status of providers.md 1.3 by its number.
  else if (fault?.kind === 'own' && /^\d{8}$/.test(fault.name))
    link.fail(Number(fault.name), `Gateway:REFUSED:as the test has it`);
  else if (fault?.kind === 'own' && fault.name === 'close_before_start') link.socket.close(1000);
  else return false;
  return true;
}

function messageOf(text: string): SimNlsMessage | null {
  try {
    const { header, payload = {} } = JSON.parse(text) as Partial<SimNlsMessage>;
    return typeof header === 'object' && header !== null ? { header, payload } : null;
  } catch {
    return null;
  }
}

export function hexId(): string {
  return crypto.randomUUID().replaceAll('-', '');
}
