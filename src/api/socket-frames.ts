/** The frames of a client on a call, whatever they are called at its socket (contract 2.4, 2.5). */
import type { Static, TObject } from 'typebox';
import type { Id } from '#lib/ids.ts';
import type { CallFrame } from '#sessions/call-frames.ts';
import type { Problem } from './problem.ts';
import type { SocketErrorCode } from './socket-problems.ts';
import { validatorCompiler } from './validation.ts';

/** What a client may want of its call. */
export type ClientCommand =
  | { readonly type: 'config'; readonly uplinkHz: number; readonly downlinkHz: number }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'dtmf'; readonly digits: string }
  | { readonly type: 'interrupt' }
  | { readonly type: 'hangup'; readonly reason: string | null }
  | { readonly type: 'mark'; readonly name: string }
  | { readonly type: 'result'; readonly id: string; readonly result: unknown }
  | { readonly type: 'webrtc' }
  | { readonly type: 'ping' };

/** Samples per second of each direction, as the client has them; the call itself has 8,000. */
export type Rates = { readonly uplinkHz: number; readonly downlinkHz: number };

/** How one socket says it. */
export type Skin = {
  /** Null: no such `type`. Errors: VALIDATION_FAILED with the fields that are wrong. */
  read(type: string, frame: object): ClientCommand | null;
  ready(callId: Id, rates: Rates): object;
  /** Null: this socket has no word for it. */
  tell(frame: CallFrame): object | null;
  /** Its clients are asked functions, and answer. */
  readonly answersFunctions: boolean;
  /** A fault of the client that costs it nothing but what it names. */
  warning(code: SocketErrorCode, message: string): object;
};

type Reader = (frame: object) => ClientCommand;

/** One `type` of frame: the form of its fields, and what it means. Fields that are not known are passed over. */
export function command<T extends TObject>(
  schema: T,
  meaning: (frame: Static<T>) => ClientCommand,
): Reader {
  const read = frameReader(schema);
  return (frame) => meaning(read(frame));
}

/** Errors: VALIDATION_FAILED. */
export function frameReader<T extends TObject>(schema: T): (frame: object) => Static<T> {
  const check = validatorCompiler({ schema, httpPart: 'body', method: 'GET', url: '' });
  return (frame) => {
    const checked = check(frame) as { readonly value?: unknown; readonly error?: Problem };
    if (checked.error !== undefined) throw checked.error;
    return checked.value as Static<T>;
  };
}

export function readerOf(commands: Readonly<Record<string, Reader>>): Skin['read'] {
  const known = new Map(Object.entries(commands));
  return (type, frame) => known.get(type)?.(frame) ?? null;
}
