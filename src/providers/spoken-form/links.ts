/** Addresses of pages and mail, said so that they can be written down. */

/** With or without a scheme; a bare name only with a well-known ending. */
export const URL_PATTERN =
  /(?:https?:\/\/|www\.)[\w-]{1,63}(?:\.[\w-]{1,63}){0,6}(?::\d{1,5})?(?:\/[\w./%+~-]{0,120})?(?:\?[\w=&%.+-]{0,120})?(?:#[\w-]{0,60})?|(?<![\w.@-])[A-Za-z0-9][\w-]{0,62}(?:\.[A-Za-z0-9][\w-]{0,62}){0,4}\.(?:com|cn|org|net|io|ai|edu|gov|app|dev|cc|me|info|example)(?:\/[\w./%+~-]{0,120})?(?![\w@])/uy;
export const MAIL_PATTERN =
  /[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9][\w-]{0,62}(?:\.[A-Za-z0-9][\w-]{0,62}){1,5}/uy;

export type LinkWords = {
  readonly signs: Readonly<Record<string, string>>;
  readonly digits: (digits: string) => string;
};

/** Words stay words, digits come one by one, signs by name. What ends the sentence is left to the caller. */
export function readLink(link: string, { signs, digits }: LinkWords): string {
  const plain = link.replace(/^https?:\/\//i, '').replace(/\/$/, '');
  return (plain.match(/\d+|[A-Za-z]+|[^\dA-Za-z]/g) ?? [])
    .map((part) => {
      if (/\d/.test(part)) return digits(part);
      if (part === 'www') return 'W W W';
      return signs[part] ?? part;
    })
    .join(' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** The link without the marks that end the sentence behind it. */
export function trimLink(link: string): string {
  return link.replace(/[.\-_?&=+%~#]+$/, '');
}

export const ZH_LINK_SIGNS: Readonly<Record<string, string>> = {
  '.': '点',
  '/': '斜杠',
  '@': '艾特',
  '-': '杠',
  _: '下划线',
  ':': '冒号',
  '?': '问号',
  '=': '等于',
  '&': '和',
  '#': '井号',
  '+': '加号',
  '%': '百分号',
  '~': '波浪号',
};

export const EN_LINK_SIGNS: Readonly<Record<string, string>> = {
  '.': 'dot',
  '/': 'slash',
  '@': 'at',
  '-': 'dash',
  _: 'underscore',
  ':': 'colon',
  '?': 'question mark',
  '=': 'equals',
  '&': 'and',
  '#': 'hash',
  '+': 'plus',
  '%': 'percent',
  '~': 'tilde',
};
