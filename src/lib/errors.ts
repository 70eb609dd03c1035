/** Every error Callyard raises: one class, one registry of stable codes, a fault and a cause. */

/** Who has to act for the fault to go away. */
export type Fault = 'caller' | 'carrier' | 'provider' | 'us' | 'operator' | 'unknown';

type CodeEntry = { readonly fault: Fault; readonly retryable: boolean };

/** Stable error codes. Codes are for programs; messages are for people and may change. */
export const ERROR_CODES = {
  E_CONFIG: { fault: 'operator', retryable: false },
  E_PORT_IN_USE: { fault: 'operator', retryable: false },
  E_DATA_DIR_LOCKED: { fault: 'operator', retryable: false },
  E_DATABASE_UNREACHABLE: { fault: 'operator', retryable: true },
  E_DATABASE: { fault: 'us', retryable: true },
  E_CONFLICT: { fault: 'caller', retryable: false },
  E_REFERENCE: { fault: 'caller', retryable: false },
  E_JOURNAL: { fault: 'operator', retryable: true },
  E_SIP_ENGINE: { fault: 'us', retryable: true },
  E_SIP_REJECTED: { fault: 'carrier', retryable: false },
  E_SIP_CANCELLED: { fault: 'caller', retryable: false },
  E_SIP_DIALOG_GONE: { fault: 'carrier', retryable: false },
  E_SDP: { fault: 'caller', retryable: false },
  E_MEDIA: { fault: 'us', retryable: false },
  E_DTMF: { fault: 'carrier', retryable: false },
  E_MEDIA_PORTS: { fault: 'operator', retryable: true },
  E_STORAGE: { fault: 'operator', retryable: true },
  E_PROVIDER_AUTH: { fault: 'operator', retryable: false },
  E_PROVIDER_PARAM: { fault: 'us', retryable: false },
  E_PROVIDER_QUOTA: { fault: 'provider', retryable: true },
  E_PROVIDER_IDLE: { fault: 'provider', retryable: true },
  E_PROVIDER_SERVER: { fault: 'provider', retryable: true },
  E_PROVIDER_CONTENT: { fault: 'provider', retryable: false },
  E_REQUEST: { fault: 'caller', retryable: false },
  E_URL_NOT_ALLOWED: { fault: 'caller', retryable: false },
  E_UNREACHABLE: { fault: 'unknown', retryable: true },
  E_TOO_LARGE: { fault: 'caller', retryable: false },
  E_TIMEOUT: { fault: 'unknown', retryable: true },
  E_QUEUE_FULL: { fault: 'us', retryable: true },
  E_ABORTED: { fault: 'unknown', retryable: false },
  E_INTERNAL: { fault: 'us', retryable: false },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** An error with a stable code. `details` must hold no secret and no personal data. */
export class AppError extends Error {
  override readonly name: string = 'AppError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  get fault(): Fault {
    return ERROR_CODES[this.code].fault;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }
}

/** Any thrown value as an AppError; an AppError is returned as it is. */
export function toAppError(thrown: unknown, code: ErrorCode = 'E_INTERNAL'): AppError {
  if (thrown instanceof AppError) return thrown;
  return new AppError(code, messageOf(thrown), { cause: thrown });
}

/** The message of any thrown value (drachtio-srf rejects with strings, Node with Errors). */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message || thrown.name;
  return String(thrown);
}

/** The `code` of a Node system error (`EADDRINUSE`), or undefined. */
export function systemCodeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null || !('code' in thrown)) return undefined;
  return typeof thrown.code === 'string' ? thrown.code : undefined;
}
