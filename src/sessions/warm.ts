/** A call has begun: whoever will be asked in it makes ready what saves time at the first word. */
import type { ProviderSet } from '#providers/contract.ts';

export function warmed(set: ProviderSet): ProviderSet {
  const { realtime = null } = set;
  // Of a realtime call the voice still says the notice; nobody is read or thought for.
  if (realtime === null) {
    set.stt.warm?.();
    set.llm.warm?.();
  }
  set.tts.warm?.();
  realtime?.warm?.();
  return set;
}
