/** A text in pieces that the vendor takes in one go. */

const ENDS = /[。！？；…\n]+|[.!?;]+(?=\s|$)/gu;
const CLAUSES = /[，、：]+|[,:]+(?=\s|$)/gu;
const SPACES = /\s+/gu;

/**
 * Pieces of at most `max` characters that are the text when joined, cut behind a sentence, else a clause, else a space.
 * `weigh`: Chinese characters count as two.
 */
export function splitAtMost(text: string, max: number, weigh = false): string[] {
  const pieces: string[] = [];
  let rest = text;
  for (;;) {
    const room = roomIn(rest, max, weigh);
    if (room >= rest.length) break;
    const cut =
      lastEnd(rest, room, ENDS) || lastEnd(rest, room, CLAUSES) || lastEnd(rest, room, SPACES);
    const at = cut || whole(rest, room);
    pieces.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  if (rest !== '' || pieces.length === 0) pieces.push(rest);
  return pieces;
}

/** How many UTF-16 units of `text` there is room for; at least one character. */
function roomIn(text: string, max: number, weigh: boolean): number {
  if (!weigh) return max;
  let weight = 0;
  for (let at = 0; at < text.length; at++) {
    weight += /\p{Script=Han}/u.test(text.charAt(at)) ? 2 : 1;
    if (weight > max) return Math.max(1, at);
  }
  return text.length;
}

function lastEnd(text: string, room: number, pattern: RegExp): number {
  let end = 0;
  for (const match of text.slice(0, room + 1).matchAll(pattern)) {
    const at = match.index + match[0].length;
    if (at <= room) end = at;
  }
  return end;
}

/** Never between the halves of a surrogate pair. */
function whole(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return at > 1 && code >= 0xdc00 && code <= 0xdfff ? at - 1 : at;
}
