/** Words that mean "I am listening", not "stop" (design.md 4.5). */

const BACKCHANNELS = new Set([
  ...[
    '嗯',
    '嗯嗯',
    '对',
    '对对',
    '对的',
    '是',
    '是的',
    '好',
    '好的',
    '好好',
    '行',
    '哦',
    '噢',
    '啊',
    '呃',
    '额',
    '知道了',
    '明白',
  ],
  ...[
    'uh-huh',
    'uh huh',
    'mm-hmm',
    'mm hmm',
    'mhm',
    'hmm',
    'uh',
    'um',
    'yeah',
    'yes',
    'yep',
    'ok',
    'okay',
    'right',
    'sure',
    'i see',
    'got it',
  ],
]);

/** True when `text` is nothing but a backchannel in Chinese or English. Punctuation and case do not count. */
export function isBackchannel(text: string): boolean {
  const bare = text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\p{P}\p{S}]+(?=\s|$)/gu, '')
    .replace(/[，。！？、…]/gu, '')
    .trim();
  return BACKCHANNELS.has(bare);
}
