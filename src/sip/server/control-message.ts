/** SIP messages as the application writes them: a start line and a few headers, with a length that counts characters. */
import { SipMessage } from './message.ts';

const MAX_HEADERS = 500;

/**
 * A message of the application, or undefined when there is no start line or a header line cannot be one. The body is all
 * that follows the empty line: drachtio-srf counts its Content-Length in characters, not in bytes.
 */
export function parseDraft(text: string): SipMessage | undefined {
  const split = text.indexOf('\r\n\r\n');
  const head = split < 0 ? text : text.slice(0, split);
  const [start = '', ...lines] = head.split('\r\n');
  const draft = parseStart(start);
  if (draft === undefined || lines.length > MAX_HEADERS) return undefined;
  for (const line of lines) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    // A bare CR or LF would start a header of its own on the wire.
    if (colon < 1 || !/^[\w\-.!%*+`'~]+$/.test(name) || /[\r\n\0]/.test(line)) return undefined;
    draft.append(name, line.slice(colon + 1).trim());
  }
  if (split >= 0) draft.body = Buffer.from(text.slice(split + 4), 'utf8');
  return draft;
}

function parseStart(start: string): SipMessage | undefined {
  const status = /^SIP\/2\.0 (\d{3}) ?([^\r\n]*)$/.exec(start);
  if (status !== null) return SipMessage.response(Number(status[1]), status[2] ?? '');
  const request = /^([A-Z][A-Za-z0-9\-.!%*_+`'~]*) (\S+) SIP\/2\.0$/.exec(start);
  if (request === null) return undefined;
  return SipMessage.request(request[1] ?? '', request[2] ?? '');
}
