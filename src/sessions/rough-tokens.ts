/** What a text costs at a language model, where the model has not said: about one token for a Chinese character, or four letters. */
export function roughTokens(text: string): number {
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  return han + Math.ceil((text.length - han) / 4);
}
