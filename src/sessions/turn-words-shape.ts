/** What the last clause of what was said looks like, whatever was asked. */
export type Shape =
  /** Takes leave, or says that this was all. */
  | 'closing'
  /** Ends as a question. */
  | 'asking'
  /** Ends as sentences end. */
  | 'finished'
  /** No sign of either. */
  | 'open'
  /** Grammar wants more words. */
  | 'unfinished'
  /** A word that fills the time while one thinks. */
  | 'thinking';
