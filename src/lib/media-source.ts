/** From where the audio of a trunk's calls may come, as its operator knows the carrier. */

/**
 * `auto`: the signalled address, else one near it, or anyone where that is private; `strict`: the signalled address and
 * port alone; `any`: also a source in another network, as of a media relay that no SDP names.
 */
export const MEDIA_SOURCES = ['auto', 'strict', 'any'] as const;
export type MediaSource = (typeof MEDIA_SOURCES)[number];

/** `options.media_source` of a row. What is none, written past the API, is taken as the strictest: never open by mistake. */
export function mediaSourceOf(value: unknown): MediaSource {
  if (value === undefined || value === null) return 'auto';
  return MEDIA_SOURCES.find((source) => source === value) ?? 'strict';
}
