/** Bodies of SIP messages: the SDP among other parts, DTMF of INFO. */

/** Methods and body types we say we take. */
export const ALLOW = 'INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE';
export const ACCEPT = 'application/sdp';
export const ACCEPT_INFO = 'application/dtmf-relay, application/dtmf';

/** Media type without parameters, in lower case; empty when there is none. */
export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** The SDP of a message: its text, null for no body, 'unsupported' for a body that has none in it (415). */
export function sdpOf(
  contentType: string | undefined,
  body: string,
): { readonly sdp: string | null } | 'unsupported' {
  if (body.trim() === '') return { sdp: null };
  const type = mediaTypeOf(contentType);
  // RFC 3261 7.4.1 wants Content-Type with every body; SDP without one is still unmistakable.
  if (type === 'application/sdp' || (type === '' && /^\s*v=0/.test(body))) return { sdp: body };
  if (type.startsWith('multipart/')) {
    const part = multipartSdp(contentType ?? '', body);
    return part === null ? 'unsupported' : { sdp: part };
  }
  return 'unsupported';
}

/** RFC 5621: carriers add ISUP or location parts beside the SDP. */
function multipartSdp(contentType: string, body: string): string | null {
  const found = /;\s*boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType);
  const boundary = found?.[1] ?? found?.[2];
  if (boundary === undefined) return null;
  for (const part of `\r\n${body}`.split(`\r\n--${boundary}`).slice(1)) {
    const gap = part.indexOf('\r\n\r\n');
    if (gap < 0) continue;
    const type = /^content-type\s*:\s*(.*)$/im.exec(part.slice(0, gap))?.[1];
    if (mediaTypeOf(type) === 'application/sdp') return `${part.slice(gap + 4).trimEnd()}\r\n`;
  }
  return null;
}

const DEFAULT_DTMF_MS = 250;

/** The digit of an INFO: 'none' when the body is of another kind, null when it is DTMF but unreadable. */
export function dtmfOf(
  contentType: string | undefined,
  body: string,
): { readonly digit: string; readonly durationMs: number } | 'none' | null {
  const type = mediaTypeOf(contentType);
  if (type !== 'application/dtmf-relay' && type !== 'application/dtmf') return 'none';
  const relay = /signal\s*=\s*"?\s*(1[0-6]|[0-9A-D*#])/i.exec(body)?.[1];
  const plain = /^\s*(1[0-6]|[0-9A-D*#])\s*$/i.exec(body)?.[1];
  const digit = digitOf(relay ?? plain);
  if (digit === null) return null;
  const duration = Number(/duration\s*=\s*(\d{1,5})/i.exec(body)?.[1] ?? DEFAULT_DTMF_MS);
  return { digit, durationMs: duration };
}

/** Some phones send the RFC 4733 event number (10 is `*`, 11 is `#`, 12-15 are A-D) in place of the character. */
function digitOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  if (text.length === 1) return text.toUpperCase();
  return '*#ABCD'[Number(text) - 10] ?? null;
}
