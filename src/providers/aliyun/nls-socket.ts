/**
 * One connection to the gateway of Aliyun NLS (providers.md 1.2, 1.4): one task after another, each with an id of its own.
 * What belongs to a task that is over, is dropped here.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import type { VendorToken } from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import {
  asVendor,
  handshakeError,
  NLS_OK,
  nlsError,
  vendorError,
  type NlsOwner,
} from './nls-errors.ts';

export type NlsEvent = {
  readonly name: string;
  readonly payload: Readonly<Record<string, unknown>>;
};

export type TaskHandlers = {
  event(event: NlsEvent): void;
  /** Null: this kind of task is sent none, and ends when it is. */
  readonly audio: ((data: Buffer) => void) | null;
  /** Once, unless the task was over before. */
  failed(error: AppError): void;
};

export type NlsTask = {
  readonly id: string;
  /** False once the connection is over. */
  send(name: string, payload?: object): boolean;
  sendAudio(bytes: Uint8Array): boolean;
  /** Nothing is told any more; the connection may carry the next task. Idempotent. */
  end(): void;
};

export type NlsGate = {
  readonly clock: Clock;
  readonly token: VendorToken;
  /** `wss://…/ws/v1`. */
  readonly url: string;
  readonly owner: NlsOwner;
};

const SDK = { name: 'callyard', version: '1', language: 'nodejs' };
/** A message of the vendor: sound comes in pieces of some 100 ms. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** 32 hex digits. */
export function nlsId(): string {
  return randomBytes(16).toString('hex');
}

/** Errors: E_TIMEOUT, E_ABORTED, E_PROVIDER_*. */
export async function openNlsSocket(gate: NlsGate, signal?: AbortSignal): Promise<NlsSocket> {
  const socket = new NlsSocket(gate);
  await socket.connect(signal);
  return socket;
}

export class NlsSocket {
  readonly gate: NlsGate;
  #channel: Channel | null = null;
  #task: { readonly id: string; readonly handlers: TaskHandlers } | null = null;

  constructor(gate: NlsGate) {
    this.gate = gate;
  }

  get isOpen(): boolean {
    return this.#channel?.isOpen === true;
  }

  /** Whether a task has begun on it and is not over. */
  get isBusy(): boolean {
    return this.#task !== null;
  }

  /** Once, before all else. */
  async connect(signal?: AbortSignal): Promise<void> {
    const { url, token, clock, owner } = this.gate;
    try {
      this.#channel = await openChannel(
        {
          ...{ url, clock, what: 'aliyun', maxMessageBytes: MAX_MESSAGE_BYTES },
          headers: { 'X-NLS-Token': token.token },
          refused: (status) => handshakeError(status, owner),
          onText: (text) => this.#text(text),
          onBinary: (data) => this.#binary(data),
          onEnd: (error) => this.#fail(asVendor(error)),
        },
        signal,
      );
    } catch (error) {
      throw asVendor(error as AppError);
    }
  }

  /** Begins a task with its start message. One at a time. */
  begin(namespace: string, start: string, payload: object, handlers: TaskHandlers): NlsTask {
    const id = nlsId();
    this.#task = { id, handlers };
    const header = { appkey: this.gate.token.appKey, namespace, task_id: id };
    const send = (name: string, body?: object): boolean => {
      const message = { header: { ...header, name, message_id: nlsId() } };
      const rest = body === undefined ? {} : { payload: body };
      const text = JSON.stringify({ ...message, ...rest, context: { sdk: SDK } });
      return this.#channel?.send(text) === true;
    };
    send(start, payload);
    return {
      ...{ id, send },
      sendAudio: (bytes) => this.#channel?.send(bytes) === true,
      end: () => {
        if (this.#task?.id === id) this.#task = null;
      },
    };
  }

  /** Gives up whatever runs on it. Idempotent. */
  close(): void {
    this.#task = null;
    this.#channel?.close();
  }

  #text(text: string): void {
    const message = messageOf(text);
    if (message === null) {
      this.#fail(vendorError('E_PROVIDER_SERVER', 'the vendor sent a text that is no message'));
      return;
    }
    const { name, status, statusText, taskId, payload } = message;
    const isOfOther = taskId !== '' && taskId !== this.#task?.id;
    if (name === 'TaskFailed' || (status !== NLS_OK && status !== null)) {
      if (!isOfOther) this.#fail(nlsError(status ?? 0, statusText, this.gate.owner));
    } else if (!isOfOther) {
      this.#task?.handlers.event({ name, payload });
    }
  }

  #binary(data: Buffer): void {
    if (this.#task === null) return;
    const { audio } = this.#task.handlers;
    // Sound that reads like a message is one: better no sound than a bang.
    const isMessage = data.length > 8 && data.subarray(0, 9).toString('latin1') === '{"header"';
    if (audio === null || isMessage) {
      this.#fail(
        vendorError('E_PROVIDER_SERVER', 'the vendor sent binary data where text belongs'),
      );
    } else {
      audio(data);
    }
  }

  #fail(error: AppError): void {
    const task = this.#task;
    this.close();
    task?.handlers.failed(error);
  }
}

type Message = {
  readonly name: string;
  readonly status: number | null;
  readonly statusText: string;
  readonly taskId: string;
  readonly payload: Readonly<Record<string, unknown>>;
};

function messageOf(text: string): Message | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // What is no JSON is no message, and the caller says so.
    return null;
  }
  const { header, payload } = (value ?? {}) as { header?: unknown; payload?: unknown };
  if (typeof header !== 'object' || header === null) return null;
  const { name, status, status_text: said, task_id: taskId } = header as Record<string, unknown>;
  if (typeof name !== 'string') return null;
  return {
    name,
    status: typeof status === 'number' ? status : null,
    statusText: typeof said === 'string' ? said : '',
    taskId: typeof taskId === 'string' ? taskId : '',
    payload: typeof payload === 'object' && payload !== null ? { ...payload } : {},
  };
}
