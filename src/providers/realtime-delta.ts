/** The event that comes most of all, a piece of the model's voice, read without making an object of all that is in it. */

export type AudioDelta = {
  readonly reply: string;
  readonly itemId: string;
  readonly contentIndex: number;
  readonly base64: string;
};

/** As OpenAI writes it, in both dialects; whoever writes it in another way is read as JSON. */
const DELTA = new RegExp(
  [
    /^\{"type":"response\.(?:output_)?audio\.delta","event_id":"[\w-]*","response_id":"([\w-]+)",/,
    /"item_id":"([\w-]*)","output_index":\d+,"content_index":(\d{1,9}),"delta":"([A-Za-z0-9+/]*={0,2})"\}$/,
  ]
    .map(({ source }) => source)
    .join(''),
);

/** Null: it is something else, or written otherwise. */
export function readAudioDelta(text: string): AudioDelta | null {
  const found = DELTA.exec(text);
  if (found === null) return null;
  const [, reply = '', itemId = '', index = '', base64 = ''] = found;
  return { reply, itemId, contentIndex: Number(index), base64 };
}
