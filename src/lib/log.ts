/** Structured logs: typed event names, typed fields, personal data only under `pii`. The only importer of pino. */
import { pino, type Logger as PinoLogger } from 'pino';

export type LogFields = Readonly<Record<string, unknown>> & {
  /** Personal data (numbers, names, words). Left out unless the level is debug or trace. */
  readonly pii?: Readonly<Record<string, unknown>>;
};

/** An event name: `noun.pastTense` or `noun.verb`, lower case. Never free text. */
export type LogEvent = `${string}.${string}`;

export type Log = {
  debug(event: LogEvent, fields?: LogFields): void;
  info(event: LogEvent, fields?: LogFields): void;
  warn(event: LogEvent, fields?: LogFields): void;
  error(event: LogEvent, fields?: LogFields): void;
  /** The same log with `fields` on every line. */
  child(fields: LogFields): Log;
};

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** A log that writes JSON lines to standard error (standard output belongs to the banner and the demo). */
export function createLog(level: LogLevel): Log {
  const logger = pino(
    { level, base: null, messageKey: 'event', timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  return wrap(logger, level === 'debug' || level === 'trace');
}

/** A log that goes nowhere, for tests. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

function wrap(logger: PinoLogger, withPii: boolean): Log {
  const fieldsOf = (fields: LogFields | undefined): object => {
    if (fields === undefined) return {};
    const { pii, ...rest } = fields;
    return { ...describeErrors(rest), ...(withPii && pii !== undefined ? { pii } : {}) };
  };
  return {
    debug: (event, fields) => logger.debug(fieldsOf(fields), event),
    info: (event, fields) => logger.info(fieldsOf(fields), event),
    warn: (event, fields) => logger.warn(fieldsOf(fields), event),
    error: (event, fields) => logger.error(fieldsOf(fields), event),
    child: (fields) => wrap(logger.child(fieldsOf(fields)), withPii),
  };
}

/** Error objects become code, message and the chain of causes; pino would print `{}` for most keys. */
function describeErrors(fields: Record<string, unknown>): Record<string, unknown> {
  const described: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    described[key] = value instanceof Error ? describeError(value) : value;
  }
  return described;
}

function describeError(error: Error): object {
  const cause = error.cause instanceof Error ? describeError(error.cause) : error.cause;
  return {
    name: error.name,
    message: error.message,
    ...('code' in error ? { code: error.code } : {}),
    ...(cause === undefined ? { stack: error.stack } : { cause }),
  };
}
