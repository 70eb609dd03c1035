/** Removes `<think>…</think>` from a stream of text, wherever its chunks are cut. */

const OPEN = '<think>';
const CLOSE = '</think>';

export type ThinkFilter = {
  /** The part of the text so far that may be spoken. */
  push(delta: string): string;
  /** What was held back because it looked like the start of a tag. */
  end(): string;
};

export function thinkFilter(): ThinkFilter {
  let held = '';
  let isThinking = false;
  return {
    push(delta) {
      let text = held + delta;
      let spoken = '';
      for (;;) {
        const tag = isThinking ? CLOSE : OPEN;
        const at = text.indexOf(tag);
        if (at < 0) break;
        if (!isThinking) spoken += text.slice(0, at);
        text = text.slice(at + tag.length);
        isThinking = !isThinking;
      }
      const keep = tagStart(text, isThinking ? CLOSE : OPEN);
      held = text.slice(text.length - keep);
      return isThinking ? spoken : spoken + text.slice(0, text.length - keep);
    },
    end() {
      const rest = isThinking ? '' : held;
      held = '';
      return rest;
    },
  };
}

/** How many characters at the end of `text` may be the start of `tag`. */
function tagStart(text: string, tag: string): number {
  for (let count = Math.min(text.length, tag.length - 1); count > 0; count--) {
    if (tag.startsWith(text.slice(-count))) return count;
  }
  return 0;
}
