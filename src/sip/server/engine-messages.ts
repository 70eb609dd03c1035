/** Messages between the engine's worker thread and the thread that started it. */
import { AppError, ERROR_CODES, messageOf, toAppError } from '#lib/errors.ts';
import type { ErrorCode } from '#lib/errors.ts';
import type { LogEvent } from '#lib/log.ts';
import type { EngineCensus, EngineOptions } from './engine.ts';

/** What crosses to the worker: values only. */
export type WorkerOptions = Omit<
  EngineOptions,
  'clock' | 'log' | 'transport' | 'nameService' | 'controlPort'
>;

export type LogLevelName = 'debug' | 'info' | 'warn' | 'error';

/** An error as plain values; structured clone would lose the code. */
export type PlainError = {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: PlainError;
};

export type FromWorker =
  | {
      readonly type: 'ready';
      readonly listening: readonly string[];
      readonly controlPort: number;
    }
  | { readonly type: 'failed'; readonly error: PlainError }
  | {
      readonly type: 'log';
      readonly level: LogLevelName;
      readonly event: LogEvent;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'census'; readonly id: number; readonly census: EngineCensus }
  | { readonly type: 'closed' };

export type ToWorker =
  | { readonly type: 'census'; readonly id: number }
  | { readonly type: 'overload'; readonly retryAfterS: number | null }
  | { readonly type: 'close' };

export function plainError(thrown: unknown): PlainError {
  if (!(thrown instanceof Error)) return { name: 'Error', message: messageOf(thrown) };
  const { name, message, stack, cause } = thrown;
  const code = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(stack === undefined ? {} : { stack }),
    ...(cause === undefined ? {} : { cause: plainError(cause) }),
  };
}

/** The error again, with its code where it is one of ours. */
export function errorFrom(plain: PlainError): AppError {
  const cause = plain.cause === undefined ? undefined : errorFrom(plain.cause);
  if (plain.code !== undefined && Object.hasOwn(ERROR_CODES, plain.code)) {
    return new AppError(plain.code as ErrorCode, plain.message, { cause });
  }
  const error = new Error(plain.message, { cause });
  return toAppError(Object.assign(error, { code: plain.code }), 'E_SIP_ENGINE');
}

/** Log fields that can cross threads: errors as plain values, anything that cannot be cloned as text. */
export function plainFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) plain[key] = plainValue(value);
  return plain;
}

function plainValue(value: unknown): unknown {
  if (value instanceof Error) return plainError(value);
  if (typeof value === 'function' || typeof value === 'symbol') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plainValue);
  return plainFields(value as Record<string, unknown>);
}
