/** Identifiers: lower-case UUIDs (contract 1.1) and short random tokens. */
import { randomBytes, randomUUID } from 'node:crypto';

export type Id = string;

export function newId(): Id {
  return randomUUID();
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isId(text: string): boolean {
  return UUID.test(text);
}

/** `bytes` random bytes as base64url: for SIP tags, branches and secrets. */
export function randomToken(bytes: number): string {
  return randomBytes(bytes).toString('base64url');
}
