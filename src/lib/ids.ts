/** Identifiers: lower-case UUIDs (contract 1.1) and short random tokens. */
import { randomBytes, randomUUID } from 'node:crypto';

export type Id = string;

export function newId(): Id {
  return randomUUID();
}

/** An id that says when it was made (RFC 9562, version 7): for what is told and not kept. `wallMs`: unix time. */
export function newTimedId(wallMs: number): Id {
  const time = Math.trunc(wallMs).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

/** When an id of `newTimedId` was made, unix time; null for any other. */
export function timeOfId(id: Id): number | null {
  return id.charAt(14) === '7' ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isId(text: string): boolean {
  return UUID.test(text);
}

/** `bytes` random bytes as base64url: for SIP tags, branches and secrets. */
export function randomToken(bytes: number): string {
  return randomBytes(bytes).toString('base64url');
}
