/** What the console shows of the server itself, stated here and plugged in by app.ts. */

export type ProviderStatus = {
  readonly kind: 'stt' | 'llm' | 'tts' | 'realtime';
  readonly vendor: string;
  /** By its latest requests: `down` when none works, `degraded` when some fail. */
  readonly state: 'up' | 'degraded' | 'down';
  /** Median time to the first result of the latest requests; null before the first one. */
  readonly p50Ms: number | null;
};

export type Installation = {
  /** ISO-8601. */
  readonly startedAt: string;
  /** Name of this node. */
  readonly node: string;
  /** The trunk of the environment, used by accounts without an active one of their own. */
  readonly environmentTrunk: {
    readonly name: string;
    readonly host: string;
    readonly port: number;
    readonly transport: 'udp' | 'tcp';
  } | null;
  /** Live calls of all accounts as a share of what the node takes, 0..1. */
  load(): number;
  /** The vendors in use, those of the installation's defaults first. */
  providers(): readonly ProviderStatus[];
};
