/** Requests that never become one: bad HTTP, too many header bytes, too slow. Answered on the bare socket. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { newId } from '#lib/ids.ts';
import { systemCodeOf } from '#lib/errors.ts';
import { failureOf, Problem } from './problem.ts';
import { BASE_HEADERS } from './hooks.ts';

/** The response that Node is writing on this socket, if any; its own error path looks here too. */
type WithResponse = { readonly _httpMessage?: { readonly headersSent: boolean } | null };

/** Answers once if nothing has been answered yet, then closes. */
export function answerClientError(error: Error, socket: Socket): void {
  const response = (socket as unknown as WithResponse)._httpMessage;
  if (systemCodeOf(error) === 'ECONNRESET' || !socket.writable || response?.headersSent === true) {
    socket.destroy();
    return;
  }
  socket.end(messageOf(problemOf(error)), () => socket.destroySoon());
}

function problemOf(error: Error): Problem {
  const code = systemCodeOf(error);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new Problem('REQUEST_TIMEOUT');
  if (code?.endsWith('_OVERFLOW') === true) return new Problem('PAYLOAD_TOO_LARGE');
  return new Problem('VALIDATION_FAILED', { faults: [{ path: '', rule: 'http' }] });
}

/** English: what the client prefers has not been read. */
function messageOf(problem: Problem): string {
  const body = JSON.stringify(failureOf(problem, 'en'));
  const headers = {
    ...BASE_HEADERS,
    'x-request-id': newId(),
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[problem.status] ?? '';
  return `HTTP/1.1 ${problem.status} ${reason}\r\n${lines.join('')}\r\n${body}`;
}
